//! Channel patterns.

/// A channel pattern as it was set: literal text in which each `*` stands for any run of
/// characters. What fits it is for `protocol::admission` to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub String);
