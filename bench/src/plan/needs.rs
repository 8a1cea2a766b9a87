//! What the target needs of each resource, what this machine has of it, and which runs out first.

use super::record::{Costs, Line, Need, Target};

/// What this machine has; `None`: not known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Machine {
    pub(super) memory_bytes: Option<f64>,
    pub(super) cores: f64,
    /// Descriptors the server's process may have.
    pub(super) descriptors: Option<f64>,
    /// Source ports of one address.
    pub(super) ports: Option<f64>,
    pub(super) link_bits_per_s: f64,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire {
    /// Bytes of a message's payload.
    pub(super) payload: usize,
    /// Bytes a message took, headers of frames included, if that was measured.
    pub(super) message: Option<f64>,
}

/// The needs of `target`, and the name of the one that this machine meets least, if any of it is
/// known.
pub(super) fn needs(
    target: &Target,
    costs: &Costs,
    machine: &Machine,
    wire: Wire,
) -> (Vec<Need>, Option<String>) {
    let needs = vec![
        memory(target, costs, machine),
        cores(target, costs, machine),
        descriptors(target, costs, machine),
        bandwidth(target, machine, wire),
        ports(target, machine),
    ];
    let first = needs
        .iter()
        .filter(|need| need.of_server && need.share_percent.is_some())
        .max_by(|one, other| one.share_percent.partial_cmp(&other.share_percent).expect("finite"))
        .map(|need| need.name.clone());
    (needs, first)
}

fn need(
    name: &str,
    unit: &str,
    amount: Option<f64>,
    load: f64,
    here: Option<f64>,
    basis: String,
) -> Need {
    let provide = amount.map(|amount| amount / load);
    let here = here.filter(|here| *here > 0.0);
    Need {
        name: name.to_owned(),
        unit: unit.to_owned(),
        amount,
        provide,
        here,
        share_percent: provide.zip(here).map(|(provide, here)| 100.0 * provide / here),
        of_server: true,
        basis,
    }
}

/// Nothing waits for memory, so there is no share of it to keep free for a queue.
fn memory(target: &Target, costs: &Costs, machine: &Machine) -> Need {
    let kernel = costs.kernel.as_ref().map(|line| line.per_unit);
    let amount = costs
        .memory
        .as_ref()
        .map(|line| line.at(target.connections) + kernel.unwrap_or(0.0) * target.connections);
    let basis = match &costs.memory {
        Some(line) => {
            let of_kernel = match kernel {
                Some(_) => "with the kernel's for sockets",
                None => "without the kernel's for its sockets",
            };
            let basis = measured(line.measured_to(), target.connections, "connections");
            format!("{basis}; {of_kernel}")
        }
        None => "not measured".to_owned(),
    };
    need("memory", "bytes", amount, 1.0, machine.memory_bytes, basis)
}

fn cores(target: &Target, costs: &Costs, machine: &Machine) -> Need {
    let us = |line: &Option<Line>, count: f64| line.as_ref().map_or(0.0, |l| l.per_unit * count);
    let amount = costs.delivery.as_ref().map(|delivery| {
        let us_per_s = delivery.us_per_delivery * target.deliveries_per_s
            + delivery.us_per_publication.unwrap_or(0.0) * target.publications_per_s
            + us(&costs.handshake, target.handshakes_per_s)
            + us(&costs.idle, target.connections);
        delivery.base_cores + us_per_s / 1e6
    });
    let basis = match &costs.delivery {
        Some(delivery) => {
            let to = delivery.points.iter().map(|point| point.0).fold(0.0, f64::max);
            let basis = measured(to, target.deliveries_per_s, "deliveries/s");
            // In two trials 100,000 connections cost 1.2 and 2.5 times what was fitted to 10,000.
            match &costs.memory {
                Some(line) if line.measured_to() < target.connections => {
                    format!("{basis}; at least: the more connections, the more a delivery costs")
                }
                _ => basis,
            }
        }
        None => "not measured".to_owned(),
    };
    let load = target.load_percent / 100.0;
    need("cores", "cores", amount, load, Some(machine.cores), basis)
}

fn descriptors(target: &Target, costs: &Costs, machine: &Machine) -> Need {
    let (amount, basis) = match &costs.descriptors {
        Some(line) => {
            let basis = measured(line.measured_to(), target.connections, "connections");
            (line.at(target.connections), basis + "; the hard limit of its process can be raised")
        }
        None => (target.connections, "assumed: one a connection".to_owned()),
    };
    need("descriptors", "count", Some(amount), 1.0, machine.descriptors, basis)
}

fn bandwidth(target: &Target, machine: &Machine, wire: Wire) -> Need {
    let header = match wire.payload {
        ..126 => 2.0,
        126..65_536 => 4.0,
        _ => 10.0,
    };
    // What the protocol puts around a payload is in what was measured.
    let message = wire.message.unwrap_or(wire.payload as f64 + header);
    let packets = (message / SEGMENT).ceil();
    let bits = 8.0 * target.deliveries_per_s * (message + packets * PACKET_OVERHEAD);
    let basis = format!(
        "computed: {} bytes and {:.0} of headers, {packets:.0} packet{} each; the link is as given",
        wire.payload,
        message - wire.payload as f64 + packets * PACKET_OVERHEAD,
        if packets > 1.0 { "s" } else { "" }
    );
    let load = target.load_percent / 100.0;
    need("bandwidth", "bits_per_s", Some(bits), load, Some(machine.link_bits_per_s), basis)
}

