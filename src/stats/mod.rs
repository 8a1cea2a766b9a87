//! Plain counters with one writer each, and snapshots of them.
//!
//! Every thread that works for clients owns one struct of counters and is its only writer, so
//! counting is a load, an addition and a store, without a locked instruction. Control reads them
//! all when `/metrics` is asked. The tables at the end of each struct ([`ShardStats::counters`],
//! …) name every counter once; `/metrics` and README are made from them.

mod closes;
mod counter;
mod histogram;
mod hooks;

use std::sync::Arc;

pub use closes::{CLOSE_LABELS, CloseCounters};
pub use counter::{Counter, Descriptor, Gauge, MetricKind};
pub use histogram::{BOUNDS_S, Histogram, HistogramSnapshot};
pub use hooks::{HOOK_FAILURE_LABELS, HOOK_LABELS, HookStats};

/// Declares a struct of counters with one table of their names, units and meanings.
macro_rules! stats {
    ($(#[$doc:meta])* $name:ident {
        $($field:ident: $kind:ident = $metric:literal, $help:literal;)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct $name {
            $(#[doc = $help] pub $field: $kind,)*
        }

        impl $name {
            /// Every counter of this struct with its metric name (without the prefix `tidegate_`)
            /// and help text, in the order of `/metrics`.
            pub fn descriptors() -> &'static [Descriptor] {
                &[$(Descriptor {
                    name: $metric,
                    help: $help,
                    kind: $kind::METRIC_KIND,
                },)*]
            }

            /// The current values, in the order of [`Self::descriptors`]. Histograms are not
            /// numbers and stand apart.
            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$field.get(),)*]
            }
        }
    };
}

