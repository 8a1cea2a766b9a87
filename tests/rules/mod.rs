//! The rules as tables, each run on the module and over TCP against the binary.
//!
//! Every test binary that uses a table compiles all of them, hence the allowance.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod handshake;
