//! Source addresses: one address has ports for about 28,000 connections to one destination.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use crate::target::Target;

/// Connections from one source address to one destination: the default range of local ports holds
/// 28,232, and some may be taken.
pub(crate) const PORTS_PER_SOURCE: u32 = 28_000;

/// Connections from one source before the kernel is slow to find it a port: it tries every second
/// port first, and looks at all of those in vain once they are taken.
const PORTS_QUICKLY_FOUND: u32 = PORTS_PER_SOURCE / 2;

/// IPv4 addresses of this machine to connect from, first to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    first: u32,
    count: u32,
}

impl Sources {
    /// Those to use for `total` connections to `target`: what was asked for, else as many of
    /// loopback as are needed; `None`: the kernel's choice.
    pub(crate) fn choose(asked: Option<Self>, target: &Target, total: u32) -> Option<Self> {
        if asked.is_some() {
            return asked;
        }
        let loopback = match target.address.ip() {
            IpAddr::V4(address) => address.is_loopback(),
            IpAddr::V6(_) => false,
        };
        (loopback && total > PORTS_PER_SOURCE).then(|| Self {
            first: Ipv4Addr::new(127, 0, 1, 1).into(),
            count: total.div_ceil(PORTS_QUICKLY_FOUND),
        })
    }

    /// The source of connection `number`: they take turns.
    pub(super) fn of(&self, number: u32) -> Ipv4Addr {
        (self.first + number % self.count).into()
    }
}

impl Display for Sources {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let last = self.first + self.count - 1;
        write!(f, "{}-{}", Ipv4Addr::from(self.first), Ipv4Addr::from(last))
    }
}

impl FromStr for Sources {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let read = |text: &str| text.trim().parse::<Ipv4Addr>().map(u32::from);
        match (read(first), read(last)) {
            (Ok(first), Ok(last)) if first <= last && last - first < SOURCES_MAX => {
                Ok(Self { first, count: last - first + 1 })
            }
            (Ok(first), Ok(last)) if first <= last => Err("at most 1024 addresses"),
            _ => Err("write IPv4 addresses of this machine, such as 127.0.1.1-127.0.1.8"),
        }
    }
}

/// More than any run needs: 28 million connections.
const SOURCES_MAX: u32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Target {
        "ws://127.0.0.1:1/".parse().expect("a URL")
    }

    #[test]
    fn sources_are_spread_only_when_ports_would_run_out() {
        assert_eq!(Sources::choose(None, &local(), PORTS_PER_SOURCE), None);
        let spread = Sources::choose(None, &local(), PORTS_PER_SOURCE + 1).expect("three");
        let of: Vec<_> = (0..4).map(|number| spread.of(number).to_string()).collect();
        assert_eq!(of, ["127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.1"]);
        let outside: Target = "ws://192.0.2.1:1/".parse().expect("a URL");
        assert_eq!(Sources::choose(None, &outside, 1_000_000), None);
        let most = Sources::choose(None, &local(), 127 * PORTS_PER_SOURCE).expect("254");
        assert_eq!(most.of(253), Ipv4Addr::new(127, 0, 1, 254));
    }

    #[test]
    fn what_was_asked_for_is_used() {
        let asked: Sources = "127.0.1.1-127.0.1.8".parse().expect("a range");
        assert_eq!(Sources::choose(Some(asked), &local(), 1), Some(asked));
        assert_eq!(asked.to_string(), "127.0.1.1-127.0.1.8");
        assert_eq!(asked.of(7), Ipv4Addr::new(127, 0, 1, 8));
        assert_eq!(asked.of(8), Ipv4Addr::new(127, 0, 1, 1));
        let one: Sources = "10.0.0.1".parse().expect("an address");
        assert_eq!(one.of(5), Ipv4Addr::new(10, 0, 0, 1));
        for wrong in ["", "127.0.1.8-127.0.1.1", "::1", "127.0.0.1-", "10.0.0.0-10.0.4.0"] {
            assert!(wrong.parse::<Sources>().is_err(), "{wrong}");
        }
    }
}
