//! Maxima of the notices to a backend.

use super::CHANNELS_PER_SHARD_MAX;

/// Bytes of the secret that signs notices at least: what SHA-256 gives (RFC 2104 section 3).
pub const NOTICE_SECRET_SIZE_MIN: usize = 32;

/// Seconds a backend has to answer a batch of notices, default.
pub const NOTICE_TIMEOUT_DEFAULT_S: u64 = 5;

/// Longest time a backend may be given for that: the next batch waits meanwhile.
pub const NOTICE_TIMEOUT_MAX_S: u64 = 60;

/// Notices in one request, default: about 20 KiB.
pub const NOTICE_BATCH_DEFAULT: usize = 100;

/// Most notices in one request that may be configured.
pub const NOTICE_BATCH_MAX: usize = 1_000;

/// Bytes of notices in one request: common frameworks take 100 KB without a setting. One notice
/// always fits.
pub const NOTICE_BATCH_BYTES_MAX: usize = 64 * 1024;

/// Milliseconds a notice waits for others to go with it, default.
pub const NOTICE_BATCH_DELAY_DEFAULT_MS: u64 = 100;

/// Seconds a channel has no subscriber before that is told, default: time to reload a page
/// (Pusher's time).
pub const NOTICE_VACATED_DELAY_DEFAULT_S: u64 = 3;

/// Longest such delays that may be configured.
pub const NOTICE_DELAY_MAX_S: u64 = 3_600;

/// Notices on their way from shards to the thread that sends them; what is more is dropped,
/// counted. It takes them as they come, so they are this many only when very many clients go at
/// once: 10,000 with 25 subscriptions each. Memory is taken as they do.
pub const NOTICES_IN_LANE_MAX: usize = 1 << 18;

/// Notices taken from the lane before answers of the backend are looked at.
pub const NOTICES_PER_TURN: usize = 1_024;

/// Bytes of notices that wait to be sent; what comes past it is dropped, counted: the oldest are
/// given up in time anyway, and those that are sent have no gap but at the end. Enough for some
/// 250,000, which is five minutes of 800 a second.
pub const NOTICE_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Channels of one shard that have just lost their last subscriber; past it that is not told.
pub const VACATING_MAX: usize = CHANNELS_PER_SHARD_MAX;

/// Milliseconds from a batch that failed to its next try; doubled with each, with jitter, up to
/// [`NOTICE_RETRY_MAX_MS`].
pub const NOTICE_RETRY_MIN_MS: u64 = 500;

/// Longest such pause: how late a backend hears from us that is back.
pub const NOTICE_RETRY_MAX_MS: u64 = 30_000;

/// Seconds after which a notice that could not be delivered is given up, counted.
pub const NOTICE_GIVE_UP_S: u64 = 300;

/// Seconds between two lines of the log about notices that are not delivered.
pub const NOTICE_LOG_INTERVAL_S: u64 = 60;

/// Seconds notices that wait are still sent for when the gateway stops.
pub const NOTICE_STOP_S: u64 = 5;

/// Bytes of the answer to a batch that are read, so that its connection can be used again.
pub const NOTICE_ANSWER_SIZE_MAX: usize = 16 * 1024;

const _: () = assert!(NOTICE_RETRY_MIN_MS <= NOTICE_RETRY_MAX_MS);
const _: () = assert!(NOTICE_RETRY_MAX_MS < NOTICE_GIVE_UP_S * 1_000);
const _: () = assert!(NOTICE_BATCH_BYTES_MAX < NOTICE_QUEUE_BYTES_MAX);
