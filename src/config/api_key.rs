//! Where the API key comes from: `--api-key`, `TIDEGATE_API_KEY`, or the file of
//! `server.api_key_file`, whichever was set latest in the usual order.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Secret;
use super::error::{ApiKeyFault, ConfigError, Source, Warning};
use super::keys::API_KEY_VARIABLE;
use super::raw::{Inputs, RawConfig};
use crate::limits;

/// The key, if one is set. Set twice at one place, the key itself wins over the file's name.
pub(super) fn resolve(
    typed: &RawConfig,
    inputs: &Inputs,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Secret>, ConfigError> {
    let variable = inputs.environment.iter().find(|(name, _)| name == API_KEY_VARIABLE);
    let (given, at) = if let Some(key) = &inputs.api_key_flag {
        warnings.push(Warning::KeyOnCommandLine);
        (Some(key), Source::Flag("--api-key"))
    } else if let Some((name, key)) = variable {
        (Some(key), Source::Environment(name.clone()))
    } else {
        (None, Source::Default)
    };
    let path = typed.text("server.api_key_file")?;
    let path_at = typed.at("server.api_key_file");
    let read = match given {
        Some(key) if path.is_empty() || at.rank() >= path_at.rank() => {
            check(key).map_err(|e| (at, e))
        }
        _ if path.is_empty() => return Ok(None),
        _ => read_file(Path::new(path), warnings).map_err(|e| (path_at, e)),
    };
    read.map(Some).map_err(|(at, fault)| ConfigError::ApiKey { at, fault })
}

fn read_file(path: &Path, warnings: &mut Vec<Warning>) -> Result<Secret, ApiKeyFault> {
    let unreadable = |error: io::Error| ApiKeyFault::FileUnreadable { path: path.into(), error };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if mode & OTHERS_READ != 0 {
        warnings.push(Warning::KeyFileReadable { path: path.into() });
    }
    let mut bytes = Vec::new();
    // One byte more than allowed, and room for the line end an editor leaves.
    let longest = limits::API_KEY_SIZE_MAX as u64 + 3;
    file.take(longest).read_to_end(&mut bytes).map_err(unreadable)?;
    check(String::from_utf8_lossy(&bytes).trim())
}

fn check(key: &str) -> Result<Secret, ApiKeyFault> {
    if key.is_empty() {
        return Err(ApiKeyFault::Empty);
    }
    if key.len() > limits::API_KEY_SIZE_MAX {
        return Err(ApiKeyFault::TooLong);
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ApiKeyFault::NotVisibleAscii);
    }
    Ok(Secret::new(key))
}

/// The permission of everyone else to read.
const OTHERS_READ: u32 = 0o004;
