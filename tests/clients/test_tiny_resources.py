"""Hazard: what works with room to spare breaks where buffers, queues and mailboxes run short.

The functional tests again, with as little of everything as may be configured, and at the end the
counters that show that it did run short. The kernel hands a loop some 20 deferred completions at a
time, so a completion queue of 64 overflows only if single sockets have many: with receive buffers
of 256 bytes. A queue of 16 overflows with four buffers too.
"""

import asyncio

import pytest

import fan_out
import gateway as gateways
import main_job
import stopped_reader
import wire
from held_thread import held

BURST = b"x" * 100
BURST_FRAMES = 20
# Requests a lane of four mails holds: more handshakes at a time are told to come back.
AT_ONCE = 4

SHORT, OVERFLOWN = "tidegate_buffer_shortages_total", "tidegate_ring_overflows_total"

SIZES = {
    "four_buffers": ({"receive_buffers": 4, "cq_entries": 64}, [SHORT]),
    "small_buffers": (
        {"receive_buffers": 256, "receive_buffer_size": 256, "cq_entries": 64},
        [SHORT, OVERFLOWN],
    ),
    "sixteen_completions": ({"receive_buffers": 4, "cq_entries": 16}, [SHORT, OVERFLOWN]),
}


async def echo_after_a_hold(gateway):
    """What 200 clients send while both shards are held is there at once when they go on."""
    async with asyncio.timeout(10):
        clients = await wire.connect_many(200, gateway.clients, "/echo", AT_ONCE)
        await asyncio.to_thread(gateway.wait_for_connections, len(clients))
        threads = gateway.threads()
        with held(threads["shard-0"]), held(threads["shard-1"]):
            for client in clients:
                client.send(wire.frame(wire.BINARY, BURST) * BURST_FRAMES)
        for client in clients:
            await client.wait_for_bytes((2 + len(BURST)) * BURST_FRAMES)
            assert client.frames() == [(wire.BINARY, BURST)] * BURST_FRAMES
            client.close()
        await asyncio.to_thread(gateway.wait_for_connections, 0)


@pytest.mark.parametrize("sizes", SIZES)
def test_everything_works_with_little_of_everything(gateway, node, sizes):
    limits, counters = SIZES[sizes]
    settings = []
    for key, value in (limits | {"sq_entries": 8, "mailbox_len": 4}).items():
        settings += ["--set", f"limits.{key}={value}"]
    started = gateway(
        "--dev", "--shards", "2", *settings, *stopped_reader.OUTBOX, *gateways.ANY_BYTES
    )
    main_job.do_everything(started, node)
    started.wait_for_connections(0)
    asyncio.run(fan_out.run(started, subscriber_count=100, publication_count=1000, at_once=AT_ONCE))
    stopped_reader.resumes_in_time(started)
    asyncio.run(echo_after_a_hold(started))
    metrics = started.metrics()
    for counter in counters:
        assert metrics.total(counter) > 0, f"{counter}: the test did not make it run short"
