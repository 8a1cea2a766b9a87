"""Subscriptions that begin with the connection, through Centrifuge's own SDKs."""

import asyncio
import base64
import hashlib
import hmac
import json

import cent
import centrifuge

import gateway as gateways
from sdk import Events, connect

PATIENCE_S = gateways.PATIENCE_S

SECRET = {"TIDEGATE_TOKEN_HMAC_SECRET": "2b7e151628aed2a6abf7158809cf4f3c"}

# Users have a channel of their own; `chat` is open to them, `shut` is not; both recover.
SETTINGS = [
    "client.personal_channel=true",
    "client.personal_namespace=user",
    "namespace.user.allow_publish=user",
    "namespace.chat.allow_subscribe=user",
    "namespace.chat.allow_publish=user",
    "namespace.chat.allow_presence=user",
    "namespace.chat.presence=true",
    "namespace.chat.join_leave=true",
    *(
        f"namespace.{name}.{key}"
        for name in ["user", "chat", "shut"]
        for key in ["history_size=1000", "history_ttl=5m", "recovery=true"]
    ),
]
FLAGS = [flag for setting in SETTINGS for flag in ("--set", setting)]


def token(**claims):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    text = b".".join(part(json.dumps(one).encode()) for one in [{"alg": "HS256"}, claims])
    key = SECRET["TIDEGATE_TOKEN_HMAC_SECRET"].encode()
    return (text + b"." + part(hmac.digest(key, text, hashlib.sha256))).decode()


def test_the_sdk_for_javascript_is_told_what_it_did_not_ask_for(gateway, node):
    started = gateway("--shards", "2", *FLAGS, environment=SECRET)
    arguments = ["flow", f"ws://{started.clients}", f"http://{started.admin}"]
    node("subscriptions.mjs", *arguments, environment=SECRET)


def test_after_a_killed_connection_each_message_arrives_once(gateway, node):
    started = gateway("--shards", "2", *FLAGS, environment=SECRET)
    arguments = ["recover", f"ws://{started.clients}", f"http://{started.admin}"]
    node("subscriptions.mjs", *arguments, environment=SECRET)
    metrics = started.metrics()
    assert metrics.total("tidegate_recovered_total") == 9
    assert metrics.total("tidegate_unrecovered_total") == 0


def test_the_sdk_for_python_recovers_and_is_steered(gateway):
    started = gateway("--shards", "2", *FLAGS, environment=SECRET)
    api = cent.Client(f"http://{started.admin}/api", "")

    def call(method, request):
        return asyncio.to_thread(getattr(api, method), request)

    def publish(channel, data):
        return call("publish", cent.PublishRequest(channel=channel, data=data))

    async def run():
        async with asyncio.timeout(PATIENCE_S):
            names = ["connecting", "connected", "subscribed", "publication", "join", "unsubscribed"]
            subs = {"chat:a": {"data": {"n": 1}, "info": "x"}}
            client, events = connect(started, *names, token=token(sub="ann", subs=subs))
            await client.connect()
            await events.next("connecting")
            await events.next("connected")
            told = [await events.next("subscribed") for _ in range(2)]
            told = {one.channel: one for one in told}
            assert set(told) == {"chat:a", "user:#ann"}
            assert told["chat:a"].data == {"n": 1} and told["user:#ann"].recoverable

            # A backend decides who sees the client, and what it sees itself.
            hidden = cent.ChannelOptionsOverride(
                presence=cent.BoolValue(value=False),
                join_leave=cent.BoolValue(value=False),
                force_push_join_leave=cent.BoolValue(value=True),
            )
            subscribe = cent.SubscribeRequest(user="ann", channel="chat:b", override=hidden)
            await call("subscribe", subscribe)
            assert (await events.next("subscribed")).channel == "chat:b"
            presence = cent.PresenceRequest(channel="chat:b")
            assert (await call("presence", presence)).presence == {}
            other, _ = connect(started, token=token(sub="bob"))
            await other.connect()
            bob = other.new_subscription("chat:b")
            await bob.subscribe()
            assert (await events.next("join")).info.user == "bob"
            shut = cent.SubscribeRequest(user="ann", channel="shut:x")
            await call("subscribe", shut)
            assert (await events.next("subscribed")).channel == "shut:x"

            # The connection ends and comes back: what was missed comes with it, and what it may not
            # have by itself is over.
            for channel in ["chat:a", "user:#ann", "chat:b", "shut:x"]:
                await publish(channel, 1)
                assert (await events.next("publication")).channel == channel
            gone = cent.Disconnect(code=3000, reason="again")
            await call("disconnect", cent.DisconnectRequest(user="ann", disconnect=gone))
            for channel in ["chat:a", "user:#ann", "chat:b", "shut:x"]:
                await publish(channel, 2)
            assert (await events.next("connecting")).code == 3000
            await events.next("connected")
            told = [await events.next("subscribed") for _ in range(3)]
            channels = {"chat:a", "user:#ann", "chat:b"}
            assert {one.channel for one in told} == channels
            assert all(one.was_recovering and one.recovered for one in told)
            again = [await events.next("publication") for _ in range(3)]
            assert {(one.channel, one.pub.data, one.pub.offset) for one in again} == {
                (channel, 2, 2) for channel in channels
            }
            assert (await events.next("unsubscribed")).channel == "shut:x"
            await other.disconnect()
            await client.disconnect()

    asyncio.run(run())
