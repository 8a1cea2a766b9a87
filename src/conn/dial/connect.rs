//! From a host and a port to a TCP stream.

use std::io;
use std::net::SocketAddr;

use tokio::time::{Duration, Instant, timeout};
use tokio_uring::net::TcpStream;

use super::DialError;

/// Connects to the first address of `host` that takes the connection, one after another. A
/// blackholed one must not use up all the time there is until `deadline`, so each gets an equal
/// share of what is left.
///
/// Names are resolved by the system's resolver on a thread of the runtime's pool. Connections are
/// made by readiness instead of through the ring: tokio-uring cannot take back a connect that was
/// given up, which would keep its socket, and the end of the runtime, waiting for the kernel's two
/// minutes. Dropping this future frees the socket at once; of the resolver only the answer is
/// dropped, its thread goes on.
///
/// # Errors
/// The resolver's, or that of the last address.
pub(super) async fn connect(
    host: &str,
    port: u16,
    deadline: Instant,
) -> Result<TcpStream, DialError> {
    let unresolved = |error| DialError::Resolve { host: host.to_owned(), error };
    let addresses: Vec<SocketAddr> =
        tokio::net::lookup_host((host, port)).await.map_err(unresolved)?.collect();
    let mut last = None;
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        match connect_to(*address, left / (addresses.len() - index) as u32).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some((address, error)),
        }
    }
    if Instant::now() >= deadline {
        return Err(DialError::TimedOut);
    }
    let (address, error) =
        last.ok_or_else(|| unresolved(io::Error::other("the name has no address")))?;
    Err(DialError::Connect { address: address.to_string(), error })
}

async fn connect_to(address: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let connecting = tokio::net::TcpStream::connect(address);
    let stream = timeout(patience, connecting).await??.into_std()?;
    // On a ring a socket that does not block would fail where it should wait.
    stream.set_nonblocking(false)?;
    Ok(TcpStream::from_std(stream))
}
