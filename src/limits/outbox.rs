//! Bounds of the memory for what waits for one connection, beside that of the bytes themselves.

/// Frames for which the queue of an outbox has room when it takes memory: few enough to be nothing
/// beside a socket, and more than most queues ever hold.
pub const OUTBOX_QUEUE_ROOM: usize = 8;

/// Empty vectors a shard keeps for each open connection, within [`super::SPARE_BYTES_MAX`]: one is
/// in flight while another is filled. More would only be what ended connections have left behind.
pub const SPARES_PER_CONNECTION: usize = 2;
