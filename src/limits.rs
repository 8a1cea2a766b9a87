//! Every maximum, each with its reason. A leaf: imports nothing of ours.
//!
//! Values an operator may change are defaults here and checked in `config`; the others are fixed.

mod hooks;
mod notices;
mod outbox;
mod slots;

pub use hooks::*;
pub use notices::*;
pub use outbox::*;
pub use slots::*;

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

/// Bytes in a namespace's name: leaves most of a channel's name to the rest.
pub const NAMESPACE_NAME_MAX: usize = 64;

/// Commands of one client that owners have not answered yet; the next waits, and its client is not
/// read. As many as there are channels to subscribe to.
pub const COMMANDS_UNANSWERED_MAX: u16 = CHANNELS_PER_CONNECTION_MAX as u16;

/// Publications a client gets for one question about history.
pub const HISTORY_PAGE_MAX: usize = 300;

/// Milliseconds between two lines of a shard's log about messages that were not published.
pub const REFUSAL_LOG_INTERVAL_MS: u64 = 1_000;

/// Publications one channel may be told to keep.
pub const HISTORY_SIZE_MAX: u32 = 100_000;

/// Seconds a channel's position is kept behind its last publication, default: 30 days, longer than
/// anybody is away who still cares.
pub const HISTORY_META_TTL_DEFAULT_S: u64 = 720 * 3_600;

/// Longest time publications and positions may be told to be kept.
pub const HISTORY_TTL_MAX_S: u64 = 3_660 * 24 * 3_600;

/// Channels one shard knows, as owner or for its members. Past it the idle ones without
/// subscribers are forgotten first, counted; when none is idle, subscribing and publishing fail.
pub const CHANNELS_PER_SHARD_MAX: usize = 1 << 20;

/// Bytes of history the process keeps, default, spread evenly over its shards; past it the oldest
/// entries of the stream that was not used for longest go first, counted.
pub const HISTORY_BYTES_DEFAULT: usize = 512 * 1024 * 1024;

/// Least memory for history that may be configured; tests run with it.
pub const HISTORY_BYTES_MIN: usize = 64 * 1024;

/// Publications one recovery hands out; who missed more is told that it is not recovered.
pub const RECOVERY_MAX: usize = 300;

/// Milliseconds an idempotency key is remembered (Centrifugo's time).
pub const IDEMPOTENCY_TTL_MS: u64 = 300_000;

/// Idempotency keys one shard remembers; past it the oldest are forgotten first, counted.
pub const IDEMPOTENCY_KEYS_PER_SHARD_MAX: usize = 1 << 16;

/// Bytes of an idempotency key: as many as of a channel's name.
pub const IDEMPOTENCY_KEY_SIZE_MAX: usize = 255;

/// Entries, streams and keys dropped in one look at what has expired, so that a turn stays short;
/// if more is due, the next turn goes on.
pub const EXPIRE_PER_CALL: usize = 256;

/// Milliseconds between two looks at what has expired; nothing expired is given out meanwhile, so
/// only its memory waits.
pub const EXPIRE_INTERVAL_MS: u64 = 1_000;

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

/// One share of this many of the memory the process may use is the most that history, and all
/// outboxes together, take unless they are configured. The rest is for connections, what is on its
/// way between threads, and the kernel's socket buffers, which count as the container's.
pub const MEMORY_SHARE: u64 = 4;

/// Bytes gathered into one send. Equals `NOTSENT_LOWAT`: more would only wait in the kernel.
pub const SEND_GATHER_MAX: usize = 64 * 1024;

/// `TCP_NOTSENT_LOWAT`: unsent bytes the kernel keeps per socket. A peer that never reads was given
/// 4.26 MB without it and 0.18 MB with it.
pub const NOTSENT_LOWAT: u32 = 64 * 1024;

