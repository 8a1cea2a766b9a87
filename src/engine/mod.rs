//! Where publications are ordered.
