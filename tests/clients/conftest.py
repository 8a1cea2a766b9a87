"""Fixtures of the tests with real clients."""

import subprocess
from pathlib import Path

import pytest

import gateway as gateways

NODE = Path(__file__).parent / "node"


@pytest.fixture
def gateway():
    """Starts gateways: `gateway("--dev")`. Each is ended after the test, by its own pid, and its
    exit code is checked, unless the test has ended it already."""
    started = []

    def start(*arguments, wait=True, **options):
        started.append(gateways.Gateway(*arguments, **options))
        return started[-1].wait_until_serving() if wait else started[-1]

    yield start
    failures = []
    for one in reversed(started):
        try:
            one.stop()
        except Exception as error:  # Every gateway is ended before the first failure is told.
            failures.append(error)
        finally:
            if one.process.poll() is None:
                one.process.kill()
    if failures:
        raise failures[0]


@pytest.fixture
def node():
    """Runs a script of tests/clients/node and gives what it printed."""
    assert (NODE / "node_modules").is_dir(), f"npm ci --prefix {NODE} installs what is missing"

    def run(script, *arguments, timeout=18):
        command = ["node", str(NODE / script), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