/// Bytes of empty vectors a shard keeps to build frames of single connections in, so that an echo
/// allocates nothing in steady state.
pub const SPARE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Mail one lane between two threads holds, default.
pub const MAILBOX_LEN_DEFAULT: usize = 1_024;

/// Deliveries a fan-out makes, connections a teardown closes, in one turn of a shard, so that no
/// channel holds up the others for longer than about 5 ms.
pub const WORK_PER_TURN: usize = 1_024;

/// Frames looked at in one outbox, for publications that may be dropped, that count as one delivery
/// of [`WORK_PER_TURN`]: about as much work.
pub const OUTBOX_LOOKS_PER_DELIVERY: usize = 64;

/// Deeds of backends to clients that one shard has not finished; what is more is refused. Each
/// holds the ids of the clients it is still to be done to.
pub const ERRANDS_MAX: usize = 64;

/// Bytes of the reason of a disconnect: what fits into a Close frame behind its code.
pub const DISCONNECT_REASON_MAX: usize = CONTROL_PAYLOAD_MAX - 2;

/// Bytes of the info a backend gives a client or a subscription, and of the data of a subscription:
/// every member's presence holds its info.
pub const ENROLMENT_JSON_MAX: usize = 4 * 1024;

/// Client ids that one disconnect may spare.
pub const WHITELIST_MAX: usize = 1_000;

/// Channels or connections a shard looks at for one piece of a survey: a turn answers several.
pub const SURVEY_PIECE: usize = WORK_PER_TURN / 4;

/// Bytes of publications a shard takes from its mailboxes in one turn. At the end of a turn each
/// connection is sent at most one gathered buffer, so a reader that keeps up is sent more than it
/// is given, however late the shard is.
pub const FAN_OUT_BYTES_PER_TURN: usize = SEND_GATHER_MAX / 2;

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

/// Seconds a [`Dialer`](crate::conn::Dialer) gives a server, default: gorilla/websocket's, long
/// enough for two lost SYNs on the way through a proxy.
pub const DIAL_TIMEOUT_DEFAULT_S: u64 = 45;

/// Bytes of a refusal's body that a [`Dialer`](crate::conn::Dialer) keeps: enough for a text that
/// says why, too little for a page.
pub const REFUSAL_BODY_MAX: usize = 1_024;

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

/// Milliseconds during which a port that is in use is asked for again. The kernel lets go of a
/// killed gateway's port within 10 ms; a port that another program has stays refused, told this
/// much later.
pub const BIND_PATIENCE_MS: u64 = 500;

/// Milliseconds between two such tries.
pub const BIND_RETRY_MS: u64 = 5;

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

/// Seconds a closing client's outbox, with our Close behind it, may take to be sent before the
/// connection is reset; and seconds past its window after which a drain waits for no delivery.
pub const DRAIN_FLUSH_S: u64 = 5;

/// Bytes of an HTTP API request body.
pub const API_BODY_MAX: usize = 1024 * 1024;

/// Channels one broadcast may name.
pub const BROADCAST_CHANNELS_MAX: usize = 1_000;

/// Commands of one batch: as many as a broadcast has channels.
pub const BATCH_COMMANDS_MAX: usize = 1_000;

/// Tags of one publication: with long names and values too they are far smaller than a payload.
pub const TAGS_MAX: usize = 64;

/// Bytes of a tag's name, and of its value: as many as of a channel's name.
pub const TAG_SIZE_MAX: usize = 255;

/// Bytes of the epoch a publisher compares versions within: as many as of an idempotency key.
pub const VERSION_EPOCH_SIZE_MAX: usize = IDEMPOTENCY_KEY_SIZE_MAX;

/// Bytes of a pattern of channel names: as many as of a name.
pub const CHANNEL_PATTERN_MAX: usize = CHANNEL_NAME_MAX;

/// Bytes of one HTTP API answer about history, presence or channels, which are put together before
/// they are sent; who wants more asks for parts.
pub const API_ANSWER_MAX: usize = 16 * 1024 * 1024;

