"""Hazard: what a reader is to miss, or is not, is not what its application sees."""

import asyncio

import pytest

import stopped_reader
import wire
from forms import IN_BOTH_FORMS

pytestmark = IN_BOTH_FORMS

POLICIES = [
    *["--set", "namespace.oldest.slow_consumer=drop_oldest"],
    *["--set", "namespace.newest.slow_consumer=newest"],
]
COUNTERS = {
    "oldest": "tidegate_publications_dropped_oldest_total",
    "newest": "tidegate_publications_superseded_total",
}


def numbers(frames):
    return [int(text.strip('"').split()[0]) for text in wire.messages(frames)]


async def publish_until_missed(gateway, channel, missed):
    """Publishes until a reader misses so many; a reading subscriber beside it gets all of them.
    Gives the count published."""
    other = await wire.connect(gateway.clients, f"/raw?channel={channel}")
    publisher = wire.HttpPublisher(gateway.admin)
    count = size = 0
    name = COUNTERS[channel.split(":")[0]]
    while (await asyncio.to_thread(gateway.metrics)).total(name) < missed:
        for _ in range(20):
            text = f"{count} {stopped_reader.MESSAGE}"
            await publisher.publish_surely(channel, text)
            count += 1
            size += 4 + len(f'"{text}"')
        await other.wait_for_bytes(size)
        assert count <= 20_000, "nothing is missed"
    assert numbers(other.frames()) == list(range(count))
    other.close()
    publisher.close()
    return count


@pytest.mark.parametrize("policy", COUNTERS)
def test_a_stopped_reader_misses_what_its_channel_spares_and_nothing_else(gateway, policy):
    started = gateway("--dev", "--shards", "2", *stopped_reader.OUTBOX, *POLICIES)
    channel = f"{policy}:a"

    async def run():
        async with asyncio.timeout(30):
            return await publish_until_missed(started, channel, 200)

    with stopped_reader.open_reader(started, f"/raw?channel={channel}") as reader:
        count = asyncio.run(run())
        received = bytearray()
        last = f'"{count - 1} {stopped_reader.MESSAGE}"'.encode()
        while not received.endswith(last):
            data = reader.recv(1 << 16)
            assert data, "the end"
            received += data
    frames, rest = wire.parse_frames(received)
    assert not rest, "whole frames"
    got = numbers(frames)
    assert got == sorted(set(got)) and got[-1] == count - 1
    metrics = started.wait_for_connections(0)
    assert count - len(got) == metrics.total(COUNTERS[policy]) >= 200
    # Up to the gap all is there: what was in the sockets. Behind it, what waited.
    waited = got[next(n for n, number in enumerate(got) if number != n) :]
    if policy == "oldest":
        assert waited == list(range(waited[0], count)) and len(waited) > 10
    assert metrics.total("tidegate_slow_consumers_disconnected_total") == 0
    assert metrics.total("tidegate_outbox_bytes") == 0


@pytest.mark.parametrize("compression", ["false", "true"])
def test_the_sdk_sees_the_newest_and_is_not_disconnected(gateway, node, compression):
    settings = ["--set", f"server.compression={compression}", "--set", "limits.outbox_bytes=256KiB"]
    started = gateway("--dev", "--shards", "2", *settings, *POLICIES)
    node("slow.mjs", f"ws://{started.clients}", started.admin)
    metrics = started.metrics()
    assert metrics.total(COUNTERS["newest"]) > 0
    assert metrics.total(COUNTERS["oldest"]) > 0
    assert metrics.total("tidegate_slow_consumers_disconnected_total") == 0
    assert (metrics.total("tidegate_messages_compressed_total") > 0) == (compression == "true")
