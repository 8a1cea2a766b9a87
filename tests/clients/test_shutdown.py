"""Hazard: a stop loses what was acknowledged, leaves clients hanging, or never ends."""

import asyncio
import signal
import time

import pytest

import wire
from forms import IN_BOTH_FORMS
from held_thread import held
from stopped_reader import open_reader, read_to_end

pytestmark = IN_BOTH_FORMS

QUIET = ["--set", "limits.ping_interval=1h"]
CHANNEL = "/raw?channel=news"
GOING_AWAY = (1001).to_bytes(2, "big")


class Stream:
    """Publishes numbers one after another until the gateway refuses, noting what it answered.
    `refused` is then the status, or the error of the connection."""

    def __init__(self, gateway):
        self._gateway = gateway
        self.offsets = []
        self.refused = None
        self.refused_at = None
        self._waiting = None

    async def run(self):
        publisher = wire.HttpPublisher(self._gateway.admin)
        while self.refused is None:
            try:
                status, answer = await publisher.publish("news", len(self.offsets))
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                status = error
                answer = None
            if status == 200:
                self.offsets.append(answer["result"]["offset"])
            elif status == 503 and "mailbox" in answer["error"]["message"]:
                # A shard that gets no core for long is behind; that is no end.
                continue
            else:
                self.refused = status
                self.refused_at = time.monotonic()
            if self._waiting and len(self.offsets) >= self._waiting[0]:
                self._waiting[1].set()
        publisher.close()

    async def reach(self, count):
        self._waiting = (count, asyncio.Event())
        await self._waiting[1].wait()


def assert_promised(subscriber, acknowledged, published):
    """All that was acknowledged before the signal, and what follows without a gap, then 1001."""
    *data, (opcode, body) = subscriber.frames()
    assert opcode == wire.CLOSE and body[:2] == GOING_AWAY
    got = wire.messages(data)
    assert got == [str(n) for n in range(len(got))], "without a gap"
    assert acknowledged <= len(got) <= published
    return len(got)


def test_sigterm_during_a_publish_stream_keeps_every_promise(gateway):
    started = gateway("--dev", "--shards", "2", "--drain", "2", *QUIET)

    async def run():
        async with asyncio.timeout(18):
            subscribers = await wire.connect_many(40, started.clients, CHANNEL)
            await asyncio.to_thread(started.wait_for_connections, 40)
            stream = Stream(started)
            load = asyncio.create_task(stream.run())
            await stream.reach(200)
            acknowledged = len(stream.offsets)
            started.signal(signal.SIGTERM)
            signalled_at = time.monotonic()
            await asyncio.to_thread(assert_draining, started)
            answered = len(stream.offsets)
            assert time.monotonic() - signalled_at < 1

            async def leave(subscriber):
                await subscriber.wait_for_end()
                subscriber.close()
                return time.monotonic() - signalled_at

            ends = sorted(await asyncio.gather(*(leave(s) for s in subscribers)))
            await load
        counts = [assert_promised(s, acknowledged, len(stream.offsets)) for s in subscribers]
        assert len(stream.offsets) > answered
        refused_after = stream.refused_at - signalled_at
        # The last client's end and the refusal are one moment; the one before it is earlier.
        assert refused_after > ends[-2], "publishing stays open while clients are"
        assert stream.refused == 503 or isinstance(stream.refused, Exception), stream.refused
        assert ends[-1] > 1 and ends[19] < ends[-1] - 0.4, f"closes are spread: {ends}"
        assert max(counts) > min(counts), "those that were closed later got more"

    asyncio.run(run())
    assert started.wait() == 0


def test_what_waits_in_a_mailbox_at_sigterm_is_delivered_before_the_close(gateway):
    started = gateway("--dev", "--shards", "2", *QUIET)
    channel = started.owned_channels()[1]
    texts = [f"{n:04}" for n in range(500)]

    async def run():
        async with asyncio.timeout(15):
            path = f"/raw?channel={channel}"
            subscribers = [await wire.connect(started.clients, path) for _ in range(4)]
            await asyncio.to_thread(started.wait_for_connections, len(subscribers))
            publisher = wire.HttpPublisher(started.admin)
            with held(started.threads()["shard-0"]):
                for text in texts:
                    status, answer = await publisher.publish(channel, text)
                    assert status == 200, answer
                started.signal()
                assert await asyncio.to_thread(started.stderr.wait_for, "draining")
            for subscriber in subscribers:
                await subscriber.wait_for_end()
                *data, (opcode, body) = subscriber.frames()
                assert opcode == wire.CLOSE and body[:2] == GOING_AWAY
                assert wire.messages(data) == [f'"{text}"' for text in texts]

    asyncio.run(run())
    assert started.wait() == 0


def assert_draining(gateway):
    """Health and new clients are refused from the signal on, and told when to come back."""
    assert gateway.stderr.wait_for("draining", timeout=1)
    assert gateway.get("/health")[0] == 503
    assert gateway.get("/health", gateway.clients)[0] == 503
    upgrade = asyncio.run(refusal(gateway))
    assert upgrade.startswith("HTTP/1.1 503 ") and "\r\nretry-after: " in upgrade.lower(), upgrade


async def refusal(gateway):
    host, port = gateway.clients.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(wire.upgrade_request(gateway.clients, CHANNEL))
    head = await asyncio.wait_for(reader.readuntil(wire.HEAD_END), 5)
    writer.close()
    return head.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_at_once(gateway, number):
    started = gateway("--dev", "--drain", "60", *QUIET)

    async def run():
        async with asyncio.timeout(10):
            subscribers = await wire.connect_many(10, started.clients, CHANNEL)
            await asyncio.to_thread(started.wait_for_connections, 10)
            started.signal(number)
            assert await asyncio.to_thread(started.stderr.wait_for, "draining")
            started.signal(signal.SIGTERM)
            sent_at = time.monotonic()
            code = await asyncio.to_thread(started.wait, 3)
            assert time.monotonic() - sent_at < 1
            await asyncio.gather(*(s.wait_for_end() for s in subscribers))
        return code

    assert asyncio.run(run()) == 1
    started.expected_exit = 1
    assert "second signal" in started.stderr.text()


def test_a_gateway_without_clients_ends_at_once(gateway):
    started = gateway("--dev", "--drain", "20")
    started.signal()
    sent_at = time.monotonic()
    assert started.wait() == 0
    assert time.monotonic() - sent_at < 2


def test_a_client_that_never_answers_the_close_is_reset(gateway):
    started = gateway("--dev", *QUIET)
    with open_reader(started) as reader:
        started.wait_for_connections(1)
        started.publish("news", 1)
        started.signal()
        assert started.wait(12) == 0
        received, orderly = read_to_end(reader)
    (_, number), (opcode, body) = wire.parse_frames(received)[0]
    assert (number, opcode, body[:2], orderly) == (b"1", wire.CLOSE, GOING_AWAY, True)