stats! {
    /// What one shard counts. Metrics carry the label `shard`.
    ShardCounters {
        connections: Gauge = "connections", "Open WebSocket connections.";
        connections_opened: Counter = "connections_opened_total", "Connections taken from an acceptor.";
        subscriptions: Gauge = "subscriptions", "Subscriptions of open connections.";
        channels: Gauge = "channels", "Channels known to the shard, as owner or for its subscribers.";
        channels_heard: Gauge = "channels_subscribed", "Channels the shard owns that have subscribers, on whatever shard.";
        channels_evicted: Counter = "channels_evicted_total", "Idle channels forgotten because the table was full.";
        streams_lost: Counter = "streams_lost_total", "Of the channels evicted, those whose stream somebody could still have come back to; it begins anew with another epoch.";
        history_bytes: Gauge = "history_bytes", "Bytes of publications kept for history.";
        history_evicted: Counter = "history_evicted_total", "Publications dropped from history before their time because history had reached its bound in bytes.";
        idempotency_forgotten: Counter = "idempotency_keys_forgotten_total", "Idempotency keys forgotten before their time because there were too many.";
        messages_received: Counter = "messages_received_total", "Data messages received from clients.";
        bytes_received: Counter = "received_bytes_total", "Bytes received from clients, frame headers included.";
        commands: Counter = "commands_total", "Commands of clients of the Centrifuge protocol, those answered with an error included.";
        command_errors: Counter = "command_errors_total", "Commands answered with an error.";
        recovered: Counter = "recovered_total", "Subscriptions that asked for what they had missed and got it.";
        unrecovered: Counter = "unrecovered_total", "Subscriptions that asked for what they had missed when it was not there any more.";
        publications_refused: Counter = "publications_refused_total", "Messages of raw clients not published because they were no JSON.";
        messages_sent: Counter = "messages_sent_total", "Data messages queued to clients.";
        bytes_sent: Counter = "sent_bytes_total", "Bytes the kernel took for clients, frame headers included.";
        publications: Counter = "publications_total", "Publications numbered by the shard as owner of their channel.";
        deliveries: Counter = "deliveries_total", "Publications queued to a subscriber.";
        frames_encoded: Counter = "frames_encoded_total", "Publications put into a wire form: one per publication and form that has a subscriber.";
        compressed_connections: Gauge = "compressed_connections", "Open connections that agreed on permessage-deflate.";
        messages_compressed: Counter = "messages_compressed_total", "Messages run through the compressor: each reply of /echo, and each publication once in the process for each protocol.";
        compression_input_bytes: Counter = "compression_input_bytes_total", "Bytes of those messages before compression.";
        compression_output_bytes: Counter = "compression_output_bytes_total", "Bytes of those messages after compression.";
        messages_inflated: Counter = "messages_inflated_total", "Compressed messages of clients that were inflated.";
        slow_consumers_disconnected: Counter = "slow_consumers_disconnected_total", "Connections closed with 3008 because their outbox passed its limit.";
        publications_dropped_oldest: Counter = "publications_dropped_oldest_total", "Queued publications dropped to make room, of channels with slow_consumer = \"drop_oldest\".";
        publications_superseded: Counter = "publications_superseded_total", "Queued publications dropped because a newer one took their place, of channels with slow_consumer = \"newest\".";
        outbox_dropped_bytes: Counter = "outbox_dropped_bytes_total", "Queued bytes dropped, of those publications and of connections that were closed.";
        outbox_bytes: Gauge = "outbox_bytes", "Bytes waiting in outboxes.";
        deliveries_undeliverable: Counter = "mail_undeliverable_total", "Publications that arrived for a channel whose last subscriber had just left.";
        pings_sent: Counter = "pings_sent_total", "Pings sent to clients.";
        pong_timeouts: Counter = "pong_timeouts_total", "Connections closed because no pong came in time.";
        reads_paused: Counter = "reads_paused_total", "Times a connection was not read because its outbox or a mailbox was full.";
        mail_received: Counter = "mail_received_total", "Requests and deliveries taken from the shard's mailboxes.";
        mail_delivered: Counter = "mail_publications_received_total", "Publications taken from other shards' mail.";
        mail_full: Counter = "mail_full_total", "Publishes refused or put off because a mailbox on the way was full.";
        publishes_abandoned: Counter = "publishes_abandoned_total", "Messages of clients that waited for room to be published when their connection was closed.";
        wakes_sent: Counter = "wakes_sent_total", "MSG_RING wake-ups sent to other shards.";
        turns: Counter = "turns_total", "Turns of the shard's loop.";
        tokens_turned_away: Counter = "tokens_turned_away_total", "Tokens answered with a temporary error because too many waited to be checked.";
        hooks_turned_away: Counter = "hook_questions_turned_away_total", "Questions to backends not asked, and answered with a temporary error, because too many were open.";
        notices_unsent: Counter = "notices_unsent_total", "Notices to the backend dropped because too many were on their way to the thread that sends them.";
        ring_enters: Counter = "ring_enters_total", "io_uring_enter calls.";
        ring_submissions: Counter = "ring_submissions_total", "Submission queue entries handed to the kernel.";
        ring_completions: Counter = "ring_completions_total", "Completions taken from the ring.";
        ring_overflows: Counter = "ring_overflows_total", "Turns in which the completion queue had overflowed.";
        ring_stale: Counter = "ring_stale_completions_total", "Completions and mail for a connection that was gone.";
        buffer_shortages: Counter = "buffer_shortages_total", "Receives that found no free buffer and were armed again later.";
        recv_rearmed: Counter = "receives_rearmed_total", "Multishot receives armed again after the kernel ended them.";
        short_sends: Counter = "short_sends_total", "Sends that took fewer bytes than given and were resumed.";
    }
}

stats! {
    /// What one acceptor counts. Metrics carry the label `acceptor`.
    AcceptorCounters {
        accepted: Counter = "accepted_total", "TCP connections accepted.";
        handshakes_open: Gauge = "handshakes_open", "Connections accepted and not yet handed to a shard or refused.";
        handshakes_done: Counter = "handshakes_total", "Upgrades granted and handed to a shard.";
        handshakes_refused: Counter = "handshakes_refused_total", "Requests answered with an HTTP error instead of 101.";
        handshakes_timed_out: Counter = "handshakes_timed_out_total", "Connections closed because no complete request came in time.";
        handshakes_aborted: Counter = "handshakes_aborted_total", "Connections the peer closed before its request was complete.";
        origins_refused: Counter = "origins_refused_total", "Upgrades refused because of their Origin.";
        connections_refused_full: Counter = "connections_refused_full_total", "Upgrades refused with 503 because the process or a mailbox was full or draining.";
        pages_served: Counter = "pages_served_total", "Plain HTTP requests answered with 200 (health, demo page).";
        accept_pauses: Counter = "accept_pauses_total", "Times accepting paused because descriptors or memory ran out.";
        ring_operations: Counter = "acceptor_ring_operations_total", "Accepts, reads and writes submitted to the acceptor's ring.";
    }
}

