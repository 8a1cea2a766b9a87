"""Hazard: what the README shows for TLS does not work as it stands there."""

import asyncio
import contextlib
import re
import shutil
import socket
import ssl
import subprocess

import pytest
import websockets

import gateway as gateways

README = gateways.REPOSITORY / "README.md"
NAME = "push.example"
# A client at an address of its own, so that the log tells it from the proxy.
CLIENT = "127.0.0.2"


def certificate(folder):
    """A self-signed certificate for NAME and its key."""
    paths = folder / "push.pem", folder / "push.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", f"/CN={NAME}"]
    command += ["-addext", f"subjectAltName=DNS:{NAME}", "-out", paths[0], "-keyout", paths[1]]
    subprocess.run(command, check=True, capture_output=True, timeout=10)
    return paths


def snippet():
    """What the README shows for nginx."""
    shown = re.search(
        r"<!-- nginx:begin -->\n```nginx\n(.*?)```\n<!-- nginx:end -->", README.read_text(), re.S
    )
    assert shown, "the README marks its nginx configuration"
    return shown[1]


def configuration(folder, upstream, port):
    """The README's configuration, but for addresses and the certificate, in a file of its own."""
    pem, key = certificate(folder)
    text = snippet()
    for shown, here in [
        ("http://127.0.0.1:8000;", f"http://{upstream};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        (f"/etc/ssl/{NAME}.pem", str(pem)),
        (f"/etc/ssl/{NAME}.key", str(key)),
    ]:
        assert text.count(shown) == 1, f"the README says {shown!r} once"
        text = text.replace(shown, here)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    )
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off;\nmaster_process off;\nerror_log stderr notice;\npid {folder}/pid;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{text}}}\n"
    )
    return file, pem


@contextlib.contextmanager
def nginx(folder, upstream):
    """nginx in front of `upstream`; gives its port and certificate. It cannot bind port 0, so a
    free port is looked for, and another one should it be taken meanwhile."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert program, "apt-get install nginx-light installs what is missing"
    for _ in range(3):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        file, pem = configuration(folder, upstream, port)
        process = subprocess.Popen(
            [program, "-p", str(folder), "-c", str(file), "-e", "stderr"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            said = gateways.Lines(process.stderr)
            # It listens before it says how it will wait for events.
            if said.wait_for("using the"):
                yield port, pem
                return
            assert "Address already in use" in said.text(), said.text()
        finally:
            process.terminate()
            process.wait(gateways.PATIENCE_S)
    raise AssertionError("no free port in three attempts")


@pytest.fixture
def proxied(gateway, tmp_path):
    started = gateway(
        *["--drain", "0", "--set", "server.trusted_proxies=127.0.0.1/32"],
        *["--set", "channel.allow_subscribe=anyone", "--set", "channel.allow_publish=anyone"],
    )
    with nginx(tmp_path, started.clients) as (port, pem):
        context = ssl.create_default_context(cafile=pem)

        def open_socket(path, origin):
            return websockets.connect(
                f"wss://{NAME}:{port}{path}",
                host="127.0.0.1",
                port=port,
                ssl=context,
                origin=origin,
                proxy=None,
                local_addr=(CLIENT, 0),
            )

        yield started, open_socket, f"https://{NAME}:{port}"


def test_wss_through_nginx_does_the_main_job(proxied):
    gateway, open_socket, own_origin = proxied

    async def run():
        async with asyncio.timeout(10):
            async with open_socket("/raw?channel=news&publish=1", own_origin) as client:
                await asyncio.to_thread(gateway.publish, "news", {"n": 1})
                assert await client.recv() == '{"n": 1}'
                large = '"' + "x" * 60_000 + '"'
                await client.send(large)
                assert await client.recv() == large
            assert client.close_code == 1000

    asyncio.run(run())


def test_the_gateway_learns_the_clients_address_from_a_trusted_proxy(proxied):
    gateway, open_socket, _ = proxied

    async def run():
        async with asyncio.timeout(10):
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with open_socket("/raw?channel=news", "https://evil.example"):
                    pass
        assert refused.value.response.status_code == 403

    asyncio.run(run())
    (line,) = gateway.stderr.wait_for("another origin")
    assert f"peer={CLIENT}" in line, line
