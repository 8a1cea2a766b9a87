//! Start, wire, drain, stop.

use crate::config::Config;

/// Serves until it is told to stop.
pub fn serve(_config: Config) -> Result<(), String> {
    Err("nothing is served yet".to_owned())
}
