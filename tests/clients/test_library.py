"""Hazard: the library understands only itself. Its examples, with clients and servers of others."""

import asyncio
import contextlib
import json
import os
import re
import socket
import socketserver
import subprocess
import threading

import pytest
import websockets
from websockets.extensions import permessage_deflate

import gateway as gateways
import main_job
from conftest import NODE

# The sizes a compressed message is no larger than its window, and far larger.
LINES = ["hello", "grüße 🌊 " * 4_000, "", "the end"]

BITS = [9, 15]


class Example:
    """A running example that serves at an address it prints."""

    def __init__(self, name):
        self.process = subprocess.Popen(
            [program(name), "127.0.0.1:0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.stdout = gateways.Lines(self.process.stdout)
        self.stderr = gateways.Lines(self.process.stderr)
        line = self.stdout.wait_for("^open http")
        assert line, self.stderr.text()
        self.page = line[0].removeprefix("open ").partition("?")[0]
        self.address = re.search(r"//([^/]+)/", self.page)[1]

    def url(self, path):
        return f"ws://{self.address}{path}"


def program(name):
    path = gateways.binary().parent / "examples" / name
    assert path.is_file(), f"{path} does not exist: cargo build --examples"
    return str(path)


@pytest.fixture
def example():
    """Starts examples that serve: `example("echo")`."""
    started = []

    def start(name):
        started.append(Example(name))
        return started[-1]

    yield start
    for one in started:
        still_running = one.process.poll() is None
        one.process.kill()
        one.process.wait(gateways.PATIENCE_S)
        assert still_running and "panicked" not in one.stderr.text(), one.stderr.text()


def client(url, *headers, environment=None):
    """Runs examples/client with LINES as its input, which ends once as many lines have come back.
    Gives exit code, output and errors."""
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    process = subprocess.Popen(
        [program("client"), url, *headers],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=kept | (environment or {}),
    )
    try:
        stdout, stderr = gateways.Lines(process.stdout), gateways.Lines(process.stderr)
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write("".join(line + "\n" for line in LINES))
            stdin.flush()
            stdout.wait_for("", len(LINES))
        code = process.wait(gateways.PATIENCE_S)
        # Its errors are complete once their stream has ended.
        assert stderr.wait_for("never said") is None
        return code, stdout.text(), stderr.text()
    finally:
        process.kill()


def check_echoed(done):
    code, output, errors = done
    assert code == 0, errors
    assert output.split("\n") == LINES


@pytest.mark.parametrize("bits", [None, *BITS])
def test_websockets_of_python_echoes_through_the_server(example, bits):
    factory = permessage_deflate.ClientPerMessageDeflateFactory
    options = {"compression": None}
    if bits:
        options["extensions"] = [
            factory(server_max_window_bits=bits, client_max_window_bits=bits)
        ]
    agreed = asyncio.run(main_job.python_echoes(example("echo"), **options))
    if bits is None:
        assert agreed is None
    else:
        assert f"server_max_window_bits={bits}" in agreed


@pytest.mark.parametrize(
    "options",
    [False, True, *({"serverMaxWindowBits": n, "clientMaxWindowBits": n, "threshold": 0} for n in BITS)],
)
def test_ws_of_node_echoes_through_the_server(example, node, options):
    url = example("echo").url("/echo")
    agreed = node("library.mjs", "echo", url, json.dumps(options)).strip()
    assert bool(agreed) == bool(options), agreed


@pytest.mark.parametrize("bits", [None, *BITS])
def test_the_client_talks_to_websockets_of_python(bits):
    seen = []

    async def echo(socket):
        seen.append([extension.name for extension in socket.protocol.extensions])
        seen.append(socket.request.headers["X-Test"])
        async for message in socket:
            await socket.send(message)

    factory = permessage_deflate.ServerPerMessageDeflateFactory
    extensions = [factory(server_max_window_bits=bits, client_max_window_bits=bits)] if bits else []

    async def talk():
        async with websockets.serve(
            echo, "127.0.0.1", 0, compression=None, extensions=extensions
        ) as server:
            port = server.sockets[0].getsockname()[1]
            return await asyncio.to_thread(client, f"ws://127.0.0.1:{port}/", "X-Test: yes")

    check_echoed(asyncio.run(talk()))
    assert seen == [["permessage-deflate"] if bits else [], "yes"]


@pytest.mark.parametrize(
    "options",
    [
        False,
        {"threshold": 0},
        *({"serverMaxWindowBits": n, "clientMaxWindowBits": n, "threshold": 0} for n in BITS),
        {"serverNoContextTakeover": True, "clientNoContextTakeover": True, "threshold": 0},
    ],
)
def test_the_client_talks_to_ws_of_node(options):
    modules = os.environ.get("NODE_PATH", str(gateways.CACHE / "node/node_modules"))
    server = subprocess.Popen(
        ["node", NODE / "library.mjs", "serve", json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"NODE_PATH": modules},
    )
    try:
        said = gateways.Lines(server.stdout)
        check_echoed(client(said.wait_for("^ws://")[0]))
        (agreed,) = said.wait_for("^agreed")
        assert ("permessage-deflate" in agreed) == bool(options), agreed
    finally:
        server.stdin.close()
        server.wait(gateways.PATIENCE_S)


def test_the_client_says_why_it_was_refused(example):
    code, _, errors = client(example("echo").url("/nothing"))
    assert code == 1
    assert errors == "the server answered 404 instead of 101\nthere is / and /echo"
    assert client("wss://127.0.0.1/")[2].startswith("wss:// needs TLS")


class Tunnels(socketserver.StreamRequestHandler):
    """A proxy that connects every tunnel to `server.target`, and counts them."""

    def handle(self):
        line = self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        self.server.asked.append(line)
        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        host, _, port = self.server.target.partition(":")
        with socket.create_connection((host, int(port))) as far:
            back = threading.Thread(target=pump, args=(far, self.connection), daemon=True)
            back.start()
            pump(self.connection, far)
            back.join(gateways.PATIENCE_S)


def pump(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def test_the_client_finds_its_proxy_in_the_environment(example):
    echo = example("echo")
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tunnels) as proxy:
        proxy.daemon_threads = True
        proxy.asked, proxy.target = [], echo.address
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        environment = {"http_proxy": f"127.0.0.1:{proxy.server_address[1]}"}
        check_echoed(client("ws://nowhere.invalid/echo", environment=environment))
        environment["NO_PROXY"] = ".invalid"
        _, _, errors = client("ws://nowhere.invalid/echo", environment=environment)
        assert "nowhere.invalid cannot be resolved" in errors
        # This machine is connected to directly.
        check_echoed(client(echo.url("/echo"), environment=environment))
        proxy.shutdown()
    assert proxy.asked == [b"CONNECT nowhere.invalid:80 HTTP/1.1\r\n"]


def test_the_page_of_the_echo_server_works(example, browse):
    result = browse("echo", example("echo").page)
    assert result["complaints"] == []
    lines = ["connected", "sent: grüße 🌊", "received: grüße 🌊", "closed with 1000"]
    assert result["lines"] == lines


def test_two_pages_chat_and_a_third_in_another_room_does_not_hear_them(example, browse):
    result = browse("chat", example("chat").page)
    assert result["complaints"] == []
    said = ["ann: is the tide in?", "bob: <b>nearly</b>"]
    assert result["lines"] == {"ann": said, "bob": said, "eve": ["eve: nobody hears me"]}


def test_a_member_that_does_not_read_is_dropped_and_holds_nobody_up(example):
    chat = example("chat")
    # Incompressible, so that the kernel's buffers fill.
    message = os.urandom(4_000)

    async def talk():
        options = {"compression": None, "max_queue": 1, "ping_interval": None}
        async with (
            asyncio.timeout(30),
            main_job.open_socket(chat, "/chat?a", **options) as slow,
            main_job.open_socket(chat, "/chat?a", compression=None) as quick,
        ):
            slow.transport.pause_reading()
            for _ in range(4_000):
                await quick.send(message)
                assert await quick.recv() == message
            slow.transport.resume_reading()
            received = 0
            with pytest.raises(websockets.ConnectionClosed) as closed:
                while await slow.recv():
                    received += 1
            assert received < 4_000
            return closed.value

    closed = asyncio.run(talk())
    assert closed.rcvd is None or closed.rcvd.code == 1013, closed
