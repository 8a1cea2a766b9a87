"""A client of the Centrifuge protocol lean enough for thousands of them in one process: connects,
subscribes with recovery, answers pings, and comes back with jittered backoff when it lost its
connection, as the public SDKs do."""

import asyncio
import json
import random

import wire

PATH = "/connection/websocket"


class Client(wire.Subscriber):
    """One connection. Replies and pushes go to `take` one by one, as parsed JSON."""

    def __init__(self, address, take):
        super().__init__(address, PATH)
        self._take = take

    def data_received(self, data):
        super().data_received(data)
        if self.head is None:
            return
        frames, rest = wire.parse_frames(self.received)
        self.received = bytearray(rest)
        for opcode, payload in frames:
            if opcode == wire.TEXT:
                for line in payload.split(b"\n"):
                    message = json.loads(line)
                    if message:
                        self._take(message)
                    else:
                        self.command({})

    def command(self, command):
        self.send(wire.frame(wire.TEXT, json.dumps(command).encode()))


class Session:
    """A subscriber that stays: over as many connections as it takes."""

    def __init__(self, address, channel):
        self._host, self._port = address.rsplit(":", 1)
        self._address = address
        self._channel = channel
        self._wake = asyncio.Event()
        self.position = None
        self.is_subscribed = False
        # Of each subscription but the first: whether everything missed was recovered.
        self.recoveries = []
        self.received = []
        self.attempts = 0
        self.connection = None

    async def run(self):
        """Until it is cancelled."""
        while True:
            try:
                await self._connect()
                await self.connection.wait_for_end()
            except (OSError, AssertionError):
                pass
            finally:
                self.is_subscribed = False
                if self.connection:
                    self.connection.close()
            self.attempts += 1
            # Full jitter, as the SDKs have it.
            await asyncio.sleep(random.uniform(0.1, min(0.5 * 2 ** min(self.attempts, 4), 5)))

    async def _connect(self):
        make = lambda: Client(self._address, self._on_message)
        loop = asyncio.get_running_loop()
        _, self.connection = await loop.create_connection(make, self._host, int(self._port))
        await self.connection.opened()
        subscribe = {"channel": self._channel}
        if self.position:
            subscribe |= {"recover": True} | self.position
        self.connection.command({"id": 1, "connect": {}})
        self.connection.command({"id": 2, "subscribe": subscribe})

    def _on_message(self, message):
        if subscribed := message.get("subscribe"):
            if self.position:
                self.recoveries.append(subscribed.get("recovered", False))
            for publication in subscribed.get("publications", []):
                self.received.append(publication["data"])
            offset = subscribed.get("offset", 0) + len(subscribed.get("publications", []))
            self.position = {"epoch": subscribed["epoch"], "offset": offset}
            self.is_subscribed = True
            self.attempts = 0
        elif push := message.get("push"):
            if publication := push.get("pub"):
                self.received.append(publication["data"])
                self.position["offset"] = publication["offset"]
        self._wake.set()
        if error := message.get("error"):
            raise AssertionError(error)

    async def until(self, condition):
        """Returns when the condition holds; it is looked at with every message."""
        while not condition(self):
            self._wake.clear()
            await self._wake.wait()
