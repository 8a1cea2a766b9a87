"""Hazard: connections that do not come about for want of source ports, and nobody says why."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import gateway as gateways

FIRST, LAST = 40000, 40019
# Two of them are those the gateway listens on.
PORTS = LAST - FIRST + 1 - 2
ASKED = 50


def in_a_poor_network(gateway):
    """A gateway in a network of its own that has PORTS free ports an address, and what to put in front
    of a command to have it run there."""
    few = ["unshare", "-rn", sys.executable, str(Path(__file__).with_name("few_ports.py"))]
    started = gateway("--dev", "--shards", "1", wrapper=[*few, str(FIRST), str(LAST)])
    target = ["--target", str(started.pid), "--user", "--net", "--preserve-credentials"]
    return started, ["nsenter", *target, "--"]


@pytest.mark.parametrize("source", [[], ["--source-ip", "127.0.1.1"]])
@pytest.mark.parametrize("command", ["connect", "idle", "echo"])
def test_the_first_connection_without_a_port_is_explained(gateway, tmp_path, command, source):
    started, inside = in_a_poor_network(gateway)
    report = tmp_path / "run.json"
    run = [*inside, gateways.load_generator(), command, "--url", started.url("/echo"), *source]
    run += ["--connections", str(ASKED), "--quiet", "--json", report]
    run += {"connect": [], "idle": ["--hold", "100ms"]}.get(command, ["--duration", "100ms"])
    done = subprocess.run(run, capture_output=True, text=True, timeout=30)
    assert done.returncode == 4, done
    connections = json.loads(report.read_text())["connections"]
    assert connections["asked"] == ASKED
    assert connections["opened"] == PORTS and connections["failed"] == ASKED - PORTS, connections
    ((cause, count),) = connections["causes"].items()
    assert count == ASKED - PORTS
    assert "no source port is left" in cause and "--source-ip" in cause, cause
    told = f"asked {ASKED}, opened {PORTS}"
    assert told in done.stdout and cause in done.stdout, done.stdout


def test_more_addresses_bring_more_ports(gateway):
    started, inside = in_a_poor_network(gateway)
    run = [*inside, gateways.load_generator(), "idle", "--url", started.url("/echo"), "--quiet"]
    run += ["--connections", str(ASKED), "--hold", "100ms", "--source-ip", "127.0.1.1-127.0.1.3"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and f"opened {ASKED} " in done.stdout, done
