//! `ring_pitfalls_live.rs` once more, with every socket in a slot of its ring's table.

#[path = "ring_pitfalls_live.rs"]
mod ring_pitfalls_live;
