//! Every maximum, each with its reason. A leaf: imports nothing of ours.
//!
//! Values an operator may change are defaults here and checked in `config`; the others are fixed.

/// Connections of one process, default. A table slot costs nothing until it is used; the bound
/// keeps a storm from eating the memory that served clients need.
pub const CONNECTIONS_DEFAULT: u32 = 1_000_000;

/// Slots of one shard: what fits the 32-bit slot of a `ConnId` with room to spare.
pub const CONNECTIONS_PER_SHARD_MAX: u32 = 1 << 24;

/// Shards of one process: more than any machine's cores, few enough for a 64-bit interest set.
pub const SHARDS_MAX: u16 = 64;

/// Channels one connection may subscribe to (Centrifugo's default too).
pub const CHANNELS_PER_CONNECTION_MAX: usize = 128;

/// Bytes in a channel's name (Centrifugo's default too).
pub const CHANNEL_NAME_MAX: usize = 255;

/// Channels one shard knows, as owner or for its members. Past it the idle ones without
/// subscribers are forgotten first, counted; when none is idle, subscribing and publishing fail.
pub const CHANNELS_PER_SHARD_MAX: usize = 1 << 20;

/// Bytes of one message from a client on `/raw`, default; above it 1009.
pub const MESSAGE_SIZE_DEFAULT: usize = 64 * 1024;

/// Bytes of one publication's payload, default; above it API error 107.
pub const PUBLICATION_SIZE_DEFAULT: usize = 64 * 1024;

/// Bytes of one message on `/echo`, default, inclusive.
pub const ECHO_MESSAGE_SIZE_DEFAULT: usize = 16 * 1024 * 1024;

/// Fragments of one message on `/echo`, default: a 16 MiB message in 128-byte fragments.
pub const ECHO_FRAGMENTS_DEFAULT: u32 = 131_072;

/// Fragments of one message elsewhere, default. Each costs a header to parse, so the count is
/// bounded as well as the bytes.
pub const FRAGMENTS_DEFAULT: u32 = 1_024;

/// Largest message limit that may be configured: a frame length the encoder handles on any host.
pub const MESSAGE_SIZE_MAX: usize = 1 << 30;

/// Bytes that may wait for one connection, default; past it the connection is a slow consumer.
pub const OUTBOX_BYTES_DEFAULT: usize = 1024 * 1024;

/// Bytes all outboxes of a shard may hold, default, shared frames counted once per connection;
/// past it the connection that asks for more is closed as a slow consumer.
pub const OUTBOX_SHARD_BYTES_DEFAULT: usize = 1024 * 1024 * 1024;

/// Bytes gathered into one send. Equals `NOTSENT_LOWAT`: more would only wait in the kernel.
pub const SEND_GATHER_MAX: usize = 64 * 1024;

/// `TCP_NOTSENT_LOWAT`: unsent bytes the kernel keeps per socket. A peer that never reads was given
/// 4.26 MB without it and 0.18 MB with it.
pub const NOTSENT_LOWAT: u32 = 64 * 1024;

/// Mail one lane between two threads holds, default.
pub const MAILBOX_LEN_DEFAULT: usize = 1_024;

/// Deliveries a fan-out makes, connections a teardown closes, in one turn of a shard, so that no
/// channel holds up the others for longer than about 5 ms.
pub const WORK_PER_TURN: usize = 1_024;

/// Submission queue entries of a shard's ring, default. 8 MiB of MEMLOCK hold 60 such rings.
pub const SQ_ENTRIES_DEFAULT: u32 = 1_024;

/// Completion queue entries of a shard's ring, default: four per submission, for multishot.
pub const CQ_ENTRIES_DEFAULT: u32 = 4_096;

/// Smallest ring tried when the kernel refuses memory.
pub const SQ_ENTRIES_MIN: u32 = 256;

/// Receive buffers of a shard, default; a power of two.
pub const RECV_BUFFERS_DEFAULT: u16 = 512;

/// Bytes of a receive buffer, default. Frames that fit whole are never copied.
pub const RECV_BUFFER_SIZE_DEFAULT: u32 = 16 * 1024;

/// Bytes of the HTTP request line, and of one header line (RFC 9112 recommends 8,000 octets).
pub const HEAD_LINE_MAX: usize = 8 * 1024;

/// Bytes of a whole HTTP request head.
pub const HEAD_SIZE_MAX: usize = 16 * 1024;

/// Header lines of a request.
pub const HEAD_HEADERS_MAX: usize = 100;

