"""Prints what is published to a channel of Tidegate, with Centrifuge's SDK for Python.

    tidegate serve --dev
    pip install centrifuge-python
    python listen.py news
    curl 127.0.0.1:8001/api/publish -H 'content-type: application/json' \
        -d '{"channel":"news","data":{"n":1}}'

A second argument names another gateway: ws://HOST:PORT/connection/websocket.
"""

import asyncio
import json
import sys

from centrifuge import Client, SubscriptionEventHandler


class Printer(SubscriptionEventHandler):
    async def on_subscribed(self, ctx):
        # Whether what was published while the connection was away is on its way too.
        if ctx.was_recovering and not ctx.recovered:
            print("something was missed", flush=True)
        else:
            print("listening", flush=True)

    async def on_publication(self, ctx):
        print(ctx.pub.offset, json.dumps(ctx.pub.data), flush=True)


async def main(channel, address="ws://127.0.0.1:8000/connection/websocket"):
    client = Client(address)
    subscription = client.new_subscription(channel, events=Printer())
    await client.connect()
    await subscription.subscribe()
    await asyncio.Event().wait()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        pass
