//! One upgraded connection.
