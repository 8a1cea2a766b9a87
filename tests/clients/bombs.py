"""Messages that are far larger than what carries them; as a program, a stream of them.

    python3 tests/clients/bombs.py HOST:PORT RATE SECONDS

sends so many a second to /echo, each on a connection of its own, and says how many were answered
with 1009."""

import asyncio
import collections
import struct
import sys
import zlib

import wire

MIB = 1 << 20
OFFER = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
TOO_BIG = 1009
FINAL, COMPRESSED, CONTINUATION = 0x80, 0x40, 0


def header(first, size, masked=True):
    """A frame's header with the shortest form of its length; a mask is zero."""
    bit = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first, bit | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    return head + bytes(4 if masked else 0)


def packed(size):
    """So many zeros, compressed as one message."""
    squeeze = zlib.compressobj(9, wbits=-15)
    # After a full flush each block stands for itself.
    block = squeeze.compress(bytes(MIB)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return (block * (size // MIB))[:-4]


def in_fragments(data, pieces):
    """A compressed message as so many frames."""
    step = len(data) // pieces + 1
    frames = b""
    for at in range(0, len(data), step):
        part = data[at : at + step]
        first = COMPRESSED | wire.BINARY if at == 0 else CONTINUATION
        last = FINAL if at + step >= len(data) else 0
        frames += header(first | last, len(part)) + part
    return frames


async def close_code(client):
    """The code with which the gateway ends a connection."""
    await client.wait_for_end()
    (opcode, body) = client.frames()[-1]
    assert opcode == wire.CLOSE, client.frames()
    client.close()
    return int.from_bytes(body[:2], "big")


async def stream(address, rate, seconds):
    """Counts what the bombs were closed with; one that begins late is not made up for."""
    bomb = in_fragments(packed(1024 * MIB), 1)

    async def one():
        client = await wire.connect(address, "/echo", OFFER)
        client.send(bomb)
        return await close_code(client)

    loop = asyncio.get_running_loop()
    began = loop.time()
    tasks = []
    for number in range(rate * seconds):
        await asyncio.sleep(began + number / rate - loop.time())
        tasks.append(asyncio.create_task(one()))
    return collections.Counter(await asyncio.gather(*tasks))


if __name__ == "__main__":
    codes = asyncio.run(stream(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
    print(codes[TOO_BIG], "bombs were closed with 1009")
    sys.exit(set(codes) != {TOO_BIG})
