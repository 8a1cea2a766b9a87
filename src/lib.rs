//! Tidegate: a WebSocket push gateway for Linux on io_uring.
//!
//! Backends publish over HTTP; browsers, phones and services hold WebSocket connections and
//! receive. Acceptor threads (tokio-uring) do what may be slow or hostile before the `101`; shard
//! threads, one per core with a ring of their own, do everything after it. `ARCHITECTURE.md` holds
//! the picture and the table of which module may import which; `tests/layering.rs` checks it.

pub mod accept;
pub mod cli;
pub mod config;
pub mod conn;
pub mod control;
pub mod doctor;
pub mod engine;
pub mod frame;
pub mod gateway;
pub mod hub;
pub mod id;
pub mod lifecycle;
pub mod limits;
pub mod mail;
pub mod protocol;
pub mod publication;
pub mod ring;
pub mod session;
pub mod shard;
pub mod stats;
pub mod ws;

/// The Rust of README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
