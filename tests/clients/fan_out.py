"""Many subscribers of one channel and several publishers at once."""

import asyncio
from collections import Counter

import wire

CHANNEL = "/raw?channel=news"
# A million messages to a thousand sockets of one process: seconds, more on a busy machine.
DEADLINE_S = 45
PUBLISHERS = ["ws0", "ws1", "http0", "http1"]


def payload(publisher, index):
    """A JSON text of equal length for every publication, so that bytes tell messages."""
    return f"{publisher:>5} {index:05}"


async def publish_over_socket(socket, name, count):
    for index in range(count):
        socket.send(wire.frame(wire.TEXT, f'"{payload(name, index)}"'.encode()))
    # asyncio keeps what the kernel does not take yet; the subscribers wait for all of it.


async def publish_over_http(gateway, name, count):
    publisher = await wire.HttpPublisher(gateway.admin).open()
    for index in range(count):
        await publisher.publish_surely("news", payload(name, index))
    publisher.close()


async def run(gateway, subscriber_count, publication_count, at_once=100):
    """All subscribers record the identical sequence; none lost, none twice. Gives the last
    metrics. Two of the subscribers publish, on different shards."""
    async with asyncio.timeout(DEADLINE_S):
        sockets = []
        for shard in range(2):
            sockets.append(await wire.connect(gateway.clients, CHANNEL + "&publish=1"))
            count = lambda m: m.by_shard("tidegate_connections")
            settled = lambda m: sum(count(m).values()) == len(sockets)
            metrics = await asyncio.to_thread(gateway.wait_for_metrics, settled)
        assert count(metrics) == {0: 1, 1: 1}, "the least loaded shard takes the next connection"
        rest = subscriber_count - len(sockets)
        subscribers = sockets + await wire.connect_many(rest, gateway.clients, CHANNEL, at_once)
        before = await asyncio.to_thread(gateway.wait_for_connections, subscriber_count)
        assert_spread(before, subscriber_count)

        each = publication_count // len(PUBLISHERS)
        await asyncio.gather(
            publish_over_socket(sockets[0], "ws0", each),
            publish_over_socket(sockets[1], "ws1", each),
            publish_over_http(gateway, "http0", each),
            publish_over_http(gateway, "http1", each),
        )
        size = 2 + len(f'"{payload("x", 0)}"')
        await asyncio.gather(*(s.wait_for_bytes(size * publication_count) for s in subscribers))
        metrics = await asyncio.to_thread(gateway.metrics)
        assert_identical(subscribers, each)
        for subscriber in subscribers:
            subscriber.close()
        await asyncio.to_thread(gateway.wait_for_connections, 0)
    assert_counted(before, metrics, subscriber_count, publication_count)
    return metrics


def assert_spread(metrics, count):
    for shard, held in metrics.by_shard("tidegate_connections").items():
        assert abs(held - count / 2) <= count / 2 * 0.05, f"shard {shard} holds {held} of {count}"


def assert_identical(subscribers, each):
    first = subscribers[0]
    got = [text.strip('"') for text in wire.messages(first.frames())]
    expected = Counter(payload(name, n) for name in PUBLISHERS for n in range(each))
    assert Counter(got) == expected, "each publication once"
    for name in PUBLISHERS:
        mine = [text for text in got if text.split()[0] == name]
        assert mine == sorted(mine), f"{name}'s own order holds"
    assert len({text.split()[0] for text in got[: 2 * each]}) > 1, "they published at once"
    different = sum(subscriber.received != first.received for subscriber in subscribers)
    assert different == 0, f"{different} subscribers recorded another sequence"


def assert_counted(before, after, subscriber_count, publication_count):
    counted = lambda name: after.total(name) - before.total(name)
    assert counted("tidegate_publications_total") == publication_count
    assert counted("tidegate_frames_encoded_total") == publication_count, "encoded once each"
    assert counted("tidegate_deliveries_total") == publication_count * subscriber_count
