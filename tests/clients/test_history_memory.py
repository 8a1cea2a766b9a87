"""Hazard: history takes more memory than it may, or what was dropped for that is not missed."""

import asyncio
import json

import main_job

SETTINGS = ["--dev", "--set", "limits.history_bytes=64KiB", "--set", "channel.history_size=1000"]


async def subscribe(gateway, channel, offset, epoch):
    """What a client is told that comes back to `channel` from a position."""
    ask = {"channel": channel, "recover": True, "offset": offset, "epoch": epoch}
    async with asyncio.timeout(15), main_job.open_socket(gateway, "/connection/websocket") as socket:
        for number, command in enumerate([{"connect": {}}, {"subscribe": ask}], start=1):
            await socket.send(json.dumps({"id": number, **command}))
            reply = json.loads(await socket.recv())
            assert reply["id"] == number, reply
        return reply["subscribe"]


def test_past_its_bound_the_oldest_go_and_their_readers_are_told(gateway):
    started = gateway(*SETTINGS, "--shards", "1")
    text = "x" * 4000
    channels = {"old": 5, "new": 30}
    for channel, count in channels.items():
        for _ in range(count):
            started.publish(channel, text)
    metrics = started.metrics()
    kept = metrics.total("tidegate_history_bytes")
    assert 48 * 1024 < kept <= 64 * 1024
    dropped = metrics.total("tidegate_history_evicted_total")
    assert sum(channels.values()) - kept // 4000 <= dropped < sum(channels.values())

    status, answer = started.post("/api/history", {"channel": "old", "limit": -1})
    left = json.loads(answer)["result"]
    assert status == 200 and not left["publications"] and left["offset"] == channels["old"]

    async def run():
        back = await subscribe(started, "old", 1, left["epoch"])
        assert back["was_recovering"] and "recovered" not in back
        assert back["offset"] == channels["old"] and "publications" not in back
        # Who missed nothing that is gone gets the rest.
        _, answer = await asyncio.to_thread(started.post, "/api/history", {"channel": "new"})
        epoch = json.loads(answer)["result"]["epoch"]
        back = await subscribe(started, "new", channels["new"] - 3, epoch)
        assert back["recovered"] and [one["offset"] for one in back["publications"]] == [28, 29, 30]
        back = await subscribe(started, "new", 1, epoch)
        assert back["was_recovering"] and "recovered" not in back

    asyncio.run(run())
    metrics = started.metrics()
    assert metrics.total("tidegate_unrecovered_total") == 2
    assert metrics.total("tidegate_recovered_total") == 1


def test_each_shard_has_an_even_share(gateway):
    started = gateway(*SETTINGS, "--shards", "2")
    for channel in started.owned_channels().values():
        for _ in range(30):
            started.publish(channel, "x" * 4000)
    kept = started.metrics().by_shard("tidegate_history_bytes")
    assert set(kept) == {0, 1} and all(24 * 1024 < size <= 32 * 1024 for size in kept.values())