/// Levels of arrays and objects in a publication's JSON, so that no publisher hands subscribers a
/// text that breaks theirs: 127 are what common parsers take without a setting, and the deepest
/// message around a publication, history within a batch, has six.
pub const JSON_DEPTH_MAX: usize = 120;

/// Seconds an HTTP API client has for its whole request body, never reset by a byte.
pub const API_BODY_TIMEOUT_S: u64 = 10;

/// Bytes of a body past [`API_BODY_MAX`] that are read and discarded, so that a client which writes
/// first and reads afterwards gets to see the 413.
pub const API_DISCARD_MAX: usize = 16 * 1024 * 1024;

/// Characters of the text that says why a request's JSON was not understood; it may quote it.
pub const API_FAULT_TEXT_MAX: usize = 256;

/// Connections to the admin port; past it accepting waits and the backlog holds the rest. Enough
/// for the pools of a fleet of backends; with a body each they hold 1 GiB at worst.
pub const ADMIN_CONNECTIONS_MAX: usize = 1_024;

/// Seconds a connection to the admin port may take for a request head, idle time before it
/// included, and for acknowledging what it was sent.
pub const ADMIN_IDLE_TIMEOUT_S: u64 = 60;

/// Seconds control gives requests in flight when the process ends.
pub const CONTROL_STOP_S: u64 = 2;

/// Descriptors the process's table has room for from the start: 1 MiB of the kernel's memory.
pub const DESCRIPTORS_ROOM: u64 = 128 * 1024;

/// Bytes of one message a [`Conn`](crate::conn::Conn) reads, default, inclusive.
pub const CONN_READ_LIMIT_DEFAULT: usize = 16 * 1024 * 1024;

/// Fragments of one message a [`Conn`](crate::conn::Conn) reads, default: as many as on `/echo`.
pub const CONN_FRAGMENTS_DEFAULT: u32 = ECHO_FRAGMENTS_DEFAULT;

/// Bytes of the buffer a [`Conn`](crate::conn::Conn) reads into, default. Every connection holds
/// one while it waits, for the kernel writes to it.
pub const CONN_READ_BUFFER_DEFAULT: usize = 16 * 1024;

/// Payload bytes in a fragment of a [`MessageWriter`](crate::conn::MessageWriter), default: what
/// gorilla/websocket buffers.
pub const CONN_WRITE_BUFFER_DEFAULT: usize = 4 * 1024;

/// Compressed bytes inflated at a time for a [`MessageReader`](crate::conn::MessageReader): what
/// they make, at most a thousand times as much, has to be held.
pub const CONN_INFLATE_STEP: usize = 256;

/// Level a [`Conn`](crate::conn::Conn) compresses at, default: the fastest that finds anything, as
/// with gorilla/websocket.
pub const CONN_DEFLATE_LEVEL_DEFAULT: u8 = 1;

/// Milliseconds a peer has to take our Close before a read that has failed says so.
pub const CONN_CLOSE_FLUSH_MS: u64 = 1_000;

/// Bytes queued on a [`Conn`](crate::conn::Conn), behind the write in flight, from which on the
/// next frame waits. A frame of any size may enter below it.
pub const CONN_QUEUE_MAX: usize = 64 * 1024;

/// Bytes of an empty buffer a [`Conn`](crate::conn::Conn) keeps for the next frame or message.
/// Larger ones go back, lest one large message cost memory until the end.
pub const CONN_BUFFER_KEPT_MAX: usize = 128 * 1024;

/// Backlog of the listening socket; the kernel cuts it to `net.core.somaxconn`.
pub const LISTEN_BACKLOG: i32 = 4_096;

/// Payload bytes of a control frame (RFC 6455 section 5.5).
pub const CONTROL_PAYLOAD_MAX: usize = 125;

/// Bytes unmasked and validated at a time: a block stays in the first-level cache.
pub const UNMASK_BLOCK: usize = 16 * 1024;

