"""Centrifuge's own SDKs, unchanged, against the gateway."""

import asyncio
import subprocess
import sys

import centrifuge
import pytest

import gateway as gateways
import wire
from sdk import Events, connect

PATIENCE_S = gateways.PATIENCE_S


def test_the_sdk_for_javascript_does_everything(gateway, node):
    started = gateway("--dev", "--shards", "2")
    node("sdk.mjs", "flow", f"ws://{started.clients}", started.admin)


def test_a_killed_connection_recovers_every_message_once_and_in_order(gateway, node):
    started = gateway("--dev", "--shards", "2", "--set", "channel.history_size=1000")
    node("sdk.mjs", "recover", f"ws://{started.clients}", started.admin)
    metrics = started.metrics()
    assert metrics.total("tidegate_recovered_total") == 3
    assert metrics.total("tidegate_unrecovered_total") == 0


def test_who_missed_more_than_there_is_is_told_so(gateway, node):
    started = gateway("--dev", "--shards", "2", "--set", "channel.history_size=3")
    node("sdk.mjs", "lost", f"ws://{started.clients}", started.admin)
    metrics = started.metrics()
    assert metrics.total("tidegate_recovered_total") == 2
    assert metrics.total("tidegate_unrecovered_total") == 1


def test_the_sdk_for_python_does_everything(gateway):
    started = gateway("--dev", "--shards", "2")

    async def run():
        async with asyncio.timeout(PATIENCE_S):
            client, _ = connect(started)
            await client.connect()
            await client.ready()
            events = Events("subscribed", "publication", "join", "leave", "unsubscribed")
            news = client.new_subscription("news", events=events, join_leave=True)
            await news.subscribe()
            assert (await events.next("subscribed")).recoverable
            me = (await events.next("join")).info.client

            other, _ = connect(started)
            await other.connect()
            await other.ready()
            other_news = other.new_subscription("news")
            await other_news.subscribe()
            await other_news.ready()
            them = (await events.next("join")).info.client
            data = {"text": "grüße\n", "list": [1, None, {}]}
            await asyncio.to_thread(started.publish, "news", data)
            assert (await events.next("publication")).pub.data == data
            await other_news.publish(data=[1, 2])
            publication = (await events.next("publication")).pub
            assert publication.data == [1, 2] and publication.info.client == them
            assert set((await news.presence()).clients) == {me, them}
            assert (await news.presence_stats()).num_clients == 2
            history = await news.history(limit=10)
            assert [one.data for one in history.publications] == [data, [1, 2]]
            with pytest.raises(centrifuge.ReplyError) as refused:
                await client.rpc("method", {})
            assert refused.value.code == 104
            await other.disconnect()
            assert (await events.next("leave")).info.client == them
            await news.unsubscribe()
            await events.next("unsubscribed")
            await client.disconnect()

    asyncio.run(run())


def test_after_a_restart_the_application_is_told_that_something_may_be_missing(gateway):
    async def run():
        started = await asyncio.to_thread(gateway, "--dev")
        async with asyncio.timeout(2 * PATIENCE_S):
            client, events = connect(started, "connected", "connecting", "disconnected")
            await client.connect()
            await events.next("connecting")
            await events.next("connected")
            subscription_events = Events("subscribed", "publication")
            news = client.new_subscription("news", events=subscription_events)
            await news.subscribe()
            first = await subscription_events.next("subscribed")
            assert not first.was_recovering
            await asyncio.to_thread(started.publish, "news", 1)
            await subscription_events.next("publication")
            await asyncio.to_thread(started.stop)
            assert (await events.next("connecting")).code == 3001
            again = await asyncio.to_thread(gateway, "--dev", "--listen", started.clients)
            second = await subscription_events.next("subscribed")
            assert second.was_recovering and not second.recovered
            assert second.stream_position.epoch != first.stream_position.epoch
            await asyncio.to_thread(again.publish, "news", 2)
            assert (await subscription_events.next("publication")).pub.data == 2
            await client.disconnect()

    asyncio.run(run())


def test_what_is_not_allowed_is_refused_by_number(gateway):
    started = gateway(
        *["--set", "channel.allow_subscribe=anyone", "--set", "namespace.closed.presence=true"]
    )

    async def run():
        async with asyncio.timeout(PATIENCE_S):
            client, _ = connect(started)
            await client.connect()
            await client.ready()
            for channel, code in [("closed:a", 103), ("unknown:a", 102), ("$a", 103), ("a#b", 103)]:
                events = Events("unsubscribed")
                refused = client.new_subscription(channel, events=events)
                await refused.subscribe()
                assert (await events.next("unsubscribed")).code == code, channel
            allowed = client.new_subscription("news")
            await allowed.subscribe()
            await allowed.ready()
            with pytest.raises(centrifuge.ReplyError) as refused:
                await allowed.publish(data=1)
            assert refused.value.code == 103
            await client.disconnect()

    asyncio.run(run())


def test_without_an_open_channel_nobody_connects_without_a_token(gateway):
    started = gateway()

    async def run():
        async with asyncio.timeout(PATIENCE_S):
            client, events = connect(started, "disconnected")
            await client.connect()
            assert (await events.next("disconnected")).code == 3501

    asyncio.run(run())


def test_the_example_prints_what_is_published(gateway):
    started = gateway("--dev")
    script = gateways.REPOSITORY / "examples/centrifuge/listen.py"
    command = [sys.executable, script, "news", started.url("/connection/websocket")]
    listener = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        lines = gateways.Lines(listener.stdout)
        lines.wait_for("^listening$")
        started.publish("news", {"n": 1})
        lines.wait_for(r'^1 {"n": 1}$')
    finally:
        listener.kill()
        listener.wait(PATIENCE_S)


def test_a_subscriber_that_dies_is_not_present_any_more(gateway):
    """The process is killed: the kernel closes its socket, and no Close frame was sent."""
    started = gateway("--dev", "--shards", "2")

    async def run():
        async with asyncio.timeout(PATIENCE_S):
            watcher, _ = connect(started)
            await watcher.connect()
            events = Events("join", "leave")
            news = watcher.new_subscription("news", events=events, join_leave=True)
            await news.subscribe()
            await events.next("join")
            dying = await wire.connect(started.clients, "/connection/websocket")
            dying.send(wire.frame(wire.TEXT, b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"news"}}'))
            joined = (await events.next("join")).info.client
            dying.transport.abort()
            assert (await events.next("leave")).info.client == joined
            assert (await news.presence_stats()).num_clients == 1
            await watcher.disconnect()

    asyncio.run(run())
