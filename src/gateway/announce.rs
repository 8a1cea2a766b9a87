//! What a user reads once the gateway serves.
#![allow(clippy::print_stdout, reason = "these lines are the program's output, not its log")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use crate::config::{Config, LogFormat};

/// Prints addresses to paste, or logs them where logs are for machines.
pub(super) fn serving(config: &Config, clients: &TcpListener, admin: SocketAddr) {
    let clients = reachable(clients.local_addr().unwrap_or(config.server.listen));
    let admin = reachable(admin);
    let shards = config.server.shards.get();
    if config.log.format == LogFormat::Json {
        tracing::info!(%clients, %admin, shards, dev = config.server.dev, "serving");
        return;
    }
    println!("tidegate {} serves with {shards} shards", env!("CARGO_PKG_VERSION"));
    println!("  clients   ws://{clients}");
    if config.server.dev {
        println!("  page      http://{clients}/");
    }
    if config.channels.welcome_anonymous() {
        println!("  sdk       ws://{clients}/connection/websocket");
        println!("  subscribe ws://{clients}/raw?channel=news");
    } else {
        println!(
            "  subscribe nobody may yet: set channel.allow_subscribe = \"anyone\" (or start with --dev)"
        );
    }
    if config.echo.enabled {
        println!("  echo      ws://{clients}/echo");
    }
    let key =
        if config.server.api_key.is_some() { "-H \"X-API-Key: $TIDEGATE_API_KEY\" " } else { "" };
    println!(
        "  publish   curl -s {admin}/api/publish {key}-H 'content-type: application/json' \
         -d '{{\"channel\":\"news\",\"data\":{{\"n\":1}}}}'"
    );
    println!("  metrics   http://{admin}/metrics");
    if config.server.dev {
        println!(
            "--dev opens, for development only: anyone may subscribe and publish to every channel, \
             /echo, the page at /, and any loopback Origin"
        );
    }
}

/// An address a client on this machine can use: a wildcard stands for loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
