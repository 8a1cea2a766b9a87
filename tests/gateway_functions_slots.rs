//! `gateway_functions.rs` once more, with every client in a slot of its shard's table.

#[path = "gateway_functions.rs"]
mod gateway_functions;
