"""WebSocket and HTTP as bytes: clients so lean that one process holds thousands of them.

A subscriber only collects the bytes behind its 101 and counts them; frames are parsed when a test
looks. So a thousand of them cost little more than their system calls, and two that received the
same are found equal by comparing bytes.
"""

import asyncio
import base64
import json
import os
import struct
import zlib

HEAD_END = b"\r\n\r\n"
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


def upgrade_request(host, path, extra=""):
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
    ).encode()


def frame(opcode, payload=b""):
    """A final frame of a client. The mask is zero, which is allowed and keeps bytes readable."""
    size = len(payload)
    if size < 126:
        head = bytes([0x80 | opcode, 0x80 | size])
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + bytes(4) + payload


def close_frame(code):
    return frame(CLOSE, struct.pack("!H", code))


def inflate(payload):
    """A message that was compressed by itself (RFC 7692)."""
    return zlib.decompressobj(wbits=-15).decompress(payload + b"\x00\x00\xff\xff")


def parse_frames(data, deflate=False):
    """Whole frames of a server as pairs of opcode and payload, and the bytes left over. With
    `deflate`, compressed messages are inflated."""
    reserved = 0x30 if deflate else 0x70
    frames = []
    at = 0
    while len(data) - at >= 2:
        first, size = data[at], data[at + 1]
        assert first & reserved == 0 and size & 0x80 == 0, "a server's frame with a mask or extension"
        head = 2
        if size == 126:
            head, size = 4, int.from_bytes(data[at + 2 : at + 4], "big")
        elif size == 127:
            head, size = 10, int.from_bytes(data[at + 2 : at + 10], "big")
        if len(data) - at < head + size:
            break
        assert first & 0x80, "the gateway sends whole messages only"
        payload = bytes(data[at + head : at + head + size])
        frames.append((first & 0x0F, inflate(payload) if first & 0x40 else payload))
        at += head + size
    return frames, bytes(data[at:])


def messages(frames):
    """Texts of the data frames."""
    return [payload.decode() for opcode, payload in frames if opcode == TEXT]


class Subscriber(asyncio.Protocol):
    """One WebSocket client. `received` holds all bytes behind the 101."""

    def __init__(self, host, path, extra=""):
        self._request = upgrade_request(host, path, extra)
        self._waiters = []
        self.head = None
        self.received = bytearray()
        self.ended = False
        self.error = None

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data):
        self.received += data
        if self.head is None:
            head, found, rest = self.received.partition(HEAD_END)
            if not found:
                return
            self.head = head.decode()
            self.received = bytearray(rest)
        self._wake()

    def eof_received(self):
        self.ended = True
        self._wake()

    def connection_lost(self, error):
        self.ended = True
        self.error = error
        self._wake()

    def _wake(self):
        if self._waiters:
            self._waiters = [(c, f) for c, f in self._waiters if not self._settle(c, f)]

    def _settle(self, condition, future):
        if not condition() and not self.ended:
            return False
        if not future.done():
            future.set_result(None)
        return True

    async def _until(self, condition):
        """Returns when the condition holds or nothing more can come."""
        if not condition() and not self.ended:
            future = asyncio.get_running_loop().create_future()
            self._waiters.append((condition, future))
            await future

    async def opened(self):
        """Waits for the 101."""
        await self._until(lambda: self.head is not None)
        assert self.head and self.head.startswith("HTTP/1.1 101 "), (self.head, self.error)
        return self

    async def wait_for_bytes(self, count):
        await self._until(lambda: len(self.received) >= count)
        assert len(self.received) >= count, f"it ended after {len(self.received)} of {count} bytes"

    async def wait_for_end(self):
        await self._until(lambda: self.ended)

    async def wait_for_ending(self, data):
        await self._until(lambda: self.received.endswith(data))
        assert self.received.endswith(data), f"it ended after {len(self.received)} bytes"

    async def wait_for_recent(self, data):
        """Waits until the data stands among the last bytes that came."""
        await self._until(lambda: data in self.received[-1024:])
        assert data in self.received[-1024:], f"it ended after {len(self.received)} bytes"

    def frames(self, deflate=False):
        """What came so far, which must be whole frames."""
        frames, rest = parse_frames(self.received, deflate)
        assert not rest, f"{len(rest)} bytes of a frame that was cut"
        return frames

    def send(self, data):
        self.transport.write(data)

    def close(self):
        self.transport.close()


async def connect(address, path, extra="", **options):
    """A subscriber whose 101 has come."""
    host, port = address.rsplit(":", 1)
    loop = asyncio.get_running_loop()
    make = lambda: Subscriber(address, path, extra)
    _, subscriber = await loop.create_connection(make, host, int(port), **options)
    return await subscriber.opened()


async def connect_many(count, address, path, at_once=100, extra=""):
    """So many subscribers, a bounded number of handshakes at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one():
        async with gate:
            return await connect(address, path, extra)

    return await asyncio.gather(*(one() for _ in range(count)))


class HttpPublisher:
    """One kept-alive HTTP connection to the API."""

    def __init__(self, address, headers=""):
        self._address = address
        self._headers = headers
        self._streams = None

    async def open(self):
        host, port = self._address.rsplit(":", 1)
        self._streams = await asyncio.open_connection(host, int(port))
        return self

    async def publish(self, channel, data):
        """Status and the answer's JSON. Connection errors pass through."""
        return await self.publish_body(json.dumps({"channel": channel, "data": data}).encode())

    async def publish_body(self, body):
        if self._streams is None:
            await self.open()
        reader, writer = self._streams
        writer.write(
            f"POST /api/publish HTTP/1.1\r\nHost: {self._address}\r\n{self._headers}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = (await reader.readuntil(HEAD_END)).decode().lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        answer = await reader.readexactly(length)
        if "connection: close" in head:
            self.close()
        return int(head.split()[1]), json.loads(answer)

    async def publish_surely(self, channel, data):
        """Publishes again as long as the gateway says that it has no room and published nothing."""
        while True:
            status, answer = await self.publish(channel, data)
            if status != 503:
                assert status == 200, (status, answer)
                return answer["result"]["offset"]

    def close(self):
        if self._streams:
            self._streams[1].close()
            self._streams = None
