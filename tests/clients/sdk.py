"""Clients of the public SDK for Python, `centrifuge-python`."""

import asyncio

import centrifuge


class Events(centrifuge.ClientEventHandler, centrifuge.SubscriptionEventHandler):
    """Collects what the SDK tells; every `on_` method puts its context into the queue."""

    def __init__(self, *names):
        self.queue = asyncio.Queue()
        for name in names:
            setattr(self, f"on_{name}", self._put(name))

    def _put(self, name):
        async def put(context):
            await self.queue.put((name, context))

        return put

    async def next(self, name):
        got, context = await self.queue.get()
        assert got == name, context
        return context


def connect(gateway, *names, **options):
    """A client on its way to be connected, and its events."""
    events = Events(*names)
    url = gateway.url("/connection/websocket")
    options |= {"min_reconnect_delay": 0.05, "proxy": None}
    client = centrifuge.Client(url, events=events, **options)
    return client, events