/// Seconds a client has for the whole handshake, default, from accept; never reset by a byte.
pub const HANDSHAKE_TIMEOUT_DEFAULT_S: u64 = 10;

/// Handshakes in flight on one acceptor; past it accepting pauses and the backlog holds the rest.
pub const HANDSHAKES_PER_ACCEPTOR_MAX: usize = 16_384;

/// Bytes of the buffer a request head is first read into; doubled when a head is longer, up to
/// [`HEAD_SIZE_MAX`]. Browsers without large cookies send less.
pub const HEAD_BUFFER_SIZE: usize = 2 * 1024;

/// Bytes read and discarded after a refusal until the peer closes. Closing earlier would send a
/// reset, which takes the answer away from a peer that is still sending.
pub const REFUSED_DISCARD_MAX: usize = 256 * 1024;

/// Seconds in `Retry-After` when there is no room: short enough for a restart to go unnoticed.
pub const RETRY_AFTER_S: u32 = 5;

/// Milliseconds accepting pauses when descriptors or memory ran out; doubled up to
/// [`ACCEPT_PAUSE_MAX_MS`] while it goes on.
pub const ACCEPT_PAUSE_MIN_MS: u64 = 100;

/// Longest pause of accepting in milliseconds: how late the first client after a shortage may be.
pub const ACCEPT_PAUSE_MAX_MS: u64 = 1_000;

/// Milliseconds handshakes in flight are given to end when the acceptors stop.
pub const ACCEPT_STOP_MS: u64 = 250;

/// Submission queue entries of an acceptor's ring: what one pass over its tasks may submit before
/// the ring is flushed early.
pub const ACCEPT_SQ_ENTRIES: u32 = 256;

/// Completion queue entries of an acceptor's ring. Each handshake has one operation in flight; the
/// kernel keeps what a storm completes beyond this.
pub const ACCEPT_CQ_ENTRIES: u32 = 2_048;

/// Milliseconds until a ring that the kernel refused for want of memory is tried once more: the
/// memory of rings that were closed just now comes back only after some 100 ms.
pub const RING_RETRY_MS: u64 = 200;

/// Seconds between pings, default.
pub const PING_INTERVAL_DEFAULT_S: u64 = 25;

/// Seconds a client has to answer a ping, default.
pub const PONG_TIMEOUT_DEFAULT_S: u64 = 10;

/// Seconds from our Close until the socket is reset.
pub const CLOSE_TIMEOUT_S: u64 = 5;

/// Bytes received and discarded after our Close before the socket is reset.
pub const CLOSE_DISCARD_MAX: usize = 16 * 1024 * 1024;

/// Seconds a drain spreads its closes over, default (0 with `--dev`).
pub const DRAIN_WINDOW_DEFAULT_S: u64 = 20;

/// Seconds a draining client's outbox may take to empty, past its turn in the window, before Close
/// is queued regardless and the close deadline runs.
pub const DRAIN_FLUSH_S: u64 = 5;

/// Bytes of an HTTP API request body.
pub const API_BODY_MAX: usize = 1024 * 1024;

/// Channels one broadcast may name.
pub const BROADCAST_CHANNELS_MAX: usize = 1_000;

/// Backlog of the listening socket; the kernel cuts it to `net.core.somaxconn`.
pub const LISTEN_BACKLOG: i32 = 4_096;

/// Payload bytes of a control frame (RFC 6455 section 5.5).
pub const CONTROL_PAYLOAD_MAX: usize = 125;

/// Bytes unmasked and validated at a time: a block stays in the first-level cache.
pub const UNMASK_BLOCK: usize = 16 * 1024;

const _: () = assert!(SEND_GATHER_MAX <= OUTBOX_BYTES_DEFAULT);
const _: () = assert!(HEAD_LINE_MAX <= HEAD_SIZE_MAX);
const _: () = assert!(HEAD_BUFFER_SIZE <= HEAD_SIZE_MAX);
const _: () = assert!(ACCEPT_PAUSE_MIN_MS <= ACCEPT_PAUSE_MAX_MS);
const _: () = assert!(ACCEPT_CQ_ENTRIES >= 2 * ACCEPT_SQ_ENTRIES);
const _: () = assert!(MESSAGE_SIZE_DEFAULT <= OUTBOX_BYTES_DEFAULT);
const _: () = assert!(ECHO_MESSAGE_SIZE_DEFAULT <= MESSAGE_SIZE_MAX);
const _: () = assert!(CQ_ENTRIES_DEFAULT >= 2 * SQ_ENTRIES_DEFAULT);
