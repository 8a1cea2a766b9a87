//! The table itself.

use super::{Key, Preset};
use crate::limits;

pub(in crate::config) const fn key(
    name: &'static str,
    default: Preset,
    meaning: &'static str,
) -> Key {
    Key { name, default, dev: None, meaning }
}

const fn dev(name: &'static str, default: Preset, dev: Preset, meaning: &'static str) -> Key {
    Key { name, default, dev: Some(dev), meaning }
}

/// Keys whose values are never shown.
pub(in crate::config) const SECRETS: [&str; 4] =
    ["token.hmac_secret", "token.hmac_previous", "hooks.headers", "hooks.notices.secret"];

/// The keys of tables that have no file of their own here.
pub(super) const KEYS: &[Key] = &[
    dev(
        "server.listen",
        Preset::Text("0.0.0.0:8000"),
        Preset::Text("127.0.0.1:8000"),
        "Address and port for clients.",
    ),
    key(
        "server.admin",
        Preset::Text("127.0.0.1:8001"),
        "Address and port for the HTTP API, metrics and health. An address that is not loopback\n\
         needs an API key.",
    ),
    key(
        "server.shards",
        Preset::Text("auto"),
        "Shard threads, 1 to 64. \"auto\" or 0: one for each allowed core.",
    ),
    key(
        "server.descriptors",
        Preset::Text("auto"),
        "How the sockets of clients are held: \"ordinary\", each by a descriptor; \"table\", in slots\n\
         of the ring of their shard, which the limit on open files does not count, at most as many\n\
         per shard as it says; \"auto\", by descriptors while they last and then in slots, where\n\
         limits.connections asks for more than there are and slots work (tidegate doctor).",
    ),
    key(
        "server.cpus",
        Preset::List(&[]),
        "Cores to pin threads to, in turn, such as [0, 1] or \"0,1\" or \"0-3\". Empty: all allowed\n\
         cores. A core outside the affinity mask of the process is refused.",
    ),
    key(
        "server.origins",
        Preset::List(&[]),
        "Origins of web pages that may connect, besides pages of the same host, such as\n\
         [\"https://app.example\"]. [\"*\"] allows every page.",
    ),
    key(
        "server.trusted_proxies",
        Preset::List(&[]),
        "Addresses or networks of proxies whose X-Forwarded-For names the client, such as\n\
         [\"10.0.0.0/8\"].",
    ),
    key(
        "server.api_key_file",
        Preset::Text(""),
        "File whose content is the API key; readable by its owner alone. Empty: no file. The key\n\
         may also come from TIDEGATE_API_KEY or --api-key, but never from this file.",
    ),
    key(
        "server.compression",
        Preset::Switch(false),
        "Whether messages are compressed for clients that offer permessage-deflate (RFC 7692). A\n\
         publication is compressed once for all of them, but that still takes processor time: on for\n\
         clients on slow or metered lines, off inside a data centre.",
    ),
    key(
        "server.compression_level",
        Preset::Count(limits::COMPRESSION_LEVEL_DEFAULT as u64),
        "1, the fastest, to 9, the smallest.",
    ),
    key(
        "server.compression_min_size",
        Preset::Bytes(limits::COMPRESSION_SIZE_MIN_DEFAULT as u64),
        "Messages shorter than this are sent as they are.",
    ),
    dev(
        "server.drain",
        Preset::Seconds(limits::DRAIN_WINDOW_DEFAULT_S),
        Preset::Seconds(0),
        "Over how long a shutdown spreads the closing of clients.",
    ),
    key(
        "server.dev",
        Preset::Switch(false),
        "For trying things out: changes the defaults marked \"With --dev\", accepts pages of any\n\
         loopback origin, and serves the demo page. Never on a machine others can reach.",
    ),
    key(
        "limits.connections",
        Preset::Count(limits::CONNECTIONS_DEFAULT as u64),
        "Connections of the process. The next one is answered 503.",
    ),
    key(
        "limits.message_size",
        Preset::Bytes(limits::MESSAGE_SIZE_DEFAULT as u64),
        "Size of one message from a client, /echo apart. A longer one is closed with 1009.",
    ),
    key(
        "limits.fragments_max",
        Preset::Count(limits::FRAGMENTS_DEFAULT as u64),
        "Fragments of one message from a client, /echo apart. One with more is closed with 1008.",
    ),
    key(
        "limits.publication_size",
        Preset::Bytes(limits::PUBLICATION_SIZE_DEFAULT as u64),
        "Size of one publication's payload. A longer one gets API error 107.",
    ),
    key(
        "limits.outbox_bytes",
        Preset::Bytes(limits::OUTBOX_BYTES_DEFAULT as u64),
        "What may wait for one client. A client with more is closed with 3008.",
    ),
    key(
        "limits.outbox_shard_bytes",
        Preset::Bytes(limits::OUTBOX_SHARD_BYTES_DEFAULT as u64),
        "What may wait for all clients of one shard. The default is less where a quarter of the\n\
         memory, of the machine or of the container, is less for all shards together.",
    ),
    key(
        "limits.history_bytes",
        Preset::Bytes(limits::HISTORY_BYTES_DEFAULT as u64),
        "What may be kept for history, shared evenly by the shards. Past its share a shard drops the\n\
         oldest publications of the channels not used for longest. The default is less where a\n\
         quarter of the memory, of the machine or of the container, is less.",
    ),
    key(
        "limits.handshake_timeout",
        Preset::Seconds(limits::HANDSHAKE_TIMEOUT_DEFAULT_S),
        "From accept to the end of the request; no byte extends it. Then, for a client of the\n\
         Centrifuge protocol, as long again to its connect command.",
    ),
    key(
        "limits.ping_interval",
        Preset::Seconds(limits::PING_INTERVAL_DEFAULT_S),
        "Between two pings to a client. Below the idle timeout of every proxy in between.",
    ),
    key(
        "limits.pong_timeout",
        Preset::Seconds(limits::PONG_TIMEOUT_DEFAULT_S),
        "How long a client may take to answer a ping; at most ping_interval.",
    ),
    key(
        "limits.mailbox_len",
        Preset::Count(limits::MAILBOX_LEN_DEFAULT as u64),
        "Messages one queue between two threads holds. When it is full, publishing gets 503.",
    ),
    key(
        "limits.receive_buffers",
        Preset::Count(limits::RECV_BUFFERS_DEFAULT as u64),
        "Receive buffers of a shard, a power of two.",
    ),
    key(
        "limits.receive_buffer_size",
        Preset::Bytes(limits::RECV_BUFFER_SIZE_DEFAULT as u64),
        "Size of one receive buffer.",
    ),
    key(
        "limits.sq_entries",
        Preset::Count(limits::SQ_ENTRIES_DEFAULT as u64),
        "Submission queue entries of a shard's ring. The kernel rounds up to a power of two.",
    ),
    key(
        "limits.cq_entries",
        Preset::Count(limits::CQ_ENTRIES_DEFAULT as u64),
        "Completion queue entries of a shard's ring, at least twice sq_entries.",
    ),
    dev("echo.enabled", Preset::Switch(false), Preset::Switch(true), "Whether the path exists."),
    key(
        "echo.message_limit",
        Preset::Bytes(limits::ECHO_MESSAGE_SIZE_DEFAULT as u64),
        "Size of one message, inclusive. A longer one is closed with 1009.",
    ),
    key(
        "echo.fragments_max",
        Preset::Count(limits::ECHO_FRAGMENTS_DEFAULT as u64),
        "Fragments of one message. One with more is closed with 1008.",
    ),
    dev(
        "channel.presence",
        Preset::Switch(false),
        Preset::Switch(true),
        "Whether the gateway knows who is subscribed.",
    ),
    dev(
        "channel.join_leave",
        Preset::Switch(false),
        Preset::Switch(true),
        "Whether subscribers that ask for it are told who comes and goes.",
    ),
    dev(
        "channel.history_size",
        Preset::Count(0),
        Preset::Count(100),
        "Publications kept, per channel. 0: none.",
    ),
    dev(
        "channel.history_ttl",
        Preset::Seconds(0),
        Preset::Seconds(300),
        "How long each of them is kept.",
    ),
    key(
        "channel.history_meta_ttl",
        Preset::Seconds(limits::HISTORY_META_TTL_DEFAULT_S),
        "How long a channel's position is kept behind its last publication.",
    ),
    dev(
        "channel.recovery",
        Preset::Switch(false),
        Preset::Switch(true),
        "Whether a client that was away gets what it missed. true or \"stream\": each does;\n\
         \"allow\": those that ask for it; \"cache\": each gets the newest publication. Needs\n\
         history_size and history_ttl.",
    ),
    key(
        "channel.positioning",
        Preset::Switch(false),
        "Whether each subscriber is told the position it starts at. Recovery implies it.",
    ),
    dev(
        "channel.allow_subscribe",
        Preset::Switch(false),
        Preset::Switch(true),
        "Which clients may subscribe: false for none, true or \"user\" for those that are\n\
         authenticated, \"anyone\" for all. With --dev every client counts as authenticated.",
    ),
    dev(
        "channel.allow_publish",
        Preset::Switch(false),
        Preset::Switch(true),
        "Which clients may publish: as above, or \"subscriber\" for those that are subscribed.",
    ),
    dev(
        "channel.allow_presence",
        Preset::Switch(false),
        Preset::Switch(true),
        "Which clients may ask who is subscribed: as above.",
    ),
    dev(
        "channel.allow_history",
        Preset::Switch(false),
        Preset::Switch(true),
        "Which clients may ask for earlier publications: as above.",
    ),
    key(
        "channel.publication_format",
        Preset::Text("json"),
        "\"json\": a publication that is no JSON is refused. \"binary\": any bytes may be published,\n\
         and clients of the Centrifuge protocol cannot subscribe.",
    ),
    key(
        "channel.slow_consumer",
        Preset::Text("disconnect"),
        "What becomes of a subscriber that does not keep up. \"disconnect\": it is closed with 3008.\n\
         \"drop_oldest\": when there is no room, it misses what has waited longest. \"newest\": of\n\
         what waits for it, it gets the newest publication of each channel. The last two do not go\n\
         with positioning, nor with recovery other than \"cache\".",
    ),
    key(
        "client.personal_channel",
        Preset::Switch(false),
        "Whether every user is subscribed to a channel of its own as soon as it connects: #USER.",
    ),
    key(
        "client.personal_namespace",
        Preset::Text(""),
        "Namespace of these channels, which are then NAMESPACE:#USER. Empty: none.",
    ),
    key(
        "hooks.notices.url",
        Preset::Text(""),
        "Where notices are sent, such as \"https://app.example/tidegate\". Empty: there are none.\n\
         Redirects are not followed.",
    ),
    key(
        "hooks.notices.secret",
        Preset::Text(""),
        "Secret that signs them, 32 random bytes or more as text. TIDEGATE_HOOKS_NOTICES_SECRET\n\
         keeps it out of this file.",
    ),
    key(
        "hooks.notices.secret_file",
        Preset::Text(""),
        "File that holds that secret instead; readable by its owner alone.",
    ),
    key(
        "hooks.notices.events",
        Preset::List(&["disconnect", "unsubscribe", "vacated"]),
        "What is told: that a client is gone, that one of its subscriptions is over, that a channel\n\
         has no subscriber left.",
    ),
    key(
        "hooks.notices.timeout",
        Preset::Seconds(limits::NOTICE_TIMEOUT_DEFAULT_S),
        "How long the backend may take to answer.",
    ),
    key(
        "hooks.notices.batch_size",
        Preset::Count(limits::NOTICE_BATCH_DEFAULT as u64),
        "Notices in one request at most.",
    ),
    key(
        "hooks.notices.batch_delay",
        Preset::Millis(limits::NOTICE_BATCH_DELAY_DEFAULT_MS),
        "How long a notice waits for others to go with it.",
    ),
    key(
        "hooks.notices.vacated_delay",
        Preset::Seconds(limits::NOTICE_VACATED_DELAY_DEFAULT_S),
        "How long a channel must have had no subscriber before that is told. Nothing is told if\n\
         somebody subscribes meanwhile.",
    ),
    key("log.format", Preset::Text("text"), "\"text\" for people, \"json\" for one object a line."),
    key(
        "log.level",
        Preset::Text("info"),
        "Least severe level written: \"error\", \"warn\", \"info\", \"debug\" or \"trace\". Release builds\n\
         have nothing below \"debug\".",
    ),
];
