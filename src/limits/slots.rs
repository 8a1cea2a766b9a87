//! Bounds of the tables in which rings hold sockets without descriptors.

/// Slots of one ring's table at most: the kernel's own bound, besides `RLIMIT_NOFILE`.
pub const TABLE_SLOTS_MAX: u32 = 1 << 20;

/// Milliseconds in which the peer of a closed slot must see the end, at the trial of a table. Where
/// slots work it takes microseconds; where they do not, an idle receive delays it for ever.
pub const TABLE_TRIAL_MS: u64 = 1_000;

/// Of the descriptors that are left to clients, the part that connections may keep before others
/// get slots: one in this many. The rest is for handshakes and the admin port.
pub const DESCRIPTORS_SHARE: u64 = 2;
