"""Notices to a backend, an HTTP server here that checks them as README says."""

import asyncio
import json
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import websockets.sync.client
from centrifuge import Client

import gateway as gateways

SECRET = "2b7e151628aed2a6abf7158809cf4f3c"


def readmes_check():
    """The function that README gives to backends."""
    readme = (gateways.REPOSITORY / "README.md").read_text()
    (code,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", readme, re.S)
        if "X-Tidegate-Signature" in block
    ]
    names = {}
    exec(code, names)
    return names["is_from_tidegate"]


class Backend:
    """Keeps what it is told, if it is signed, and answers with `status`."""

    def __init__(self):
        self.status = 200
        self.events = []
        self.batches = []
        self.refused = []
        self._changed = threading.Condition()
        backend, check = self, readmes_check()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                signed = check(self.headers, body, SECRET)
                # Somebody who does not know the secret, and somebody who changes a byte.
                assert not check(self.headers, body, SECRET[::-1])
                assert not check(self.headers, body + b" ", SECRET)
                backend.take(json.loads(body), signed)
                self.send_response(backend.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/told"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, batch, signed):
        with self._changed:
            if not signed:
                self.refused.append(batch)
            elif self.status != 200:
                self.batches.append(batch["id"])
            elif batch["id"] not in self.batches[:-1]:
                self.batches.append(batch["id"])
                self.events += batch["events"]
            self._changed.notify_all()

    def wait_for(self, condition, timeout=gateways.PATIENCE_S):
        with self._changed:
            assert self._changed.wait_for(condition, timeout), (self.events, self.batches)

    def wait_for_events(self, *wanted):
        """Events with these values, which must come, in whatever order; takes all away."""
        fits = lambda event, want: want.items() <= event.items()
        found = lambda want: any(fits(event, want) for event in self.events)
        self.wait_for(lambda: all(map(found, wanted)))
        with self._changed:
            events, self.events = self.events, []
        assert not self.refused
        assert len(events) == len(wanted), (events, wanted)
        return [next(event for event in events if fits(event, want)) for want in wanted]


@pytest.fixture
def backend():
    started = Backend()
    yield started
    started.server.shutdown()
    started.server.server_close()


@pytest.fixture
def telling(gateway, backend):
    """Starts a gateway that tells the backend."""

    def start(*flags, **options):
        settings = {
            "url": backend.url,
            "batch_delay": "20ms",
            "vacated_delay": "100ms",
        }
        typed = [f for k, v in settings.items() for f in ("--set", f"hooks.notices.{k}={v}")]
        secret = {"TIDEGATE_HOOKS_NOTICES_SECRET": SECRET}
        return gateway("--dev", "--shards", "2", *typed, *flags, environment=secret, **options)

    return start


class Sdk:
    """A client of the SDK with subscriptions, on a loop of its own that runs by itself."""

    def __init__(self, started, *channels):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.run(self._begin(started.url("/connection/websocket"), channels))

    async def _begin(self, url, channels):
        self.client = Client(url, min_reconnect_delay=0.05, proxy=None)
        await self.client.connect()
        await self.client.ready()
        self.subscriptions = [self.client.new_subscription(channel) for channel in channels]
        for subscription in self.subscriptions:
            await subscription.subscribe()
            await subscription.ready()

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(gateways.PATIENCE_S)

    def cut(self):
        """Ends its connection without a word."""
        self.client._conn.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def connect(started, path):
    return websockets.sync.client.connect(started.url(path), proxy=None, legacy=True)


def test_a_client_of_the_sdk_unsubscribes_and_disconnects(telling, backend):
    started = telling()
    before = time.time() * 1000
    sdk = Sdk(started, "news", "chat:lobby")
    sdk.run(sdk.subscriptions[0].unsubscribe())
    unsubscribe, _ = backend.wait_for_events(
        {"name": "unsubscribe", "channel": "news", "code": 0, "reason": "client unsubscribed"},
        {"name": "vacated", "channel": "news"},
    )
    assert unsubscribe["user"] == "" and re.fullmatch(r"[0-9a-f-]{36}", unsubscribe["client"])
    assert before - 1000 < unsubscribe["time_ms"] < time.time() * 1000 + 1000
    sdk.run(sdk.client.disconnect())
    who = {"client": unsubscribe["client"], "user": ""}
    backend.wait_for_events(
        {"name": "unsubscribe", "channel": "chat:lobby", "code": 1, **who},
        {"name": "disconnect", "reason": "", **who},
        {"name": "vacated", "channel": "chat:lobby"},
    )
    metrics = started.wait_for_metrics(lambda m: m.total("tidegate_notices_sent_total") == 5)
    assert metrics.total("tidegate_notices_waiting") == 0


def test_a_backend_that_ends_a_client_is_told_its_own_words(telling, backend):
    started = telling()
    Sdk(started, "news")
    info = json.loads(started.post("/api/presence", {"channel": "news"})[1])["result"]["presence"]
    (key,) = info
    body = {"user": "", "client": key, "disconnect": {"code": 4501, "reason": "enough"}}
    status, text = started.post("/api/disconnect", body)
    assert status == 200, text
    backend.wait_for_events(
        {"name": "unsubscribe", "channel": "news", "client": key},
        {"name": "disconnect", "client": key, "code": 4501, "reason": "enough"},
        {"name": "vacated", "channel": "news"},
    )


def test_a_raw_connection_that_is_cut_is_told(telling, backend):
    started = telling()
    stays = connect(started, "/raw?channel=news")
    raw = connect(started, "/raw?channel=news&channel=chat:lobby")
    raw.socket.shutdown(socket.SHUT_RDWR)
    backend.wait_for_events(
        {"name": "unsubscribe", "channel": "news", "user": "", "code": 1},
        {"name": "unsubscribe", "channel": "chat:lobby", "user": "", "code": 1},
        {"name": "disconnect", "user": "", "code": 1006, "reason": ""},
        {"name": "vacated", "channel": "chat:lobby"},
    )
    stays.close()


def test_a_client_that_comes_back_has_not_vacated_its_channel(telling, backend):
    started = telling("--set", "hooks.notices.vacated_delay=2s")
    sdk = Sdk(started, "news")
    sdk.cut()
    first = [{"name": "unsubscribe", "channel": "news"}, {"name": "disconnect", "code": 1006}]
    backend.wait_for_events(*first)
    started.wait_for_metrics(lambda m: m.total("tidegate_recovered_total") == 1)
    back_at = time.time() * 1000
    sdk.run(sdk.client.disconnect())
    *_, vacated = backend.wait_for_events(
        {"name": "unsubscribe", "channel": "news"},
        {"name": "disconnect"},
        {"name": "vacated", "channel": "news"},
    )
    # Of the second time, not the first.
    assert vacated["time_ms"] > back_at - 100


def test_a_backend_that_fails_gets_the_same_again(telling, backend):
    started = telling()
    backend.status = 500
    connect(started, "/raw?channel=news").close()
    backend.wait_for(lambda: len(backend.batches) >= 2)
    assert len(set(backend.batches)) == 1
    backend.batches = []
    backend.status = 200
    backend.wait_for_events({"name": "unsubscribe"}, {"name": "disconnect"}, {"name": "vacated"})
    assert started.stderr.wait_for("notices to hooks.notices.url are not delivered: it answered 500")
    assert started.stderr.wait_for("the backend takes notices again")
    assert started.metrics().total("tidegate_notices_retried_total") >= 2
    assert SECRET not in started.stderr.text()


def test_what_the_end_of_the_gateway_leads_to_is_told(telling, backend):
    started = telling("--set", "hooks.notices.vacated_delay=1h")
    raw = connect(started, "/raw?channel=news")
    started.wait_for_connections(1)
    started.stop()
    raw.close()
    backend.wait_for_events(
        {"name": "unsubscribe", "channel": "news"},
        {"name": "disconnect", "code": 1001},
        {"name": "vacated", "channel": "news"},
    )
