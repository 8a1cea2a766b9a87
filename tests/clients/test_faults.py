"""Hazard: what goes wrong around the gateway, or under load, costs more than it has to."""

import asyncio
import contextlib
import json
import random
import socket
import subprocess
import time
from pathlib import Path

import pytest

import gateway as gateways
import test_shutdown
import wire
from centrifuge_client import Session
from forms import IN_BOTH_FORMS
from scale import MIB, Memory, descriptors, raise_open_files, scale

pytestmark = IN_BOTH_FORMS

QUIET = ["--set", "limits.ping_interval=1h"]
CHANNEL = "/raw?channel=news"


def fixed_address():
    """A free address whose port the kernel gives to nobody: who dials a port that the kernel may
    give to the dialling socket itself can end up connected to itself, and hold it."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, lowest)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return f"127.0.0.1:{port}"


def test_a_killed_gateway_gets_its_clients_back(gateway, figures):
    """All come back by themselves, are told that history is gone, and receive what is new."""
    count = scale(300, 10_000)
    raise_open_files(count)
    address = fixed_address()
    first = gateway("--dev", *QUIET, "--listen", address)

    async def run():
        async with asyncio.timeout(120):
            sessions = [Session(address, "news") for _ in range(count)]
            gate = asyncio.Semaphore(200)

            async def start(session):
                async with gate:
                    task = asyncio.create_task(session.run())
                    await session.until(lambda s: s.is_subscribed)
                    return task

            tasks = await asyncio.gather(*(start(session) for session in sessions))
            await asyncio.to_thread(first.publish, "news", 1)
            await asyncio.gather(*(s.until(lambda s: s.received == [1]) for s in sessions))
            await asyncio.to_thread(first.kill)
            again = await asyncio.to_thread(gateway, "--dev", *QUIET, "--listen", address)
            began = time.monotonic()
            await asyncio.gather(*(s.until(lambda s: s.recoveries) for s in sessions))
            took = time.monotonic() - began
            await asyncio.to_thread(again.publish, "news", 2)
            await asyncio.gather(*(s.until(lambda s: s.received == [1, 2]) for s in sessions))
            assert all(session.recoveries == [False] for session in sessions)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return took, again

    took, again = asyncio.run(run())
    again.wait_for_connections(0)
    figures(f"{count} clients back {took:.1f} s after the restart, each told that history is gone")


def test_drains_under_load(gateway, figures):
    rounds = scale(1, 20)
    for _ in range(rounds):
        test_shutdown.test_sigterm_during_a_publish_stream_keeps_every_promise(gateway)
    figures(f"{rounds} drains under load, every acknowledged publication delivered")


def test_churn_leaves_nothing_behind(gateway, figures):
    """Connect, subscribe, publish, close, over and over."""
    # Few receive buffers: using one for the first time is no leak.
    started = gateway("--dev", *QUIET, "--set", "limits.receive_buffers=16")
    rounds = scale(20, 1000)
    at_once = scale(50, 300)

    async def churn(count):
        for _ in range(count):
            clients = await wire.connect_many(at_once, started.clients, f"{CHANNEL}&publish=1", 25)
            clients[0].send(wire.frame(wire.TEXT, b"1"))
            await asyncio.gather(*(client.wait_for_bytes(3) for client in clients))
            for number, client in enumerate(clients):
                # One half says goodbye, the other one is just gone.
                if number % 2:
                    client.send(wire.close_frame(1000))
                    await client.wait_for_end()
                    client.close()
                else:
                    client.transport.abort()
            await asyncio.to_thread(started.wait_for_connections, 0)

    async def run():
        async with asyncio.timeout(3000):
            await churn(rounds // 4)
            memory, open_files = Memory(started.pid), descriptors(started.pid)
            await churn(rounds)
            return memory, open_files

    memory, open_files = asyncio.run(run())
    assert descriptors(started.pid) == open_files
    metrics = started.metrics()
    for gauge in ["connections", "subscriptions", "outbox_bytes", "channels_subscribed"]:
        assert metrics.total(f"tidegate_{gauge}") == 0, gauge
    grown = memory.growth() / memory.start
    assert grown < 0.02, f"resident memory grew by {grown:.1%}"
    figures(f"{rounds * at_once} connections later: memory {grown:+.1%}, descriptors as before")


def load(gateway, *arguments):
    """A fan-out by the load generator, which accounts for every message; gives its account."""
    command = [str(gateways.load_generator()), "fanout", "--url", gateway.url(CHANNEL), "--quiet"]
    command += ["--publish", f"http://{gateway.admin}/api/publish", "--json", "/dev/stdout"]
    command += [str(argument) for argument in arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    # 3: it found the machine too busy for its figures; the account is exact all the same.
    assert done.returncode in (0, 3), done.stdout + done.stderr
    account = json.loads(done.stdout[done.stdout.index("\n{") :])["messages"]
    for fault in ["lost", "duplicated", "reordered", "unknown"]:
        assert account[fault] == 0, account
    return account


def test_stopped_readers_among_many_are_cut_and_cost_no_other_a_message(gateway, figures):
    outbox = 128 << 10
    started = gateway("--dev", *QUIET, "--set", f"limits.outbox_bytes={outbox}")
    readers, stopped, seconds, rate = scale(100, 1000), scale(10, 100), scale(8, 60), scale(200, 100)
    memory = Memory(started.pid)
    sizes = ["--connections", readers, "--slow-readers", stopped, "--size", 4096]
    account = load(started, *sizes, "--rate", rate, "--duration", f"{seconds}s")
    metrics = started.wait_for_connections(0)
    assert metrics.total("tidegate_slow_consumers_disconnected_total") == stopped
    assert account["dropped_by_policy"] + account["undelivered_at_forced_close"] > 0
    growth = memory.peak_growth()
    assert growth < stopped * outbox + 64 * MIB
    figures(
        f"{stopped} of {readers} stopped reading: cut, peak +{growth / MIB:.0f} MiB; others got "
        f"all of {account['delivered']:,}"
    )


CGROUPS = [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")]


@contextlib.contextmanager
def memory_cap(size):
    """A control group whose members may hold so much memory; gives what puts a program in front
    into it, and how often the kernel killed for want of memory."""
    root = next(one for one in CGROUPS if (one / "cgroup.procs").exists())
    legacy = root.name == "memory"
    group = root / f"tidegate-test-{time.monotonic_ns()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if legacy else "memory.max")).write_text(str(size))
    except OSError as error:
        pytest.fail(f"this test makes a control group, as root on a host that lets it: {error}")
    enter = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]

    def kills():
        events = (group / ("memory.oom_control" if legacy else "memory.events")).read_text()
        return int(next(line for line in events.splitlines() if "oom_kill " in line).split()[1])

    yield enter, kills
    group.rmdir()


def test_a_memory_cap_is_kept_by_policy_not_by_the_kernel(gateway, figures):
    """More would be kept and wait for stopped readers than there is memory. With bounds left at
    their defaults, which look at the memory, some readers are cut and nobody is killed."""
    cap = 256 * MIB
    settings = ["--set", "limits.outbox_bytes=8MiB"]
    with memory_cap(cap) as (enter, kills):
        started = gateway("--dev", *QUIET, "--shards", "2", *settings, wrapper=enter)
        memory = Memory(started.pid)
        seconds = scale(6, 60)
        # A channel each: what waits for one of them waits for nobody else.
        sizes = ["--connections", 100, "--channels", 100, "--slow-readers", 60, "--size", 60_000]
        load(started, *sizes, "--rate", 1000, "--duration", f"{seconds}s")
        metrics = started.wait_for_connections(0)
        cut = metrics.total("tidegate_slow_consumers_disconnected_total")
        peak = memory.start + memory.peak_growth()
        started.stop()
        assert kills() == 0 and cut > 0
    figures(f"60 stopped readers under {cap / MIB:.0f} MiB: {cut:.0f} cut, peak {peak / MIB:.0f} MiB")
