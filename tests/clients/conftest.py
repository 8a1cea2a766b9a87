"""Fixtures of the tests with real clients."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

import gateway as gateways
from scale import FULL

NODE = Path(__file__).parent / "node"

# Above the sum of the deadlines in any one test.
TEST_S = 3600 if FULL else 60

# What tests of hostile input and of faults found out, for the report.
FIGURES = {}


@pytest.fixture
def descriptors():
    """How gateways hold their clients: server.descriptors. See forms.py."""
    return "auto"


@pytest.fixture
def gateway(descriptors):
    """Starts gateways: `gateway("--dev")`. Each is ended after the test, by its own pid, and its
    exit code is checked, unless the test has ended it already."""
    started = []

    def start(*arguments, wait=True, environment=None, **options):
        variables = {"TIDEGATE_SERVER_DESCRIPTORS": descriptors} | (environment or {})
        started.append(gateways.Gateway(*arguments, environment=variables, **options))
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
    modules = os.environ.get("NODE_PATH", str(gateways.CACHE / "node/node_modules"))
    assert Path(modules).is_dir(), f"there is no {modules}; run: scripts/tools"

    def run(script, *arguments, environment=None, timeout=18):
        command = ["node", str(NODE / script), *map(str, arguments)]
        variables = os.environ | {"NODE_PATH": modules} | (environment or {})
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env=variables
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def browse(node):
    """Runs page.mjs and gives what it found out."""
    path = shutil.which(os.environ.get("CHROMIUM", "chromium"))
    assert path, "there is no Chromium; run: scripts/tools"
    run = lambda *arguments: node("page.mjs", *arguments, environment={"CHROMIUM": path})
    return lambda *arguments: json.loads(run(*arguments))


@pytest.fixture
def figures(request):
    """Takes figures of a test for the report: `figures("1,000 connections, 3 KiB each")`."""
    return lambda text: FIGURES.setdefault(request.node.name, []).append(text)


def pytest_terminal_summary(terminalreporter):
    for name, texts in FIGURES.items():
        terminalreporter.write_line(f"{name}: {'; '.join(texts)}")


@pytest.fixture(autouse=True)
def never_hang():
    """Fails a test that outlives every deadline it sets itself."""

    def stop(*_):
        raise TimeoutError(f"the test took more than {TEST_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(TEST_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
