"""Hazard: clients that others wrote and the gateway mean different things by permessage-deflate."""

import asyncio
import itertools
import json

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

import gateway as gateways
import main_job
import wire

COMPRESSION = ["--set", "server.compression=true", "--set", "limits.ping_interval=1h"]
ON = ["--dev", *COMPRESSION, *gateways.ANY_BYTES]
PROSE = "Every message of this text refers to the one before it, if it may. " * 10
# Repeats itself at a distance that no window of 9 bits reaches, and then at one that it does.
FAR = "".join(f"{n:x} " for n in range(2000)) * 2 + PROSE


def open_socket(gateway, path, **offer):
    """A client that offers permessage-deflate with these parameters, or nothing without any."""
    extensions = [ClientPerMessageDeflateFactory(**offer)] if offer else None
    return main_job.open_socket(gateway, path, compression=None, extensions=extensions)


def agreed(socket):
    """What client and gateway agreed on, if anything."""
    return socket.protocol.extensions[0] if socket.protocol.extensions else None


@pytest.mark.parametrize("server_bits", [None, 9, 15])
def test_echo_keeps_to_what_websockets_of_python_offers(gateway, server_bits):
    started = gateway(*ON)

    async def run(client_bits, server_alone, client_alone):
        offer = {
            "server_max_window_bits": server_bits,
            "client_max_window_bits": client_bits,
            "server_no_context_takeover": server_alone,
            "client_no_context_takeover": client_alone,
        }
        async with asyncio.timeout(15), open_socket(started, "/echo", **offer) as socket:
            codec = agreed(socket)
            assert codec.remote_max_window_bits == (server_bits or 15)
            assert codec.local_max_window_bits == (client_bits if client_bits in (9, 15) else 15)
            assert codec.remote_no_context_takeover == server_alone
            assert codec.local_no_context_takeover == client_alone
            for message in [PROSE, PROSE, FAR, "", "short", FAR.encode(), b"", PROSE]:
                await socket.send(message)
                assert await socket.recv() == message
            await socket.send([PROSE, FAR, "end"])
            assert await socket.recv() == PROSE + FAR + "end"

    flags = [False, True]
    for client_bits, server_alone, client_alone in itertools.product([None, True, 9, 15], flags, flags):
        asyncio.run(run(client_bits, server_alone, client_alone))
    counted = started.metrics()
    assert counted.total("tidegate_messages_compressed_total") > 0
    assert counted.total("tidegate_messages_inflated_total") > 0


def test_context_takeover_pays_where_it_was_agreed_on(gateway):
    started = gateway(*ON)

    async def compressed_bytes(**offer):
        before = started.metrics().total("tidegate_compression_output_bytes_total")
        async with asyncio.timeout(15), open_socket(started, "/echo", **offer) as socket:
            for _ in range(10):
                await socket.send(PROSE)
                assert await socket.recv() == PROSE
        return started.metrics().total("tidegate_compression_output_bytes_total") - before

    takeover = asyncio.run(compressed_bytes(client_max_window_bits=True))
    alone = asyncio.run(compressed_bytes(server_no_context_takeover=True))
    assert takeover < alone / 2, (takeover, alone)


def test_every_subscriber_decodes_every_publication_whatever_it_offers(gateway):
    started = gateway(*ON, "--shards", "2")
    offers = [
        {},
        {"client_max_window_bits": True},
        {"server_max_window_bits": 15, "client_max_window_bits": 9},
        {"server_max_window_bits": 9},
        {"server_max_window_bits": 14, "client_max_window_bits": True},
        {"server_no_context_takeover": True, "client_no_context_takeover": True},
    ]
    compressed = [False, True, True, False, False, True]
    published = [{"n": n, "text": PROSE} for n in range(50)] + ["short", FAR]

    async def receive(socket):
        return [json.loads(await socket.recv()) for _ in published]

    async def run():
        async with asyncio.timeout(30):
            path = "/raw?channel=news"
            sockets = [await open_socket(started, path, **offer) for offer in offers]
            assert [agreed(socket) is not None for socket in sockets] == compressed
            for codec in filter(None, map(agreed, sockets)):
                assert codec.remote_no_context_takeover and codec.local_no_context_takeover
            publisher = wire.HttpPublisher(started.admin)
            for data in published:
                await publisher.publish_surely("news", data)
            publisher.close()
            for received in await asyncio.gather(*map(receive, sockets)):
                assert received == published
            metrics = await asyncio.to_thread(started.metrics)
            assert metrics.total("tidegate_compressed_connections") == sum(compressed)
            # All but the short one, once each.
            assert metrics.total("tidegate_messages_compressed_total") == len(published) - 1
            for socket in sockets:
                await socket.close()

    asyncio.run(run())


def test_what_a_client_publishes_compressed_reaches_all(gateway):
    started = gateway(*ON)

    async def run():
        path = "/raw?channel=news"
        async with (
            asyncio.timeout(15),
            open_socket(started, path + "&publish=1", client_max_window_bits=9) as speaker,
            open_socket(started, path) as listener,
        ):
            assert agreed(speaker) and not agreed(listener)
            for message in [PROSE, FAR.encode(), "short", ""]:
                await speaker.send(message)
                assert await speaker.recv() == message
                assert await listener.recv() == message

    asyncio.run(run())


