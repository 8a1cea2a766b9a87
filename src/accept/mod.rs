//! Acceptors.
