"""Hazard: the load generator understands only servers that were written with it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

import gateway as gateways


@pytest.fixture
def server():
    """Host and port of an echo and a broadcast on Node's `ws`, and their process."""
    modules = os.environ.get("NODE_PATH", str(gateways.CACHE / "node/node_modules"))
    process = subprocess.Popen(
        ["node", str(Path(__file__).parent / "node/servers.mjs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"NODE_PATH": modules},
    )
    try:
        ports = gateways.Lines(process.stdout).wait_for(r"^\d+$")
        assert ports, "it ended before it served"
        yield f"127.0.0.1:{ports[0]}", process.pid
    finally:
        process.stdin.close()
        try:
            process.wait(gateways.PATIENCE_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def run(tmp_path, server, command, path, *arguments):
    """The JSON of a run that was valid, or that says it was not: the machine may be busy."""
    address, pid = server
    report = tmp_path / "run.json"
    line = [gateways.load_generator(), command, "--url", f"ws://{address}{path}", "--quiet"]
    line += ["--server-pid", str(pid), "--json", report, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=40)
    told = json.loads(report.read_text())
    lagged = told["rate"]["asked"] is not None and not told["generator"]["valid"]
    assert done.returncode == (3 if lagged else 0), done
    assert told["connections"]["failed"] == told["connections"]["lost"] == 0, told["connections"]
    assert told["server"]["rss_bytes"] > 0
    return told


def assert_clean(messages):
    assert messages["delivered"] == messages["expected"] > 0, messages
    faults = ("lost", "duplicated", "reordered", "unknown", "too_old", "dropped_by_policy")
    assert [messages[fault] for fault in faults] == [0] * len(faults), messages


@pytest.mark.parametrize("rate", ["0", "1000"])
def test_echo(server, tmp_path, rate):
    load = ["--rate", rate, "--connections", "20", "--warm-up", "100ms", "--duration", "1s"]
    told = run(tmp_path, server, "echo", "/echo", *load)
    assert_clean(told["messages"])
    assert told["latency_us"]["count"] == told["messages"]["delivered"]
    if rate != "0":
        assert told["messages"]["expected"] == 1000


@pytest.mark.parametrize("rate", ["0", "100"])
@pytest.mark.parametrize("publish", ["http://{}/publish", "ws://{}/pub"])
def test_fan_out(server, tmp_path, publish, rate):
    load = ["--publish", publish.format(server[0]), "--protocol", "none", "--rate", rate]
    load += ["--subscribers", "50", "--warm-up", "100ms", "--duration", "1s"]
    told = run(tmp_path, server, "fanout", "/sub", *load)
    assert_clean(told["messages"])
    publications = told["fanout"]["publications"]
    assert publications["acknowledged"] == publications["due"] > 0
    assert told["messages"]["delivered"] == 50 * publications["due"]
    if rate != "0":
        assert publications["due"] == 100


def test_connect(server, tmp_path):
    told = run(tmp_path, server, "connect", "/echo", "--connections", "200", "--rate", "400")
    assert told["connections"]["opened"] == told["latency_us"]["count"] == 200


def test_idle(server, tmp_path):
    told = run(tmp_path, server, "idle", "/sub", "--connections", "200", "--hold", "500ms")
    assert told["connections"]["opened"] == 200
