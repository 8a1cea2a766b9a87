"""A subscriber that stops reading while messages flow.

The gateways these functions take have a small outbox limit, so that it is soon passed, and
`limits.ping_interval` so long that no ping comes.
"""

import asyncio
import select
import socket
import time

import wire

OUTBOX = ["--set", "limits.outbox_bytes=80KiB", "--set", "limits.ping_interval=1h"]
CHANNEL = "/raw?channel=news"
CLOSE_SLOW = (3008).to_bytes(2, "big")
# A few of them fill the peer's small window; the kernel and the outbox together hold hundreds.
MESSAGE = "m" * 1000


def open_reader(gateway, path=CHANNEL):
    """A plain socket behind its 101, with a receive window as small as the kernel makes it."""
    host, port = gateway.clients.rsplit(":", 1)
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(10)
    reader.connect((host, int(port)))
    reader.sendall(wire.upgrade_request(gateway.clients, path))
    head = b""
    while not head.endswith(wire.HEAD_END):
        head += reader.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    return reader


async def publish_until_slow(gateway):
    """Publishes until the gateway has closed one slow consumer; gives the texts published. A
    reading subscriber beside it gets all of them."""
    async with asyncio.timeout(15):
        other = await wire.connect(gateway.clients, CHANNEL)
        publisher = await wire.HttpPublisher(gateway.admin).open()
        published = []
        size = 0
        name = "tidegate_slow_consumers_disconnected_total"
        before = (await asyncio.to_thread(gateway.metrics)).total(name)
        while (slow := (await asyncio.to_thread(gateway.metrics)).total(name) - before) == 0:
            for _ in range(20):
                published.append(f"{len(published)} {MESSAGE}")
                await publisher.publish_surely("news", published[-1])
                size += 4 + len(f'"{published[-1]}"')
            # Its shard may come late on a busy machine: the other one is given time to read.
            await other.wait_for_bytes(size)
            assert len(published) <= 20_000, "nobody is slow"
        assert wire.messages(other.frames()) == [f'"{text}"' for text in published]
        publisher.close()
        other.close()
        return published, slow


def read_to_end(reader):
    """All bytes to the end, and whether the end was orderly."""
    received = bytearray()
    try:
        while data := reader.recv(1 << 16):
            received += data
    except ConnectionResetError:
        return received, False
    return received, True


def resumes_in_time(gateway):
    """A reader that resumes within 5 s reads whole frames, then Close 3008, then the end."""
    with open_reader(gateway) as reader:
        published, slow = asyncio.run(publish_until_slow(gateway))
        received, orderly = read_to_end(reader)
    assert slow == 1
    frames, rest = wire.parse_frames(received)
    assert not rest and orderly, "whole frames to an orderly end"
    *data, (opcode, body) = frames
    assert opcode == wire.CLOSE and body[:2] == CLOSE_SLOW and body[2:].decode()
    got = wire.messages(data)
    assert len(got) == len(data) and 0 < len(got) < len(published)
    assert got == [f'"{text}"' for text in published[: len(got)]], "without a gap from the start"


def resumes_too_late(gateway):
    """A reader that stays away is reset when the close deadline of 5 s is over."""
    with open_reader(gateway) as reader:
        published, slow = asyncio.run(publish_until_slow(gateway))
        closed_at = time.monotonic()
        poll = select.poll()
        poll.register(reader, 0)  # Errors and hang-ups are always told.
        assert poll.poll(9_000), "no reset"
        waited = time.monotonic() - closed_at
        received, orderly = read_to_end(reader)
    assert slow == 1 and not orderly
    assert 3 < waited, f"reset after {waited:.1f} s, before a reader could resume"
    whole, _ = wire.parse_frames(received)
    got = wire.messages(whole)
    assert got == [f'"{text}"' for text in published[: len(got)]]
