"""Hazard: a load that ends at the open-file limit of the machine that makes it."""

import json
import subprocess

import pytest

import gateway as gateways
from scale import raise_open_files

LATE = 3
OPEN_FILES = 1_000
ASKED = 3_000
FEW = ["prlimit", f"--nofile={OPEN_FILES}:{OPEN_FILES}"]


def run(*arguments):
    command = [*FEW, gateways.load_generator(), *arguments, "--connections", str(ASKED), "--quiet"]
    return subprocess.run(command, capture_output=True, text=True, timeout=40)


def test_more_connections_than_open_files_are_held_at_both_ends_and_all_get_what_is_published(
    gateway, tmp_path
):
    """Pings come while connections are still opened, and must be answered."""
    ping = ["--set", "limits.ping_interval=2s", "--set", "limits.pong_timeout=2s"]
    started = gateway("--dev", "--shards", "4", *ping, wrapper=FEW)
    report = tmp_path / "run.json"
    publish = ["--publish", f"http://{started.admin}/api/publish", "--publishers", "1"]
    load = ["--rate", "5", "--duration", "2s", "--ramp", "5s", "--threads", "4", "--json", report]
    done = run("fanout", "--url", started.url("/raw?channel=bench"), *publish, *load)
    # On a busy machine the generator may be late, and says so.
    assert done.returncode in [0, LATE], done
    result = json.loads(report.read_text())
    connections, messages = result["connections"], result["messages"]
    assert (connections["opened"], connections["lost"]) == (ASKED, 0), connections
    assert connections["pings_answered"] >= ASKED, connections
    assert messages["delivered"] == messages["expected"] == 10 * ASKED, messages
    done = run("idle", "--url", started.url("/echo"), "--hold", "100ms", "--threads", "4")
    assert f"holding {ASKED} of {ASKED} connections" in done.stdout, done
    started.wait_for_connections(0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["--threads", "2", "--descriptors", "table"], "add --threads 3"),
        (["--threads", "2"], "--descriptors table, on several --threads"),
    ],
)
def test_what_it_takes_to_hold_more_is_said(gateway, settings, said):
    raise_open_files(ASKED)
    started = gateway("--dev", "--shards", "1")
    done = run("idle", "--url", started.url("/echo"), "--hold", "100ms", *settings)
    assert done.returncode != 0 and said in done.stdout + done.stderr, done
