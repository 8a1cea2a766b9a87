//! The simulator: the real shards, sessions, hub and engine over a simulated kernel and network,
//! several shards in one thread, and an oracle that knows what each client must have received.
//!
//! One seed decides everything: sizes, clients, faults, clock. In its first phase things go wrong
//! and only what must never happen is looked for; in the second nothing goes wrong, and what is
//! owed must come. `scripts/sim` runs many seeds, or one again.

// Without debug assertions the contracts within the shards are not held to, and no bug is planted.
#![cfg(debug_assertions)]

mod bugs;
mod centrifuge;
mod client;
mod driver;
mod ending;
mod env;
mod faults;
mod link;
mod oracle;
mod order;
mod seeds;
mod setup;
mod wire;
mod world;

#[path = "../scripted/buffers.rs"]
mod buffers;
