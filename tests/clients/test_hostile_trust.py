"""Hazard: a gateway as it is installed trusts too many, or tells what it was trusted with."""

import asyncio
import re
import subprocess
from pathlib import Path

import gateway as gateways
import wire

# Texts that nobody but their owner may ever see.
SECRET = "canary-secret-0123456789abcdef0123456789"
API_KEY = "canary-api-key-0123456789abcdef"


def listening(pid):
    """Addresses a process listens on."""
    lines = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    return [line.split()[3] for line in lines.splitlines() if f"pid={pid}," in line]


def test_only_the_clients_port_is_beyond_this_machine(gateway):
    # All defaults but the port numbers, which others may hold.
    started = gateway("--listen", "0.0.0.0:0", "--admin", "127.0.0.1:0")
    addresses = listening(started.pid)
    beyond = [one for one in addresses if not re.match(r"127\.|\[::1\]", one)]
    # One socket for each acceptor, all of the one port.
    port = started.clients.rsplit(":", 1)[1]
    assert set(beyond) == {f"0.0.0.0:{port}"}, addresses
    said = subprocess.run(
        [gateways.binary(), "config", "default"], capture_output=True, text=True, check=True
    ).stdout
    assert '#admin = "127.0.0.1:8001"' in said and "#dev = false" in said


def test_a_public_admin_port_needs_a_key(gateway):
    refused = gateway("--dev", "--admin", "0.0.0.0:0", wait=False)
    refused.expected_exit = refused.wait()
    assert refused.expected_exit != 0 and refused.stdout.text() == ""
    assert "key" in refused.stderr.text()


def test_nobody_gets_in_by_default(gateway):
    """Without --dev and without settings, no channel is open to anyone."""
    started = gateway()

    async def refusal(path):
        host, port = started.clients.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(wire.upgrade_request(started.clients, path))
        head = await reader.readuntil(wire.HEAD_END)
        writer.close()
        return int(head.split()[1])

    for path in ["/raw?channel=news", "/raw?channel=news&publish=1", "/raw?channel=a:b", "/echo"]:
        assert asyncio.run(refusal(path)) in (401, 403, 404), path
    assert started.get("/", started.clients)[0] == 404, "no demo page"


def test_secrets_are_told_to_nobody(gateway):
    """Not in a log at its most talkative, an answer, a metric, a setting shown, or to `ps`."""
    environment = {"TIDEGATE_TOKEN_HMAC_SECRET": SECRET, "TIDEGATE_API_KEY": API_KEY}
    flags = ["--set", "channel.allow_subscribe=user", "--log-level", "trace"]
    started = gateway(*flags, environment=environment)
    token = subprocess.run(
        [gateways.binary(), "token", "--user", "u"],
        capture_output=True,
        text=True,
        check=True,
        env={"TIDEGATE_TOKEN_HMAC_SECRET": SECRET},
    ).stdout.strip()
    assert token.count(".") == 2
    heard = []

    async def show(path, extra=""):
        host, port = started.clients.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(wire.upgrade_request(started.clients, path, extra))
        head = (await reader.readuntil(wire.HEAD_END)).decode()
        writer.close()
        heard.append(head)
        return int(head.split()[1])

    assert asyncio.run(show(f"/raw?channel=news&token={token}")) == 101
    assert asyncio.run(show("/raw?channel=news", f"Authorization: Bearer {token}\r\n")) == 101
    assert asyncio.run(show(f"/raw?channel=news&token={token}x")) == 401
    assert asyncio.run(show("/raw?channel=news", f"Authorization: Bearer {token}x\r\n")) == 401
    assert asyncio.run(show(f"/nowhere?token={token}")) == 404
    shown = [
        ({"x-api-key": API_KEY}, 200),
        ({"authorization": f"apikey {API_KEY}"}, 200),
        ({"x-api-key": API_KEY + "x"}, 401),
    ]
    for headers, expected in shown:
        status, text = started.post("/api/publish", {"channel": "news", "data": 1}, headers)
        assert status == expected, text
        heard.append(text)
    heard.append(started.get(f"/api/info?api_key={API_KEY}")[1])
    heard.append(started.metrics().text)
    heard.append(Path(f"/proc/{started.pid}/cmdline").read_text())
    started.stop()
    heard += [started.stderr.text(), started.stdout.text()]
    signature = token.rsplit(".", 1)[1]
    for canary in [SECRET, API_KEY, signature]:
        assert not [text for text in heard if canary in text], "a secret was told"
