"""Hazard: subscribers disagree about what was published, or work is done where nobody listens."""

import asyncio

import fan_out
import wire

# Pings would lie between the messages whose bytes are compared.
QUIET = ["--set", "limits.ping_interval=1h"]


def test_a_thousand_subscribers_record_the_identical_sequence(gateway):
    started = gateway("--dev", "--shards", "2", *QUIET)
    asyncio.run(fan_out.run(started, subscriber_count=1000, publication_count=1000))


def test_a_shard_without_a_subscriber_receives_no_mail(gateway):
    started = gateway("--dev", "--shards", "2", *QUIET)
    channels = [f"c{n}" for n in range(64)]

    async def run():
        async with asyncio.timeout(15):
            query = "&".join(f"channel={channel}" for channel in channels)
            subscriber = await wire.connect(started.clients, f"/raw?{query}")
            publisher = wire.HttpPublisher(started.admin)
            for channel in channels:
                await publisher.publish_surely(channel, "heard")
            await subscriber.wait_for_bytes(len(channels) * (2 + len('"heard"')))
            heard = await asyncio.to_thread(started.metrics)
            for n in range(64):
                await publisher.publish_surely(f"unheard{n}", "unheard")
            unheard = await asyncio.to_thread(started.metrics)
            publisher.close()
            subscriber.close()
        return heard, unheard

    heard, unheard = asyncio.run(run())
    held = heard.by_shard("tidegate_connections")
    home = max(held, key=held.get)
    away = 1 - home
    assert (held[home], held[away]) == (1, 0)
    owned = heard.by_shard("tidegate_publications_total")
    assert owned[home] > 0 and owned[away] > 0, "both shards own channels"
    for metrics in [heard, unheard]:
        mail = metrics.by_shard("tidegate_mail_publications_received_total")
        assert mail == {home: owned[away], away: 0}
        assert metrics.total("tidegate_frames_encoded_total") == len(channels)
    assert unheard.total("tidegate_publications_total") == 2 * len(channels)