/// Bytes a compressed message is inflated to at first, and at least, before there is more room.
pub const INFLATE_BLOCK_MIN: usize = 4 * 1024;

/// Bytes a message is inflated to at a time, so that its memory follows what it holds.
pub const INFLATE_BLOCK_MAX: usize = 64 * 1024;

/// States of zlib of each kind that one thread keeps for the next message: as many windows and
/// levels as are in use at once, at 300 KiB each.
pub const DEFLATE_SPARES_MAX: usize = 8;

/// Level of compression, default: zlib's own. A publication is compressed once, so what the level
/// costs is shared by all its subscribers.
pub const COMPRESSION_LEVEL_DEFAULT: u8 = 6;

/// Highest level of compression.
pub const COMPRESSION_LEVEL_MAX: u8 = 9;

/// Bytes below which a message is not compressed, default: a message of its own has hardly anything
/// to refer back to.
pub const COMPRESSION_SIZE_MIN_DEFAULT: usize = 128;

/// Window of the one compressed copy of a publication, in bits: the largest, which every client
/// reads that does not ask for less.
pub const SHARED_WINDOW_BITS: u8 = 15;

/// Connections of one shard that keep a deflater between messages, at 300 KiB each; those past it
/// have each message compressed by itself, which context takeover permits.
pub const DEFLATERS_PER_SHARD_MAX: usize = 256;

/// Bytes of the configuration file: far more than every key takes, little enough to read whole.
pub const CONFIG_FILE_SIZE_MAX: u64 = 1024 * 1024;

/// Entries of one list in the configuration. Patterns and origins are tried one after another for
/// each upgrade, so their count is bounded.
pub const CONFIG_LIST_LEN_MAX: usize = 1_024;

/// Bytes of the API key: what fits into one header line with room to spare.
pub const API_KEY_SIZE_MAX: usize = 1_024;

/// Longest time that may be configured for a handshake, a ping, a pong or a drain.
pub const TIME_MAX_S: u64 = 24 * 3_600;

/// Shortest time that may be configured for a handshake, a ping or a pong: below it a timer would
/// only measure the scheduler.
pub const TIME_MIN_MS: u64 = 10;

/// Fewest submission queue entries that may be configured; tests run with it.
pub const SQ_ENTRIES_CONFIG_MIN: u32 = 8;

/// Most submission queue entries the kernel takes (`IORING_MAX_ENTRIES`).
pub const SQ_ENTRIES_MAX: u32 = 32_768;

/// Most completion queue entries the kernel takes (`IORING_MAX_CQ_ENTRIES`).
pub const CQ_ENTRIES_MAX: u32 = 65_536;

/// Fewest receive buffers that may be configured; tests run with it.
pub const RECV_BUFFERS_MIN: u16 = 4;

/// Most receive buffers the kernel takes in one ring of them.
pub const RECV_BUFFERS_MAX: u16 = 32_768;

/// Smallest receive buffer: holds a control frame with its header.
pub const RECV_BUFFER_SIZE_MIN: u32 = 256;

/// Largest receive buffer: past it a shard's buffers cost more than the copies they save.
pub const RECV_BUFFER_SIZE_MAX: u32 = 1024 * 1024;

/// Shortest mailbox lane that may be configured; tests run with it.
pub const MAILBOX_LEN_MIN: usize = 4;

/// Longest mailbox lane: there is one per pair of threads, and it is allocated at start.
pub const MAILBOX_LEN_MAX: usize = 1 << 16;

/// Most fragments that may be configured: a message of the largest size in fragments of one byte.
pub const FRAGMENTS_MAX: u32 = MESSAGE_SIZE_MAX as u32;

/// Largest outbox of one client, budget of a shard, and history, that may be configured.
pub const OUTBOX_BYTES_MAX: usize = 1 << 40;

/// Bytes of a token: a request head, where tokens of the raw protocol stand, holds no more.
pub const TOKEN_SIZE_MAX: usize = HEAD_SIZE_MAX;

