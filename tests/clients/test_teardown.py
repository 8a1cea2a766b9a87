"""Hazard: ten thousand clients that go at once hold up those who stay."""

import asyncio
import json
import signal
import subprocess

import gateway as gateways
import wire
from forms import IN_BOTH_FORMS

pytestmark = IN_BOTH_FORMS

COUNT = 10_000

# Commands of the one that stays that are sent and not answered.
UNDER_WAY = 16


class Watcher:
    """A client of the Centrifuge protocol that is told who comes and goes, and asks meanwhile."""

    def __init__(self, connection):
        self.connection = connection
        self.heard = self.parsed = 0
        self.left = []
        self.replies = {}

    def say(self, *commands):
        text = "\n".join(json.dumps(command) for command in commands)
        self.connection.send(wire.frame(wire.TEXT, text.encode()))

    async def hear(self):
        """Waits for more, and takes note of it."""
        connection = self.connection
        await connection.wait_for_bytes(self.heard + 1)
        self.heard = len(connection.received)
        frames, rest = wire.parse_frames(connection.received[self.parsed :])
        self.parsed = len(connection.received) - len(rest)
        for line in "\n".join(wire.messages(frames)).split("\n"):
            if line == "{}":
                self.say({})
            elif line:
                self.note(json.loads(line))

    def note(self, line):
        if "id" in line:
            # What it is worth is where it stands among the leaves.
            self.replies[line["id"]] = (len(self.left), line)
        elif "leave" in line["push"]:
            self.left.append(line["push"]["leave"]["info"]["client"])

    async def reply(self, id):
        while id not in self.replies:
            await self.hear()
        return self.replies[id]


def hold(gateway, count):
    """A process with so many clients, all connected and subscribed to `crowd`."""
    command = [gateways.load_generator(), "idle", "--url", gateway.url("/connection/websocket")]
    command += ["--protocol", "centrifuge", "--channel", "crowd", "--connections", str(count)]
    command += ["--hold", "1h", "--quiet"]
    held = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = gateways.Lines(held.stdout)
    assert lines.wait_for(f"^holding {count} of {count} ", timeout=40), lines.text()
    return held


def test_ten_thousand_that_die_at_once_hold_up_nobody(gateway):
    started = gateway("--dev", "--shards", "2")

    async def run():
        connection = await wire.connect(started.clients, "/connection/websocket")
        watcher = Watcher(connection)
        subscribe = {"channel": "crowd", "join_leave": True}
        watcher.say({"id": 1, "connect": {}}, {"id": 2, "subscribe": subscribe})
        await watcher.reply(2)
        held = await asyncio.to_thread(hold, started, COUNT)
        try:
            watcher.say({"id": 3, "presence_stats": {"channel": "crowd"}})
            stats = (await watcher.reply(3))[1]["presence_stats"]
            assert stats["num_clients"] == COUNT + 1
            # The kernel closes its sockets; none of its clients says a word.
            held.send_signal(signal.SIGKILL)
            last = 3
            while len(watcher.left) < COUNT:
                # Some are always under way, so that this process may be late.
                while last - len(watcher.replies) < UNDER_WAY:
                    last += 1
                    publish = {"channel": f"elsewhere{last}", "data": last}
                    watcher.say({"id": last, "publish": publish})
                await watcher.hear()
        finally:
            held.kill()
            held.wait(gateways.PATIENCE_S)
        between = [at for at, line in watcher.replies.values() if 0 < at < COUNT]
        assert between, "nobody was answered between the first leave and the last"
        watcher.say({"id": last + 1, "presence_stats": {"channel": "crowd"}})
        stats = (await watcher.reply(last + 1))[1]["presence_stats"]
        assert stats["num_clients"] == 1
        assert len(watcher.left) == len(set(watcher.left)) == COUNT, "each left once"
        watcher.connection.close()

    async def in_time():
        async with asyncio.timeout(50):
            await run()

    asyncio.run(in_time())
    metrics = started.wait_for_connections(0)
    assert metrics.total("tidegate_subscriptions") == 0