def test_nothing_is_compressed_unless_it_is_switched_on(gateway):
    started = gateway("--dev")

    async def run():
        for path in ["/echo", "/raw?channel=news"]:
            async with open_socket(started, path, client_max_window_bits=True) as socket:
                assert agreed(socket) is None

    asyncio.run(run())


def test_ws_of_node_means_the_same_by_it(gateway, node):
    started = gateway(*ON)
    node("compression.mjs", f"ws://{started.clients}", started.admin)
    metrics = started.metrics()
    assert metrics.total("tidegate_messages_compressed_total") > 0
    assert metrics.total("tidegate_messages_inflated_total") > 0


def test_a_thousand_publications_to_a_thousand_subscribers_are_compressed_a_thousand_times(gateway):
    started = gateway(*ON, "--shards", "2")
    count = 1000
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    last = wire.frame(wire.TEXT, b"")[:1] + bytes([5]) + b'"end"'

    async def run():
        async with asyncio.timeout(45):
            subscribers = await wire.connect_many(
                count, started.clients, "/raw?channel=news", extra=offer
            )
            assert all("permessage-deflate" in s.head for s in subscribers)
            publisher = wire.HttpPublisher(started.admin)
            for n in range(count):
                await publisher.publish_surely("news", f"{n:05} {PROSE[:200]}")
            await publisher.publish_surely("news", "end")
            publisher.close()
            await asyncio.gather(*(s.wait_for_ending(last) for s in subscribers))
            metrics = await asyncio.to_thread(started.metrics)
            first = subscribers[0]
            texts = [json.loads(text) for text in wire.messages(first.frames(deflate=True))]
            assert texts == [f"{n:05} {PROSE[:200]}" for n in range(count)] + ["end"]
            assert all(s.received == first.received for s in subscribers)
            for subscriber in subscribers:
                subscriber.close()
        return metrics

    metrics = asyncio.run(run())
    assert metrics.total("tidegate_deliveries_total") == (count + 1) * count
    assert metrics.total("tidegate_messages_compressed_total") == count
    before = metrics.total("tidegate_compression_input_bytes_total")
    assert metrics.total("tidegate_compression_output_bytes_total") < before * 0.8


def subscribe_to(channel):
    """What a client of the Centrifuge protocol says first."""
    commands = [{"id": 1, "connect": {}}, {"id": 2, "subscribe": {"channel": channel}}]
    return wire.frame(wire.TEXT, "\n".join(map(json.dumps, commands)).encode())


def test_a_thousand_pushes_are_compressed_a_thousand_times_whatever_the_number_of_sdks(gateway):
    started = gateway("--dev", *COMPRESSION, "--shards", "2")
    count = 1000
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

    async def run():
        async with asyncio.timeout(45):
            path = "/connection/websocket"
            subscribers = await wire.connect_many(200, started.clients, path, extra=offer)
            for subscriber in subscribers:
                assert "permessage-deflate" in subscriber.head
                subscriber.send(subscribe_to("news"))
                # Replies are not compressed, nor is what is short.
                await subscriber.wait_for_recent(b'"subscribe":')
            publisher = wire.HttpPublisher(started.admin)
            for n in range(count):
                await publisher.publish_surely("news", f"{n:05} {PROSE[:200]}")
            await publisher.publish_surely("news", "end")
            publisher.close()
            await asyncio.gather(*(s.wait_for_recent(b'"data":"end"') for s in subscribers))
            texts = [f"{n:05} {PROSE[:200]}" for n in range(count)] + ["end"]
            for subscriber in subscribers:
                lines = "\n".join(wire.messages(subscriber.frames(deflate=True))).splitlines()
                pushes = [line["push"] for line in map(json.loads, lines) if "push" in line]
                assert [push["pub"]["data"] for push in pushes] == texts
            metrics = await asyncio.to_thread(started.metrics)
            for subscriber in subscribers:
                subscriber.close()
        return metrics

    metrics = asyncio.run(run())
    assert metrics.total("tidegate_messages_compressed_total") == count
    before = metrics.total("tidegate_compression_input_bytes_total")
    assert metrics.total("tidegate_compression_output_bytes_total") < before * 0.8


def test_the_sdk_for_javascript_means_the_same_by_it(gateway, node):
    # As much is missed at a time as is published before the client is back.
    settings = ["--set", "server.compression_min_size=0", "--set", "channel.history_size=1000"]
    started = gateway("--dev", *COMPRESSION, *settings, "--shards", "2")
    # Node's `ws` offers permessage-deflate by itself.
    for mode in ["flow", "recover"]:
        node("sdk.mjs", mode, f"ws://{started.clients}", started.admin)
    metrics = started.metrics()
    # Nothing is compressed while nobody is there: of 1,000, up to 201 behind each of three kills.
    assert metrics.total("tidegate_messages_compressed_total") >= 1000 - 3 * 201


def test_a_browser_means_the_same_by_it(gateway, browse):
    # Browsers offer permessage-deflate by themselves.
    started = gateway("--dev", *COMPRESSION, "--set", "server.compression_min_size=0")
    page = gateways.REPOSITORY / "examples/centrifuge/chat.html"
    result = browse("sdk", f"{page.as_uri()}?server={started.clients}")
    assert result["complaints"] == []
    assert result["lines"] == ["left", " hello over there", "came", "came"]
    assert started.metrics().total("tidegate_messages_compressed_total") > 0
