"""Backend hooks: a backend in Python decides about Centrifuge's own SDK, unchanged, and about raw
clients."""

import asyncio
import http.server
import json
import threading
import time

import centrifuge
import pytest

import gateway as gateways
import wire
from sdk import Events, connect

PATIENCE_S = gateways.PATIENCE_S
HOOKS = ["connect", "subscribe", "publish", "rpc", "refresh", "sub_refresh"]
LONG_S = "30s"


class Backend:
    """Answers hooks by `say`, from the hook to what it gives for a question: a value for 200, a pair
    of status and text, or None for silence. Keeps what it was asked, and the headers."""

    def __init__(self):
        self.say = {hook: lambda _: {"result": {}} for hook in HOOKS}
        self.asked = []
        self.changed = threading.Condition()
        self.released = threading.Event()
        backend = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                question = json.loads(self.rfile.read(int(self.headers["content-length"])))
                hook = self.path.strip("/")
                with backend.changed:
                    backend.asked.append((hook, question, dict(self.headers)))
                    backend.changed.notify_all()
                said = backend.say[hook](question)
                if said is None:
                    backend.released.wait()
                    self.close_connection = True
                    return
                status, text = said if isinstance(said, tuple) else (200, json.dumps(said))
                self.send_response(status)
                self.send_header("Location", "/rpc")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = "http://127.0.0.1:%d" % self.server.server_port

    def flags(self, *hooks, **settings):
        """Settings with which these hooks, or all, are asked."""
        pairs = [f"hooks.{hook}={self.address}/{hook}" for hook in hooks or HOOKS]
        pairs += [f"{key.replace('__', '.')}={value}" for key, value in settings.items()]
        return [flag for pair in pairs for flag in ("--set", pair)]

    def questions(self, hook):
        with self.changed:
            return [question for asked, question, _ in self.asked if asked == hook]

    def wait_for(self, hook, count=1):
        """The first `count` questions of this hook, once they are there."""
        deadline = time.monotonic() + PATIENCE_S
        with self.changed:
            while True:
                found = [question for asked, question, _ in self.asked if asked == hook]
                if len(found) >= count:
                    return found[:count]
                assert self.changed.wait(deadline - time.monotonic()), f"{hook}: {self.asked}"

    def stop(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def backend():
    started = Backend()
    yield started
    started.stop()


async def connected(gateway, **options):
    client, events = connect(gateway, "connected", "disconnected", **options)
    await client.connect()
    return client, await events.next("connected"), events


async def refused(awaitable):
    """The number of the error a command is answered with."""
    with pytest.raises(centrifuge.ReplyError) as refused:
        await awaitable
    return refused.value.code


def run(test):
    async def within():
        async with asyncio.timeout(PATIENCE_S):
            await test()

    asyncio.run(within())


def failures(gateway):
    """How often questions got no answer, by hook and cause."""
    counts = gateway.metrics().by("tidegate_hook_failures_total", "hook", "cause")
    return {key: count for key, count in counts.items() if count}


ASK = {"channel__hook_subscribe": "true", "channel__hook_publish": "true"}


def test_backends_grant_what_clients_ask_for(gateway, backend):
    expire_at = 4102444800
    backend.say |= {
        "connect": lambda _: {
            "result": {"user": "ann", "info": {"n": 1}, "data": {"hello": []}, "meta": {"t": 7}}
        },
        "subscribe": lambda _: {
            "result": {"info": {"role": "x"}, "data": "welcome", "expire_at": expire_at}
        },
        "publish": lambda asked: {"result": {"data": {"was": asked["data"]}}},
        "rpc": lambda asked: {"result": {"data": [asked["method"], asked["data"]]}},
    }
    more = {"hooks__headers": "X-Key: secret-1", "hooks__forward_headers": "Cookie,X-Other"}
    presence = {"channel__presence": "true", "channel__allow_presence": "user"}
    flags = backend.flags(**ASK, **more, **presence, channel__hook_sub_refresh="true")
    started = gateway("--shards", "2", "--log-level", "debug", *flags)

    async def test():
        headers = {"Cookie": "session=c-1", "X-Hidden": "h"}
        client, context, _ = await connected(started, data={"a": 1}, headers=headers)
        assert context.data == {"hello": []}
        ((hook, asked, seen),) = backend.asked
        assert hook == "connect" and asked["data"] == {"a": 1} and asked["name"] == "python"
        assert (asked["client"], asked["user"]) == (context.client, "")
        assert asked["transport"] == "websocket" and asked["protocol"] == "json"
        assert (seen["cookie"], seen["x-key"]) == ("session=c-1", "secret-1")
        assert "x-hidden" not in {name.lower() for name in seen}

        events = Events("subscribed", "publication")
        news = client.new_subscription("news", events=events, data={"s": 1})
        await news.subscribe()
        assert (await events.next("subscribed")).data == "welcome"
        (asked,) = backend.questions("subscribe")
        assert (asked["channel"], asked["data"], asked["meta"]) == ("news", {"s": 1}, {"t": 7})
        assert asked["user"] == "ann" and asked["client"] == context.client
        (info,) = (await news.presence()).clients.values()
        assert (info.user, info.conn_info, info.chan_info) == ("ann", {"n": 1}, {"role": "x"})

        await news.publish({"text": "hi"})
        assert (await events.next("publication")).pub.data == {"was": {"text": "hi"}}
        assert (await client.rpc("add", [1, 2])).data == ["add", [1, 2]]
        await client.disconnect()

    run(test)
    metrics = started.metrics()
    assert metrics.total("tidegate_hook_questions_total") == 4
    assert metrics.total("tidegate_hook_questions_open") == 0
    log = started.stderr.text()
    assert "secret-1" not in log and "c-1" not in log


def test_backends_refuse_with_numbers_of_their_own(gateway, backend):
    error = {"error": {"code": 1234, "message": "not \"you\""}}
    backend.say |= {hook: lambda _: error for hook in ["subscribe", "publish", "rpc"]}
    started = gateway("--shards", "2", *backend.flags(**ASK))

    async def test():
        client, _, events = await connected(started)
        assert await refused(client.rpc("m", 1)) == 1234
        assert await refused(client.publish("news", 1)) == 1234
        unsubscribed = Events("unsubscribed")
        await client.new_subscription("news", events=unsubscribed).subscribe()
        assert (await unsubscribed.next("unsubscribed")).code == 1234
        for hook, act in [
            ("rpc", lambda client: client.rpc("m", 1)),
            ("publish", lambda client: client.publish("news", 1)),
            ("subscribe", lambda client: client.new_subscription("more").subscribe()),
        ]:
            backend.say[hook] = lambda _: {"disconnect": {"code": 4501, "reason": "banned"}}
            client, _, events = await connected(started)
            doing = asyncio.ensure_future(act(client))
            context = await events.next("disconnected")
            assert (context.code, context.reason) == (4501, "banned"), hook
            await asyncio.gather(doing, return_exceptions=True)
        for said, code in [
            (error, 1234),
            ({"disconnect": {"code": 4999, "reason": "no"}}, 4999),
        ]:
            backend.say["connect"] = lambda _: said
            client, events = connect(started, "disconnected")
            await client.connect()
            assert (await events.next("disconnected")).code == code

    run(test)


def test_an_answer_that_is_of_no_use_fails_the_command_alone(gateway, backend):
    started = gateway("--shards", "2", *backend.flags(**ASK))

    async def test():
        client, _, _ = await connected(started)
        for cause, said in [
            ("status", (302, "")),
            ("status", (500, json.dumps({"result": {}}))),
            ("answer", (200, "<html>")),
            ("answer", {"disconnect": {"code": 1000}}),
            ("size", (200, " " * (1 << 20) + "{}")),
        ]:
            before = failures(started).get(("rpc", cause), 0)
            backend.say["rpc"] = lambda _: said
            assert await refused(client.rpc("m", 1)) == 100, cause
            assert failures(started)[("rpc", cause)] == before + 1
        # The redirect led to the same address; nobody followed it.
        assert len(backend.questions("rpc")) == 5
        backend.say["rpc"] = lambda _: {"result": {"data": "back"}}
        assert (await client.rpc("m", 1)).data == "back"
        await client.disconnect()

    run(test)
    assert "a backend gave no answer" in started.stderr.text()


def test_a_backend_that_hangs_holds_up_nobody_else(gateway, backend):
    backend.say["rpc"] = lambda asked: None if asked["method"] == "hang" else {"result": {}}
    flags = backend.flags("connect", "rpc", hooks__timeout=LONG_S, channel__allow_publish="anyone")
    started = gateway("--shards", "1", *flags, "--set", "channel.allow_subscribe=anyone")

    async def test():
        stuck, _, _ = await connected(started)
        other, _, _ = await connected(started)
        hanging = asyncio.ensure_future(stuck.rpc("hang", 1))
        await asyncio.to_thread(backend.wait_for, "rpc")
        events = Events("subscribed", "publication")
        news = other.new_subscription("news", events=events)
        await news.subscribe()
        await events.next("subscribed")
        await other.publish("news", 1)
        await events.next("publication")
        await other.rpc("quick", 1)
        third, _, _ = await connected(started)
        assert not hanging.done()
        assert started.metrics().total("tidegate_hook_questions_open") == 1
        hanging.cancel()
        for client in [other, third, stuck]:
            await client.disconnect()

    run(test)


def test_a_backend_that_hangs_or_is_gone_fails_its_commands(gateway, backend):
    backend.say["rpc"] = lambda _: None
    flags = backend.flags("connect", "rpc", hooks__timeout="200ms")
    started = gateway("--shards", "1", *flags)

    async def test():
        client, _, _ = await connected(started)
        assert await refused(client.rpc("m", 1)) == 100
        assert failures(started) == {("rpc", "timeout"): 1}
        backend.stop()
        assert await refused(client.rpc("m", 1)) == 100
        assert failures(started) == {("rpc", "timeout"): 1, ("rpc", "connection"): 1}
        await client.disconnect()

    run(test)


def test_what_lasts_for_a_time_lasts_as_long_as_its_backend_says(gateway, backend):
    soon = lambda: int(time.time()) + 2
    backend.say |= {
        "connect": lambda _: {"result": {"user": "ann", "expire_at": soon()}},
        "subscribe": lambda _: {"result": {"expire_at": soon()}},
        "refresh": lambda _: {"result": {"expire_at": soon()}},
        "sub_refresh": lambda _: {"result": {"expired": True}},
    }
    flags = backend.flags(channel__hook_sub_refresh="true", **ASK)
    started = gateway("--shards", "1", *flags)

    async def test():
        client, _, events = await connected(started)
        told = Events("subscribed", "subscribing")
        await client.new_subscription("news", events=told).subscribe()
        await told.next("subscribing")
        await told.next("subscribed")
        # It ended with 2501, and the SDK came back.
        assert (await told.next("subscribing")).code == 2501
        await told.next("subscribed")
        await asyncio.to_thread(backend.wait_for, "refresh", 1)
        backend.say["refresh"] = lambda _: {"result": {"expired": True}}
        events.on_connecting = events._put("connecting")
        assert (await events.next("connecting")).code == 3005
        await client.disconnect()

    run(test)
    assert backend.questions("refresh")[0]["user"] == "ann"


def test_raw_clients_are_asked_about_before_their_101(gateway, backend):
    backend.say |= {
        "connect": lambda asked: {"result": {"user": asked["channels"][0]}},
        "subscribe": lambda asked: (
            {"result": {}}
            if asked["user"] != "b"
            else {"error": {"code": 403, "message": "not\nyou"}}
        ),
    }
    flags = backend.flags("connect", "subscribe", "publish", **ASK, hooks__timeout=LONG_S)
    flags += ["--set", "namespace.open.allow_subscribe=anyone"]
    started = gateway("--shards", "2", *flags, "--set", "hooks.forward_headers=Cookie")

    async def head(path):
        """The first line of the answer, and its text."""
        host, port = started.clients.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(wire.upgrade_request(started.clients, path, "Cookie: c\r\n"))
        answer = (await reader.read()).decode()
        writer.close()
        return answer.split("\r\n")[0].split(" ", 1)[1], answer.split("\r\n\r\n", 1)[1]

    async def test():
        path = "/raw?channel=a&channel=open:x&channel=c"
        client = await wire.connect(started.clients, path, "Cookie: c\r\n")
        ((_, asked, seen),) = [one for one in backend.asked if one[0] == "connect"]
        assert asked["channels"] == ["a", "open:x", "c"] and asked["protocol"] == "raw"
        assert seen["cookie"] == "c"
        about = backend.questions("subscribe")
        assert sorted(asked["channel"] for asked in about) == ["a", "c"]
        assert {(one["user"], one["client"]) for one in about} == {("a", asked["client"])}
        await asyncio.to_thread(started.publish, "c", {"n": 1})
        await client.wait_for_ending(b'{"n": 1}')
        client.close()
        status, text = await head("/raw?channel=b")
        assert status.startswith("403") and "not\\nyou (code 403)" in text, text
        status, text = await head("/raw?channel=a&publish=1")
        assert status.startswith("403") and "decided by a backend" in text
        backend.say["connect"] = lambda _: {"disconnect": {"code": 4000, "reason": "out"}}
        assert (await head("/raw?channel=a"))[0].startswith("403")
        backend.say["connect"] = lambda _: (500, "")
        status, text = await head("/raw?channel=a")
        assert status.startswith("503") and "does not answer" in text

    run(test)
    assert failures(started) == {("connect", "status"): 1}
