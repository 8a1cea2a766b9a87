//! The URL of a server, taken apart and resolved.

use std::fmt::{self, Display, Formatter};
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use tidegate::ws::handshake::Authority;

/// A server to connect to. All connections go to the one address the name had at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Where to connect to.
    pub(crate) address: SocketAddr,
    /// The `Host` header.
    pub(crate) host: String,
    /// Path and query.
    pub(crate) path: String,
}

/// Why a URL is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("TLS is not supported yet: write a ws:// URL")]
    Tls,
    #[error("write a URL such as ws://127.0.0.1:8000/echo")]
    Malformed,
    #[error("the name cannot be resolved: {0}")]
    Unresolved(std::io::Error),
    #[error("the name has no address")]
    NoAddress,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(url: &str) -> Result<Self, TargetError> {
        if url.starts_with("wss://") {
            return Err(TargetError::Tls);
        }
        let rest = url.strip_prefix("ws://").ok_or(TargetError::Malformed)?;
        let host_len = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(host_len);
        let fits = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        let authority = Authority::parse(host).filter(|_| fits).ok_or(TargetError::Malformed)?;
        let name = authority.host.trim_start_matches('[').trim_end_matches(']');
        let mut addresses = (name, authority.port.unwrap_or(WS_PORT))
            .to_socket_addrs()
            .map_err(TargetError::Unresolved)?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            address: addresses.next().ok_or(TargetError::NoAddress)?,
            host: host.to_owned(),
            path: format!("{slash}{path}"),
        })
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}{}", self.host, self.path)
    }
}

/// The port of `ws://` (RFC 6455 section 3).
const WS_PORT: u16 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_url() {
        for (url, address, host, path) in [
            ("ws://127.0.0.1:8000/echo", "127.0.0.1:8000", "127.0.0.1:8000", "/echo"),
            ("ws://127.0.0.1", "127.0.0.1:80", "127.0.0.1", "/"),
            ("ws://127.0.0.1?a=b", "127.0.0.1:80", "127.0.0.1", "/?a=b"),
            ("ws://[::1]:9/raw?channel=c", "[::1]:9", "[::1]:9", "/raw?channel=c"),
        ] {
            let target: Target = url.parse().expect(url);
            assert_eq!(target.address, address.parse().expect("an address"));
            assert_eq!(target.to_string(), format!("ws://{host}{path}"));
            assert_eq!((target.host.as_str(), target.path.as_str()), (host, path));
        }
    }

    #[test]
    fn what_is_no_url() {
        for url in ["", "127.0.0.1", "http://a", "ws://", "ws://127.0.0.1/a b", "ws://127.0.0.1/#a"]
        {
            assert!(matches!(url.parse::<Target>(), Err(TargetError::Malformed)), "{url}");
        }
        assert!(matches!("wss://a/".parse::<Target>(), Err(TargetError::Tls)));
    }
}
