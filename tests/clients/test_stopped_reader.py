"""Hazard: a client that stops reading holds memory, hurts others, or is left with half a frame."""

import asyncio

import stopped_reader
import wire
from forms import IN_BOTH_FORMS
from held_thread import held

pytestmark = IN_BOTH_FORMS


def assert_counted(gateway):
    metrics = gateway.wait_for_connections(0)
    assert metrics.total("tidegate_slow_consumers_disconnected_total") == 1
    assert metrics.total("tidegate_outbox_dropped_bytes_total") > 0
    assert metrics.total("tidegate_outbox_bytes") == 0
    closed = 'tidegate_connections_closed_total{shard="%d",code="3008"} 1'
    assert sum(closed % shard in metrics.text for shard in range(2)) == 1


def test_a_stopped_reader_that_resumes_reads_whole_frames_and_close_3008(gateway):
    started = gateway("--dev", "--shards", "2", *stopped_reader.OUTBOX)
    stopped_reader.resumes_in_time(started)
    assert_counted(started)


def test_a_stopped_reader_that_stays_away_is_reset(gateway):
    started = gateway("--dev", "--shards", "2", *stopped_reader.OUTBOX)
    stopped_reader.resumes_too_late(started)
    assert_counted(started)


def test_a_reader_is_not_slow_because_its_shard_was(gateway):
    """A shard that comes late finds more in its mailbox than an outbox holds. A reader that takes
    it as fast as it comes gets all of it."""
    started = gateway("--dev", "--shards", "2", *stopped_reader.OUTBOX)
    channel = started.owned_channels()[1]
    # More than the outbox holds; what is above it, the kernel takes before the reader runs.
    texts = [f"{n:03} {stopped_reader.MESSAGE}" for n in range(120)]

    async def run():
        async with asyncio.timeout(15):
            path = f"/raw?channel={channel}"
            readers = [await wire.connect(started.clients, path) for _ in range(2)]
            metrics = await asyncio.to_thread(started.wait_for_connections, len(readers))
            assert metrics.by_shard("tidegate_connections") == {0: 1, 1: 1}
            publisher = wire.HttpPublisher(started.admin)
            with held(started.threads()["shard-0"]):
                for text in texts:
                    status, answer = await publisher.publish(channel, text)
                    assert status == 200, answer
            size = sum(4 + len(f'"{text}"') for text in texts)
            for reader in readers:
                await reader.wait_for_bytes(size)
                assert wire.messages(reader.frames()) == [f'"{text}"' for text in texts]
                reader.close()
            publisher.close()

    asyncio.run(run())
    assert started.metrics().total("tidegate_slow_consumers_disconnected_total") == 0
