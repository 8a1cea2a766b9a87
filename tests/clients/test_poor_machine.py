"""Hazard: a machine that refuses io_uring, descriptors or memory leaves a user without a clue."""

import asyncio
import contextlib
import errno
import os
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

import pytest

import gateway as gateways
import wire
from scale import descriptors as descriptors_of
from scale import raise_open_files

QUIET = ["--set", "limits.ping_interval=1h"]
CHANNEL = "/raw?channel=news"
FILTER = Path(__file__).with_name("without_io_uring.py")

OPEN_FILES = 256
# So many clients come; most of them find no descriptor and wait in the kernel's backlog.
CROWD = 2_000
PAUSED = "accepting new clients pauses"
FEW = ["prlimit", f"--nofile={OPEN_FILES}:{OPEN_FILES}"]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (errno.EPERM, "a seccomp filter denies it (EPERM)"),
        (errno.ENOSYS, "a seccomp filter or sandbox answers ENOSYS"),
    ],
)
def test_refused_io_uring_is_told_with_cause_and_remedy_within_a_second(gateway, error, cause):
    behind_filter = [sys.executable, str(FILTER), str(error)]
    started = gateway("--dev", wrapper=behind_filter, wait=False)
    started.expected_exit = 1
    assert started.wait() == 1
    # The launcher's own start is in it.
    assert time.monotonic() - started.started_at < 1
    assert started.stderr.wait_for("tidegate doctor"), started.stderr.text()
    said = started.stderr.text()
    assert cause in said and "io_uring_setup" in said and "seccomp" in said, said
    assert "\n  cause and remedy: " in said, "for people, on a line of its own"
    assert started.stdout.text() == "", "it does not claim to serve"


@contextlib.contextmanager
def crowd(address):
    """So many clients that connect and ask for an upgrade, all at once, and never look at the
    answer. The kernel completes their connections whether or not the gateway accepts them."""
    host, port = address.rsplit(":", 1)
    request = wire.upgrade_request(address, CHANNEL)
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(CROWD):
            client = stack.enter_context(socket.socket())
            client.settimeout(5)
            client.connect((host, int(port)))
            client.sendall(request)
            clients.append(client)
        yield clients


def test_without_descriptors_served_clients_do_not_notice_and_accepting_resumes(gateway):
    # This process holds the crowd's other ends.
    raise_open_files(CROWD)
    by_descriptor = ["--set", "server.descriptors=ordinary"]
    started = gateway("--dev", "--shards", "2", *QUIET, *by_descriptor, wrapper=FEW)

    async def run():
        async with asyncio.timeout(19):
            subscriber = await wire.connect(started.clients, CHANNEL)
            # The admin port needs descriptors too: this connection has its own already.
            publisher = await wire.HttpPublisher(started.admin).open()
            assert (await publisher.publish("news", 0))[0] == 200
            with crowd(started.clients):
                lines = await asyncio.to_thread(started.stderr.wait_for, PAUSED)
                assert lines
                cpu, at = started.cpu_seconds(), time.monotonic()
                size = 3
                for number in range(1, 10):
                    status, answer = await publisher.publish("news", number)
                    assert status == 200, answer
                    size += 3
                    await subscriber.wait_for_bytes(size)
                assert await asyncio.to_thread(started.stderr.wait_for, PAUSED, 4)
                used, took = started.cpu_seconds() - cpu, time.monotonic() - at
                assert took > 1 and used < 0.2 * took, f"{used:.2f} s of CPU in {took:.2f} s"
            # The crowd has gone: whoever comes now is served, and so is who was there before.
            late = await wire.connect(started.clients, CHANNEL)
            await publisher.publish_surely("news", 10)
            await subscriber.wait_for_bytes(size + 4)
            assert wire.messages(subscriber.frames()) == [str(n) for n in range(11)]
            await late.wait_for_bytes(4)
            assert wire.messages(late.frames())[-1] == "10"
            for one in [subscriber, late, publisher]:
                one.close()
            return await asyncio.to_thread(started.wait_for_connections, 0)

    metrics = asyncio.run(run())
    # Pauses double from 100 ms to 1 s: some ten of each acceptor in these seconds, not thousands.
    acceptors = sum(name.startswith("acceptor-") for name in started.threads())
    assert metrics.total("tidegate_accept_pauses_total") <= 20 * acceptors
    times = [at for at, _ in started.stderr.timed(PAUSED)]
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    assert min(gaps) > 0.9, f"at most one line a second, but gaps of {gaps}"
    (remedy,) = started.stderr.wait_for(PAUSED)
    assert "ulimit -n" in remedy


