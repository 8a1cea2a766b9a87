//! One loop.