/// Bytes of a user's id: as many as of a channel's name.
pub const USER_ID_MAX: usize = 255;

/// Bytes of a secret that signs tokens: a key's use ends at the block of its hash, 128 bytes.
pub const TOKEN_SECRET_SIZE_MAX: usize = 1_024;

/// Bytes below which a secret that signs tokens is called short: what SHA-256 gives (RFC 7518
/// section 3.2).
pub const TOKEN_SECRET_SIZE_GOOD: usize = 32;

/// Bytes of the file with a public key: the largest RSA key that is used takes 1.5 KiB.
pub const PUBLIC_KEY_FILE_SIZE_MAX: u64 = 64 * 1024;

/// Longest difference between clocks that tokens may be forgiven.
pub const TOKEN_LEEWAY_MAX_S: u64 = 300;

/// Bytes of an issuer's key set; past it the set is not used.
pub const JWKS_SIZE_MAX: usize = 256 * 1024;

/// Keys of a set that are looked at; each costs memory, and a signature to try if it has no name.
pub const JWKS_KEYS_MAX: usize = 64;

/// Keys tried for one token that does not name its key, so that one token costs a bounded number
/// of signatures.
pub const TOKEN_KEYS_TRIED_MAX: usize = 4;

/// Seconds a fetch of keys may take: less than SDKs wait for the reply to a command.
pub const JWKS_TIMEOUT_S: u64 = 4;

/// Seconds between two fetches of keys at least, whatever tokens name: nobody can make the gateway
/// ask more often.
pub const JWKS_INTERVAL_MIN_S: u64 = 10;

/// Seconds after which keys in use are fetched anew, so that a key that was withdrawn is not
/// trusted for long.
pub const JWKS_INTERVAL_MAX_S: u64 = 300;

/// Questions that wait for keys to be fetched; past it they are answered with a temporary error.
pub const AUTH_WAITING_MAX: usize = 4_096;

/// Tokens of requests that wait to be checked before their 101; past it the answer is 503.
pub const AUTH_REQUESTS_MAX: usize = 1_024;

/// Tokens of one lane that are checked before other lanes and arriving keys are looked at.
pub const AUTH_WORK_PER_TURN: usize = 16;

/// Seconds past a token's end until its connection or subscription ends: time for the client to
/// bring a new one (Centrifugo's time).
pub const EXPIRED_CLOSE_DELAY_S: u64 = 25;

const _: () = assert!(JWKS_TIMEOUT_S < JWKS_INTERVAL_MIN_S);
const _: () = assert!(JWKS_INTERVAL_MIN_S < JWKS_INTERVAL_MAX_S);
const _: () = assert!(SEND_GATHER_MAX <= OUTBOX_BYTES_DEFAULT);
const _: () = assert!(HEAD_LINE_MAX <= HEAD_SIZE_MAX);
const _: () = assert!(HEAD_BUFFER_SIZE <= HEAD_SIZE_MAX);
const _: () = assert!(ACCEPT_PAUSE_MIN_MS <= ACCEPT_PAUSE_MAX_MS);
const _: () = assert!(ACCEPT_CQ_ENTRIES >= 2 * ACCEPT_SQ_ENTRIES);
const _: () = assert!(MESSAGE_SIZE_DEFAULT <= OUTBOX_BYTES_DEFAULT);
const _: () = assert!(ECHO_MESSAGE_SIZE_DEFAULT <= MESSAGE_SIZE_MAX);
const _: () = assert!(CQ_ENTRIES_DEFAULT >= 2 * SQ_ENTRIES_DEFAULT);
const _: () = assert!(RECV_BUFFER_SIZE_MIN as usize >= CONTROL_PAYLOAD_MAX + 14);
const _: () = assert!(CONNECTIONS_PER_SHARD_MAX.checked_mul(SHARDS_MAX as u32).is_some());
