//! `gateway_connections.rs` once more, with every client in a slot of its shard's table.

#[path = "gateway_connections.rs"]
mod gateway_connections;
