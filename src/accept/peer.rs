//! Who is at the other end, through proxies that are trusted to say so.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::ws::handshake::Request;

/// The address of the peer; `tcp_peer` is canonical, not IPv4 in IPv6. If the TCP peer is a trusted
/// proxy, `X-Forwarded-For` is read from its end, where the nearest proxy has written: the first
/// address that is no trusted proxy is the peer. An entry that is no address ends the search at the
/// last hop that is known.
pub(super) fn address(
    request: &Request<'_>,
    tcp_peer: IpAddr,
    trusted_proxies: &[IpNet],
) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted_proxies.iter().any(|net| net.contains(&address));
    let mut peer = tcp_peer;
    if !is_trusted(peer) {
        return peer;
    }
    let hops: Vec<_> = request.elements("x-forwarded-for").collect();
    for hop in hops.into_iter().rev() {
        let Some(address) = parse(hop) else {
            return peer;
        };
        peer = address;
        if !is_trusted(peer) {
            return peer;
        }
    }
    peer
}

/// An address, with or without brackets and port: proxies write all four.
fn parse(hop: &[u8]) -> Option<IpAddr> {
    let hop = str::from_utf8(hop).ok()?;
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse::<IpAddr>().or_else(|_| hop.parse::<SocketAddr>().map(|a| a.ip()));
    Some(address.ok()?.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(tcp_peer: &str, forwarded: &[&str]) -> String {
        let lines: String =
            forwarded.iter().map(|value| format!("X-Forwarded-For: {value}\r\n")).collect();
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let request = Request::parse(head.as_bytes()).expect("a request");
        let trusted = ["10.0.0.0/8", "::1/128"].map(|net| net.parse().expect("a net"));
        address(&request, tcp_peer.parse().expect("an address"), &trusted).to_string()
    }

    #[test]
    fn the_last_untrusted_hop_is_the_peer() {
        for (tcp_peer, forwarded, peer) in [
            ("192.0.2.1", &["203.0.113.9"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("::1", &["[2001:db8::1]:80"], "2001:db8::1"),
            ("::1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
        ] {
            assert_eq!(seen(tcp_peer, forwarded), peer, "{tcp_peer} {forwarded:?}");
        }
    }
}
