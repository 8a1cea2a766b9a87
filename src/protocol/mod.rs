//! What messages mean, and what is acceptable before the 101.

pub mod admission;
