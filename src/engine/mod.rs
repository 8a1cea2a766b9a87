//! Where publications are ordered and kept.
//!
//! [`memory`] hands each publication to the shard that owns its channel, which numbers it. The
//! engine runs on the control thread and knows neither HTTP nor frames.

pub mod memory;

pub use memory::Engine;
