//! Loopback connections, and threads on cores of their own.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use rustix::thread::CpuSet;
use tidegate::limits;
use tidegate::ring::RingSizes;
use tidegate::ws::handshake::{HeadReader, Request};

/// Binds the calling thread to `cpu`.
pub(super) fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// A socket that listens on a free port of loopback.
pub(super) fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Ends listening: whoever waits for a client, or asks for one later, gets an error.
pub(super) fn end_listening(listener: &TcpListener) {
    // What it fails with says that nobody listens any more.
    let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
}

/// Takes the next client as it is.
pub(super) fn accept(listener: &TcpListener) -> io::Result<OwnedFd> {
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    Ok(stream.into())
}

/// Takes the next client and upgrades it, whatever path it asks for; the path too. It must not send
/// more before it is answered.
pub(super) fn accept_upgraded(listener: &TcpListener) -> io::Result<(OwnedFd, String)> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    let mut reader = HeadReader::new();
    let head_len = loop {
        let mut buffer = [0; 1024];
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&buffer[..len]);
        if let Some(len) = reader.handle(&head).map_err(io::Error::other)? {
            break len;
        }
    };
    let request = Request::parse(&head[..head_len]).map_err(io::Error::other)?;
    let upgrade = request.upgrade(&[]).map_err(io::Error::other)?;
    let mut response = Vec::new();
    upgrade.append_response(&mut response);
    stream.write_all(&response)?;
    Ok((stream.into(), request.path.to_owned()))
}

/// `count` connections, both ends: the side that listened, the side that connected.
pub(super) fn pairs(count: u32) -> io::Result<(Vec<OwnedFd>, Vec<OwnedFd>)> {
    let (listener, address) = listen()?;
    let mut accepted = Vec::with_capacity(count as usize);
    let mut connected = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        connected.push(stream.into());
        accepted.push(accept(&listener)?);
    }
    Ok((accepted, connected))
}

/// The ring of a gateway's shard as it is without configuration.
pub(super) const SIZES: RingSizes = RingSizes {
    sq_entries: limits::SQ_ENTRIES_DEFAULT,
    cq_entries: limits::CQ_ENTRIES_DEFAULT,
    recv_buffers: limits::RECV_BUFFERS_DEFAULT,
    recv_buffer_size: limits::RECV_BUFFER_SIZE_DEFAULT,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_belong_together() {
        let (accepted, connected) = pairs(3).expect("loopback");
        for (index, (left, right)) in accepted.into_iter().zip(connected).enumerate() {
            TcpStream::from(left).write_all(&[index as u8]).expect("open");
            let mut byte = [9];
            TcpStream::from(right).read_exact(&mut byte).expect("open");
            assert_eq!(byte, [index as u8]);
        }
    }
}
