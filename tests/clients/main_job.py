"""The main job, done by clients that others wrote: echo, subscribe, publish.

Each function takes a running gateway whose `/echo` is enabled and which lets anyone subscribe and
publish to `news`.
"""

import asyncio
import json
import subprocess

import websockets

# Below it a message travels in few receive buffers, above it in many.
MEBIBYTE = 1 << 20


def curl_publish(gateway, body, headers=()):
    """Publishes as the README shows it, and gives status and answer."""
    command = ["curl", "-sS", "--max-time", "10", "-w", "\n%{http_code}"]
    command += [f"{gateway.admin}/api/publish", "-H", "content-type: application/json", "-d", body]
    for header in headers:
        command += ["-H", header]
    done = subprocess.run(command, capture_output=True, text=True, timeout=12)
    assert done.returncode == 0, done.stderr
    answer, status = done.stdout.rsplit("\n", 1)
    return int(status), json.loads(answer)


def open_socket(gateway, path, **options):
    # No proxy, whatever the environment says: everything here is on this machine.
    return websockets.connect(gateway.url(path), proxy=None, max_size=None, **options)


async def python_echoes(gateway, **options):
    """Text, binary, 1 MiB and fragments come back as they were, through Python's `websockets`.
    Gives what was agreed on about extensions."""
    large = bytes(range(256)) * (MEBIBYTE // 256)
    text = "grüße 🌊 " * 100
    async with asyncio.timeout(15), open_socket(gateway, "/echo", **options) as socket:
        for message in ["hello", text, "", b"\x00\xff", b"", large, "x" * MEBIBYTE]:
            await socket.send(message)
            answer = await socket.recv()
            assert type(answer) is type(message) and answer == message
        await socket.send([text, text, "end"])
        assert await socket.recv() == text + text + "end"
        await socket.send([b"a", b"", b"bc"])
        assert await socket.recv() == b"abc"
        await (await socket.ping(b"still there?"))
    assert socket.close_code == 1000
    return socket.response.headers.get("Sec-WebSocket-Extensions")


async def python_receives(gateway, headers=()):
    """What curl publishes is what Python's `websockets` receives, byte for byte."""
    async with asyncio.timeout(15), open_socket(gateway, "/raw?channel=news") as socket:
        publish = lambda body: asyncio.to_thread(curl_publish, gateway, body, headers)
        status, answer = await publish('{"channel":"news","data":{"n":1}}')
        assert status == 200 and answer["result"]["offset"] >= 1 and answer["result"]["epoch"]
        assert await socket.recv() == '{"n":1}'
        # The text of the publisher, not one made anew from its meaning.
        await publish('{"channel":"news","data":{ "b": 1.0,\\n"a":"\\u00fc" }}'.replace("\\n", " "))
        assert await socket.recv() == '{ "b": 1.0, "a":"\\u00fc" }'
        await publish('{"channel":"news","b64data":"AP8Q"}')
        assert await socket.recv() == b"\x00\xff\x10"


async def python_publishes(gateway):
    """With publish=1, what one client sends is what every subscriber receives, itself included."""
    async with (
        asyncio.timeout(15),
        open_socket(gateway, "/raw?channel=news&publish=1") as speaker,
        open_socket(gateway, "/raw?channel=news") as listener,
    ):
        for message in ["over the socket", b"\x01\x02"]:
            await speaker.send(message)
            assert await speaker.recv() == message
            assert await listener.recv() == message


def do_everything(gateway, node, headers=()):
    asyncio.run(python_echoes(gateway))
    asyncio.run(python_receives(gateway, headers))
    asyncio.run(python_publishes(gateway))
    node("main_job.mjs", f"ws://{gateway.clients}", gateway.admin, *headers)