/// A server has one port for all; they are short where connections are opened from few addresses.
fn ports(target: &Target, machine: &Machine) -> Need {
    let addresses = machine.ports.map_or(1.0, |ports| (target.connections / ports).ceil());
    let basis = format!(
        "computed: of a proxy or generator in front, {addresses:.0} source address{}; clients bring \
         their own",
        if addresses > 1.0 { "es" } else { "" }
    );
    let need = need("source ports", "count", Some(target.connections), 1.0, machine.ports, basis);
    Need { of_server: false, ..need }
}

/// How far the target lies beyond what was measured.
fn measured(to: f64, target: f64, unit: &str) -> String {
    if target <= to {
        return format!("measured to {to:.0} {unit}");
    }
    format!("extrapolated {:.0} times: measured to {to:.0} {unit}", (target / to.max(1.0)).max(1.0))
}

/// TCP with timestamps (32), IPv4 (20), Ethernet with its preamble and gap (38).
const PACKET_OVERHEAD: f64 = 90.0;

/// What a packet of 1500 bytes carries of a stream.
const SEGMENT: f64 = 1_448.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::record::Delivery;

    fn target() -> Target {
        Target {
            connections: 1e6,
            deliveries_per_s: 500_000.0,
            publications_per_s: 500.0,
            handshakes_per_s: 1_000.0,
            audience: 1_000.0,
            load_percent: 60.0,
        }
    }

    fn line(base: f64, per_unit: f64, to: f64) -> Option<Line> {
        let points = vec![(0.0, base), (to, base + per_unit * to)];
        Some(Line { base, per_unit, points, ..Line::default() })
    }

    fn costs() -> Costs {
        Costs {
            memory: line(20e6, 5_000.0, 4_000.0),
            kernel: line(0.0, 4_000.0, 4_000.0),
            descriptors: line(30.0, 1.0, 4_000.0),
            idle: line(500.0, 2.0, 4_000.0),
            handshake: line(0.0, 50.0, 4_000.0),
            delivery: Some(Delivery {
                base_cores: 0.1,
                us_per_delivery: 1.5,
                us_per_publication: Some(40.0),
                points: vec![(100_000.0, 0.25, 0.25)],
                ..Delivery::default()
            }),
        }
    }

    fn machine() -> Machine {
        Machine {
            memory_bytes: Some(24e9),
            cores: 2.0,
            descriptors: Some(20_000.0),
            ports: Some(28_232.0),
            link_bits_per_s: 10e9,
        }
    }

    #[test]
    fn costs_times_target_is_the_need() {
        let (needs, first) =
            needs(&target(), &costs(), &machine(), Wire { payload: 64, message: None });
        let of = |name: &str| needs.iter().find(|need| need.name == name).expect(name).clone();
        let near = |found: Option<f64>, wanted: f64| {
            let found = found.expect("a figure");
            assert!((found / wanted - 1.0).abs() < 1e-9, "{found} is not {wanted}");
        };
        // 5.02 GB of its own, 4 of the kernel's.
        near(of("memory").amount, 9.02e9);
        near(of("memory").provide, 9.02e9);
        // 0.1 at rest, 0.75 for deliveries, 0.02 for publications, 0.05 for handshakes, 2 idle.
        near(of("cores").amount, 2.92);
        near(of("cores").provide, 2.92 / 0.6);
        near(of("cores").share_percent, 100.0 * 2.92 / 0.6 / 2.0);
        assert_eq!(
            of("cores").basis,
            "extrapolated 5 times: measured to 100000 deliveries/s; at least: the more \
             connections, the more a delivery costs"
        );
        near(of("descriptors").amount, 1_000_030.0);
        near(of("bandwidth").amount, 8.0 * 500_000.0 * (64.0 + 2.0 + 90.0));
        assert!(of("source ports").basis.contains("36 source addresses"));
        // The ports would be shorter by far, did a server need any.
        assert_eq!(first.as_deref(), Some("descriptors"));
    }

    #[test]
    fn what_a_protocol_puts_around_a_payload_takes_bandwidth() {
        let bits = |message| bandwidth(&target(), &machine(), Wire { payload: 64, message }).amount;
        let more = bits(Some(146.0)).expect("known") - bits(None).expect("known");
        assert!((more / (8.0 * 80.0 * target().deliveries_per_s) - 1.0).abs() < 1e-9, "{more}");
    }

    #[test]
    fn what_was_not_measured_is_not_invented() {
        let (needs, first) = needs(
            &target(),
            &Costs::default(),
            &machine(),
            Wire { payload: 70_000, message: None },
        );
        for name in ["memory", "cores"] {
            let need = needs.iter().find(|need| need.name == name).expect(name);
            assert_eq!((need.amount, need.share_percent), (None, None));
            assert_eq!(need.basis, "not measured");
        }
        assert!(needs[2].basis.starts_with("assumed"), "{needs:?}");
        assert!(needs[3].basis.contains("49 packets"), "{needs:?}");
        assert_eq!(first.as_deref(), Some("descriptors"));
    }

    #[test]
    fn within_what_was_measured_nothing_is_extrapolated() {
        assert_eq!(measured(4_000.0, 3_000.0, "connections"), "measured to 4000 connections");
        let held = costs().memory.expect("fitted").measured_to();
        let target = Target { connections: held, deliveries_per_s: 1_000.0, ..target() };
        assert_eq!(cores(&target, &costs(), &machine()).basis, "measured to 100000 deliveries/s");
    }
}