stats! {
    /// What the control thread counts.
    ControlCounters {
        api_calls: Counter = "api_calls_total", "HTTP API calls.";
        api_errors: Counter = "api_errors_total", "HTTP API calls read and answered with an error, and channels of broadcasts answered with one.";
        api_refused: Counter = "api_refused_total", "HTTP API calls refused before they were read: key, Host, Origin or content type.";
        api_mail_full: Counter = "api_mail_full_total", "Publishes of the HTTP API refused because the owner shard's mailbox was full.";
    }
}

stats! {
    /// What the thread that checks tokens counts.
    AuthCounters {
        tokens_checked: Counter = "tokens_checked_total", "Tokens checked, of connections and subscriptions.";
        tokens_refused: Counter = "tokens_refused_total", "Tokens checked and refused for good; clients that are told to come again are not counted.";
        tokens_expired: Counter = "tokens_expired_total", "Of the refused ones, those that were good once.";
        tokens_put_off: Counter = "tokens_put_off_total", "Tokens answered with a temporary error, for want of keys.";
        tokens_waiting: Gauge = "tokens_waiting", "Tokens that wait to be checked, or for the keys to check them with.";
        key_fetches: Counter = "key_fetches_total", "Times the issuer's key set was asked for.";
        key_fetches_failed: Counter = "key_fetches_failed_total", "Times it did not come, or was not understood.";
    }
}

stats! {
    /// What the thread that sends notices to a backend counts.
    NoticeCounters {
        sent: Counter = "notices_sent_total", "Notices the backend has taken.";
        retries: Counter = "notices_retried_total", "Batches of notices sent again because the backend had not taken them.";
        given_up: Counter = "notices_given_up_total", "Notices given up because the backend had not taken them in time, or the gateway stopped.";
        dropped: Counter = "notices_dropped_total", "Notices dropped because too many waited for the backend.";
        waiting: Gauge = "notices_waiting", "Notices that wait for the backend to take them.";
    }
}

/// Everything the thread that checks tokens and asks backends measures.
#[derive(Debug, Default)]
pub struct AuthStats {
    /// Counters and gauges.
    pub counters: AuthCounters,
    /// From a token's arrival to the answer.
    pub check: Histogram,
    /// By hook, in the order of [`HOOK_LABELS`].
    pub hooks: [HookStats; HOOK_LABELS.len()],
}

/// Everything one shard measures.
#[derive(Debug, Default)]
pub struct ShardStats {
    /// Counters and gauges.
    pub counters: ShardCounters,
    /// Connections closed, by close code.
    pub closes: CloseCounters,
    /// From the gateway taking a publish to the shard submitting the last send it causes here.
    pub delivery: Histogram,
    /// How long one turn of the loop took, waiting excluded: what everything else waits for.
    pub loop_lag: Histogram,
}

/// Everything one acceptor measures.
#[derive(Debug, Default)]
pub struct AcceptorStats {
    /// Counters and gauges.
    pub counters: AcceptorCounters,
    /// From accept to hand-off of granted upgrades.
    pub handshake: Histogram,
}

/// Everything control measures.
#[derive(Debug, Default)]
pub struct ControlStats {
    /// Counters.
    pub counters: ControlCounters,
    /// From an API call's headers read to its answer.
    pub api_call: Histogram,
}

/// All counters of the process; each inner value has one writing thread.
#[derive(Clone, Debug)]
pub struct Stats {
    /// By shard.
    pub shards: Vec<Arc<ShardStats>>,
    /// By acceptor.
    pub acceptors: Vec<Arc<AcceptorStats>>,
    /// The control thread's.
    pub control: Arc<ControlStats>,
    /// Those of the thread that checks tokens; zeroes without one.
    pub auth: Arc<AuthStats>,
    /// Those of the thread that sends notices; zeroes without one.
    pub notices: Arc<NoticeCounters>,
}

impl Stats {
    /// Zeroes for so many threads.
    pub fn new(shard_count: usize, acceptor_count: usize) -> Self {
        Self {
            shards: (0..shard_count).map(|_| Arc::default()).collect(),
            acceptors: (0..acceptor_count).map(|_| Arc::default()).collect(),
            control: Arc::default(),
            auth: Arc::default(),
            notices: Arc::default(),
        }
    }
}
