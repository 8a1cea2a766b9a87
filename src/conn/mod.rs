//! WebSocket connections on tokio-uring.

pub(crate) mod exchange;
mod upgrade;

pub use upgrade::Upgrader;