@pytest.mark.parametrize("descriptors", ["auto", "table"])
def test_past_the_open_file_limit_clients_are_held_in_table_slots(gateway, descriptors):
    """Twenty shards on these cores, so that their tables hold more clients than may be open."""
    raise_open_files(CROWD)
    settings = ["--shards", "20", "--set", f"server.descriptors={descriptors}"]
    started = gateway("--dev", *settings, *QUIET, wrapper=FEW)

    async def run():
        async with asyncio.timeout(19):
            clients = await wire.connect_many(CROWD, started.clients, CHANNEL, 32)
            await asyncio.to_thread(started.wait_for_connections, CROWD)
            assert descriptors_of(started.pid) < OPEN_FILES
            await asyncio.to_thread(started.publish, "news", 1)
            for client in clients:
                await client.wait_for_bytes(3)
            # Half of them leave, and others come in their place.
            for client in clients[::2]:
                client.close()
            await asyncio.to_thread(started.wait_for_connections, CROWD // 2)
            late = await wire.connect_many(CROWD // 2, started.clients, CHANNEL, 32)
            await asyncio.to_thread(started.publish, "news", 2)
            for client in clients[1::2]:
                await client.wait_for_bytes(6)
                assert wire.messages(client.frames()) == ["1", "2"]
            for client in late:
                await client.wait_for_bytes(3)
                assert wire.messages(client.frames()) == ["2"]
            for client in clients[1::2] + late:
                client.close()
            await asyncio.to_thread(started.wait_for_connections, 0)

    asyncio.run(run())
    assert not started.stderr.timed(PAUSED)


@pytest.fixture
def public_binary():
    """A copy of the program where any user may run it."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-"))
    folder.chmod(0o755)
    copy = folder / "tidegate"
    shutil.copy(gateways.binary(), copy)
    copy.chmod(0o755)
    yield copy
    shutil.rmtree(folder)


@pytest.mark.parametrize("kibibytes", [8192, 64])
def test_an_unprivileged_user_with_little_locked_memory_runs_or_is_told(
    gateway, public_binary, kibibytes
):
    """Four shards, killed and restarted at once: the kernel gives the memory of the first one's
    rings back late. With 8 MiB the gateway must run; with 64 KiB it says why it cannot."""
    limit = kibibytes << 10
    as_nobody = ["prlimit", f"--memlock={limit}:{limit}"]
    if os.geteuid() == 0:
        as_nobody += ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    for _ in range(4):
        arguments = ["--dev", "--shards", "4", *QUIET]
        started = gateway(*arguments, wrapper=as_nobody, program=public_binary, wait=False)
        if started.stdout.wait_for("^  metrics "):
            started.wait_until_serving()
            assert kibibytes == 8192, "this test does not make memory short"
            asyncio.run(serve_one(started))
            started.kill()
            continue
        assert started.wait() == 1
        assert started.stderr.wait_for("RLIMIT_MEMLOCK"), "it names the cause"
        said = started.stderr.text()
        assert kibibytes < 8192, said
        started.expected_exit = 1
        assert "ulimit -l" in said, said


async def serve_one(gateway):
    async with asyncio.timeout(5):
        subscriber = await wire.connect(gateway.clients, CHANNEL)
        await asyncio.to_thread(gateway.publish, "news", 1)
        await subscriber.wait_for_bytes(3)
        subscriber.close()
