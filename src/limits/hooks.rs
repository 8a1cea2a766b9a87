//! Maximums of questions to backends.

use super::API_BODY_MAX;

/// Seconds a backend has for an answer, default: less than SDKs wait for a reply.
pub const HOOK_TIMEOUT_DEFAULT_S: u64 = 1;

/// Longest time that may be configured for a backend's answer: the client waits all the while.
pub const HOOK_TIMEOUT_MAX_S: u64 = 60;

/// Questions in flight to one hook, default: what a backend of a few processes works on at once.
pub const HOOK_CONCURRENCY_DEFAULT: usize = 256;

/// Most questions in flight to one hook that may be configured: each takes a connection.
pub const HOOK_CONCURRENCY_MAX: usize = 16_384;

/// Questions to one hook that wait for a place in flight; past it clients get a temporary error.
pub const HOOK_WAITING_MAX: usize = 4_096;

/// Bytes of a backend's answer: as many as of a request of the HTTP API.
pub const HOOK_ANSWER_MAX: usize = API_BODY_MAX;

/// Seconds a connection to a backend may idle: Node closes those that idle for five.
pub const HOOK_IDLE_S: u64 = 4;

/// Milliseconds between two lines of the log about answers of one hook that did not come.
pub const HOOK_LOG_INTERVAL_MS: u64 = 1_000;

/// Seconds a client or subscription may stay whose backend did not answer whether it may; then the
/// backend is asked again (Centrifugo's time).
pub const HOOK_RETRY_S: u64 = 60;
