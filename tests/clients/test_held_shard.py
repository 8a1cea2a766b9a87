"""Hazard: a shard that stands still loses what was acknowledged, or stops the others."""

import asyncio

import wire
from held_thread import held

QUIET = ["--set", "limits.ping_interval=1h"]
# How many requests are on their way to the API at a time.
AT_ONCE = 32


async def subscribe_on_both(gateway, channel):
    """Four subscribers, two on each shard."""
    path = f"/raw?channel={channel}"
    subscribers = [await wire.connect(gateway.clients, path) for _ in range(4)]
    metrics = await asyncio.to_thread(gateway.wait_for_connections, len(subscribers))
    assert metrics.by_shard("tidegate_connections") == {0: 2, 1: 2}
    return subscribers


class Answers:
    """What the API answered: offset and number of each acknowledged publish, counts by status."""

    def __init__(self):
        self.acknowledged = {}
        self.counts = {200: 0, 503: 0}
        self._refused_often = None

    def note(self, number, status, answer):
        self.counts[status] += 1
        if status == 200:
            self.acknowledged[answer["result"]["offset"]] = number
        else:
            assert answer["error"]["code"], answer
        if self._refused_often and self.counts[503] >= self._refused_often[0]:
            self._refused_often[1].set()

    async def wait_for_refusals(self, count):
        self._refused_often = (count, asyncio.Event())
        await self._refused_often[1].wait()


async def publish_numbers(gateway, channel, numbers, answers):
    """Publishes them over AT_ONCE connections, each number once."""
    numbers = iter(numbers)

    async def one():
        publisher = await wire.HttpPublisher(gateway.admin).open()
        for number in numbers:
            answers.note(number, *await publisher.publish(channel, number))
        publisher.close()

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))


def size_of(numbers):
    return sum(2 + len(str(number)) for number in numbers)


async def assert_received(subscribers, acknowledged):
    """Each subscriber has exactly what was acknowledged, in the order of the offsets."""
    expected = [str(acknowledged[offset]) for offset in sorted(acknowledged)]
    for subscriber in subscribers:
        await subscriber.wait_for_bytes(size_of(expected))
        assert wire.messages(subscriber.frames()) == expected


def test_acknowledged_equals_received_while_a_subscribers_shard_is_held(gateway):
    started = gateway("--dev", "--shards", "2", *QUIET)
    channel = started.owned_channels()[1]

    async def run():
        async with asyncio.timeout(19):
            subscribers = await subscribe_on_both(started, channel)
            answers = Answers()
            with held(started.threads()["shard-0"]):
                await publish_numbers(started, channel, range(10_000), answers)
                # Bytes tell which subscribers live on the shard that runs: it has delivered.
                running = [s for s in subscribers if s.received]
                assert len(running) == 2
                await assert_received(running, answers.acknowledged)
            counts = answers.counts
            assert counts[200] >= 1024 and counts[503] > 0 and sum(counts.values()) == 10_000
            await assert_received(subscribers, answers.acknowledged)
            publisher = wire.HttpPublisher(started.admin)
            for number in range(10_000, 10_100):
                # With the shard released, there is room again.
                offset = await publisher.publish_surely(channel, number)
                answers.acknowledged[offset] = number
            publisher.close()
            await assert_received(subscribers, answers.acknowledged)
            offsets = sorted(answers.acknowledged)
            assert offsets == list(range(offsets[0], offsets[0] + len(offsets))), "no number lost"
            for subscriber in subscribers:
                subscriber.close()

    asyncio.run(run())
    assert started.metrics().total("tidegate_mail_full_total") > 0


def test_a_held_owner_answers_after_its_release_what_it_took(gateway):
    # Fewer places than connections, so that some requests wait in the lane and others are refused.
    lane = AT_ONCE // 2
    started = gateway("--dev", "--shards", "2", "--set", f"limits.mailbox_len={lane}", *QUIET)
    channel = started.owned_channels()[0]

    async def run():
        async with asyncio.timeout(19):
            subscribers = await subscribe_on_both(started, channel)
            answers = Answers()
            with held(started.threads()["shard-0"]):
                load = publish_numbers(started, channel, range(10_000), answers)
                load = asyncio.create_task(load)
                await answers.wait_for_refusals(5_000)
                assert answers.counts[200] == 0, "nothing is acknowledged before it is numbered"
            await load
            assert answers.counts[200] >= lane and sum(answers.counts.values()) == 10_000
            await assert_received(subscribers, answers.acknowledged)
            for subscriber in subscribers:
                subscriber.close()

    asyncio.run(run())


def test_a_publishing_client_waits_for_a_held_shard_and_loses_nothing(gateway):
    started = gateway("--dev", "--shards", "2", "--set", "limits.mailbox_len=16", *QUIET)
    channels = started.owned_channels()
    numbers = list(range(10_000, 13_000))

    async def run():
        async with asyncio.timeout(19):
            subscribers = await subscribe_on_both(started, channels[1])
            path = f"/raw?channel={channels[1]}&publish=1"
            # The least loaded shard takes the next connection: one speaker on each.
            speakers = [await wire.connect(started.clients, path) for _ in range(2)]
            await asyncio.to_thread(started.wait_for_connections, 6)
            with held(started.threads()["shard-0"]):
                for number in numbers:
                    for speaker in speakers:
                        speaker.send(wire.frame(wire.TEXT, str(number).encode()))
                paused = lambda m: m.by_shard("tidegate_reads_paused_total")[1] > 0
                await asyncio.to_thread(started.wait_for_metrics, paused)
            expected = [str(number) for number in numbers]
            everyone = subscribers + speakers
            for subscriber in everyone:
                await subscriber.wait_for_bytes(2 * size_of(numbers))
                assert subscriber.received == everyone[0].received
            got = wire.messages(everyone[0].frames())
            assert sorted(got) == sorted(expected * 2)
            seen = {}
            for text in got:
                # Each speaker counts up: before a number comes, its predecessor came as often.
                seen[text] = seen.get(text, 0) + 1
                before = seen.get(str(int(text) - 1), 0)
                assert text == expected[0] or before >= seen[text], "in order of each speaker"
            for subscriber in everyone:
                subscriber.close()

    asyncio.run(run())
