//! The kernel.

pub mod fd;
