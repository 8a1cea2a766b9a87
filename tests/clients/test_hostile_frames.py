"""Hazard: a few bytes make the gateway set aside, unpack or keep far more than they are."""

import asyncio
import os
import time

import pytest

import wire
from bombs import CONTINUATION, FINAL, OFFER, TOO_BIG, close_code, header, in_fragments, packed
from scale import MIB, Memory, scale

# One shard with few receive buffers, so that using them for the first time is no growth to speak of.
SMALL = ["--shards", "1", "--set", "limits.receive_buffers=16", "--set", "limits.ping_interval=1h"]
MESSAGE_LIMIT = 64 << 10
VIOLATION, POLICY = 1002, 1008
# What the length of a frame may claim; the gateway's limit is 64 KiB, the protocol's 2^63 - 1.
LENGTHS = [126, MESSAGE_LIMIT + 1, MIB, 2**31, 2**32, 2**62, 2**63, 2**64 - 1]


def expected_code(opcode, size, masked):
    """RFC 6455 5.1, 5.2, 5.5; None: nothing is wrong yet."""
    if not masked or opcode == wire.PING or size >= 2**63:
        return VIOLATION
    return TOO_BIG if size > MESSAGE_LIMIT else None


def test_a_length_alone_costs_nothing(gateway, figures):
    started = gateway("--dev", *SMALL)
    kinds = [wire.TEXT, wire.BINARY, wire.PING]
    cases = [(o, s, m) for o in kinds for s in LENGTHS for m in (True, False)]
    slowest = 0

    async def run():
        nonlocal slowest
        async with asyncio.timeout(20):
            for opcode, size, masked in cases:
                code = expected_code(opcode, size, masked)
                client = await wire.connect(started.clients, "/raw?channel=news&publish=1")
                sent_at = time.monotonic()
                client.send(header(FINAL | opcode, size, masked))
                if code is None:
                    client.send(b"1" * size)
                    # Echoed, so to speak: it publishes to itself.
                    await client.wait_for_bytes(1)
                    client.close()
                    continue
                assert await close_code(client) == code, (opcode, size, masked)
                slowest = max(slowest, time.monotonic() - sent_at)

    # Once for all that is set aside when it is first needed.
    asyncio.run(run())
    memory = Memory(started.pid)
    asyncio.run(run())
    started.wait_for_connections(0)
    assert memory.peak_growth() < MIB
    figures(f"{len(cases)} lengths, closed within {slowest * 1000:.0f} ms")


def test_an_announced_message_takes_no_memory_before_it_comes(gateway, figures):
    started = gateway("--dev", *SMALL)
    count = scale(200, 1000)

    async def run():
        async with asyncio.timeout(60):
            clients = await wire.connect_many(count, started.clients, "/raw?channel=news&publish=1")
            await asyncio.to_thread(started.wait_for_connections, count)
            memory = Memory(started.pid)
            read = (await asyncio.to_thread(started.metrics)).total("tidegate_received_bytes_total")
            head = header(FINAL | wire.BINARY, MESSAGE_LIMIT - 1) + b"x"
            for client in clients:
                client.send(head)
            total = read + len(head) * count
            enough = lambda m: m.total("tidegate_received_bytes_total") >= total
            await asyncio.to_thread(started.wait_for_metrics, enough)
            growth = memory.growth() / count
            for client in clients:
                client.close()
            return growth

    growth = asyncio.run(run())
    started.wait_for_connections(0)
    assert growth < 64 << 10
    figures(f"{count} connections that announce 64 KiB hold {growth / 1024:.1f} KiB each")


@pytest.mark.parametrize("pieces", [1, 64])
def test_a_bomb_is_not_unpacked(gateway, figures, pieces):
    """Others' echoes go on meanwhile: each is waited for, none fails."""
    limit = 2 * MIB
    settings = ["--set", f"echo.message_limit={limit}", "--set", "server.compression=true"]
    started = gateway("--dev", *SMALL, *settings)
    count = scale(10, 100)
    size = scale(256 * MIB, 1024 * MIB)
    assert len(packed(size)) < limit, "its packed form is within the limit"
    frames = in_fragments(packed(size), pieces)

    async def echo(client, stop):
        done = 0
        while not stop.is_set():
            client.received.clear()
            client.send(wire.frame(wire.TEXT, b"hello"))
            await client.wait_for_bytes(7)
            assert client.frames() == [(wire.TEXT, b"hello")]
            done += 1
        return done

    async def run():
        async with asyncio.timeout(60):
            other = await wire.connect(started.clients, "/echo")
            clients = await wire.connect_many(count, started.clients, "/echo", extra=OFFER)
            assert all("permessage-deflate" in client.head for client in clients)
            memory = Memory(started.pid)
            stop = asyncio.Event()
            echoes = asyncio.create_task(echo(other, stop))
            for client in clients:
                client.send(frames)
            codes = await asyncio.gather(*(close_code(client) for client in clients))
            stop.set()
            done = await echoes
            other.close()
            return codes, done, memory.peak_growth()

    codes, done, growth = asyncio.run(run())
    started.wait_for_connections(0)
    assert codes == [TOO_BIG] * count
    assert growth < count * limit and done > 0
    figures(f"{count} bombs of {size // MIB} MiB, peak +{growth / MIB:.0f} MiB, {done} echoes of another")


def test_a_message_without_end_is_closed(gateway, figures):
    """Each connection sends fragments of one byte and never a last one."""
    started = gateway("--dev", *SMALL)
    count, fragments = 50, 1024

    async def run():
        async with asyncio.timeout(60):
            path = "/raw?channel=news&publish=1"
            clients = await wire.connect_many(count, started.clients, path)
            await asyncio.to_thread(started.wait_for_connections, count)
            memory = Memory(started.pid)
            first, more = header(wire.BINARY, 1) + b"x", header(CONTINUATION, 1) + b"x"
            for number in range(fragments + 1):
                for client in clients:
                    if not client.ended:
                        client.send(more if number else first)
                # Other tasks of this loop read meanwhile.
                await asyncio.sleep(0)
            codes = await asyncio.gather(*(close_code(client) for client in clients))
            return codes, memory.peak_growth()

    codes, growth = asyncio.run(run())
    started.wait_for_connections(0)
    assert codes == [POLICY] * count
    assert growth < count * MESSAGE_LIMIT
    figures(f"{count} messages of {fragments} fragments without end, peak +{growth >> 10} KiB")


def test_bytes_at_random_close_and_harm_nobody(gateway, figures):
    started = gateway("--dev", *SMALL)
    count = scale(200, 5000)

    async def run():
        async with asyncio.timeout(600):
            other = await wire.connect(started.clients, "/raw?channel=news")
            told = 0
            for _ in range(count // 50):
                clients = await wire.connect_many(50, started.clients, "/raw?channel=junk&publish=1")
                for client in clients:
                    client.send(os.urandom(512) + bytes([0xFF] * 16))
                    # What happens to be the start of a frame would be waited for.
                    client.transport.write_eof()
                for client in clients:
                    await client.wait_for_end()
                    client.close()
                    told += client.frames()[-1:] != [] and client.frames()[-1][0] == wire.CLOSE
            await asyncio.to_thread(started.publish, "news", 1)
            await other.wait_for_bytes(3)
            other.close()
            return told

    told = asyncio.run(run())
    started.wait_for_connections(0)
    assert told > count / 2
    figures(f"{count} connections of random bytes ended, {told} of them with a Close")
