"""The HTTP API, driven by Centrifugo's own library for Python and held to its own description."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cent
import centrifuge
import pytest

import gateway as gateways
from sdk import Events, connect

PATIENCE_S = gateways.PATIENCE_S


def client_of(gateway, key=""):
    return cent.Client(f"http://{gateway.admin}/api", key)


def test_cent_asks_and_publishes(gateway):
    started = gateway("--dev", "--shards", "2")
    api = client_of(started)
    first = api.publish(cent.PublishRequest(channel="news", data={"n": 1}, tags={"a": "b"}))
    assert first.offset == 1 and len(first.epoch) == 8
    again = cent.PublishRequest(channel="news", data={"n": 2}, idempotency_key="k")
    assert api.publish(again) == api.publish(again)
    assert api.publish(again).offset == 2
    skipped = cent.PublishRequest(channel="news", data={"n": 3}, skip_history=True)
    assert api.publish(skipped).offset == 0
    everywhere = api.broadcast(cent.BroadcastRequest(channels=["news", "a:b"], data=4))
    assert [one.result.offset for one in everywhere.responses] == [3, 1]

    history = api.history(cent.HistoryRequest(channel="news", limit=-1))
    assert [one.data for one in history.publications] == [{"n": 1}, {"n": 2}, 4]
    assert history.publications[0].tags == {"a": "b"}
    assert (history.offset, history.epoch) == (3, first.epoch)
    since = cent.StreamPosition(offset=1, epoch=first.epoch)
    page = api.history(cent.HistoryRequest(channel="news", limit=1, since=since))
    assert [one.offset for one in page.publications] == [2]
    newest = api.history(cent.HistoryRequest(channel="news", limit=1, reverse=True))
    assert [one.offset for one in newest.publications] == [3]
    assert not api.history(cent.HistoryRequest(channel="news")).publications
    since = cent.StreamPosition(offset=1, epoch="elsewise")
    with pytest.raises(cent.CentApiResponseError) as refused:
        api.history(cent.HistoryRequest(channel="news", limit=1, since=since))
    assert refused.value.code == 112
    api.history_remove(cent.HistoryRemoveRequest(channel="news"))
    emptied = api.history(cent.HistoryRequest(channel="news", limit=-1))
    assert (emptied.publications, emptied.offset) == ([], 3)

    batch = cent.BatchRequest(
        requests=[
            cent.PublishRequest(channel="news", data=5),
            cent.HistoryRequest(channel="news", limit=1),
            cent.InfoRequest(),
        ]
    )
    published, page, info = api.batch(batch).replies
    assert published.offset == 4 and page.publications[0].data == 5
    assert info.nodes[0].uid == api.info(cent.InfoRequest()).nodes[0].uid


def test_a_stale_version_is_not_delivered(gateway):
    started = gateway("--dev")
    for version, offset in [(2, 1), (1, 1), (2, 1), (3, 2)]:
        status, text = started.post(
            "/api/publish", {"channel": "a", "data": version, "version": version}
        )
        assert status == 200 and json.loads(text)["result"]["offset"] == offset, text


def test_cent_asks_who_is_there_and_steers_clients(gateway):
    started = gateway("--dev", "--shards", "2")
    api = client_of(started)

    def call(method, request):
        return asyncio.to_thread(getattr(api, method), request)

    async def run():
        async with asyncio.timeout(PATIENCE_S):
            client, events = connect(
                started, "subscribed", "publication", "unsubscribed", "connecting", "disconnected"
            )
            connected = Events("connected")
            events.on_connected = connected.on_connected
            await client.connect()
            await events.next("connecting")
            me = (await connected.next("connected")).client
            subscription_events = Events("unsubscribed")
            news = client.new_subscription("news", events=subscription_events)
            await news.subscribe()
            await news.ready()

            presence = await call("presence", cent.PresenceRequest(channel="news"))
            assert list(presence.presence) == [me] and presence.presence[me].client == me
            stats = await call("presence_stats", cent.PresenceStatsRequest(channel="news"))
            assert (stats.num_clients, stats.num_users) == (1, 1)
            info = (await call("info", cent.InfoRequest())).nodes[0]
            assert (info.num_clients, info.num_subs, info.num_channels) == (1, 1, 1)
            assert info.num_users == 1

            await call("unsubscribe", cent.UnsubscribeRequest(user="", client=me, channel="news"))
            assert (await subscription_events.next("unsubscribed")).code == 2000

            # As soon as the call is answered, what is published arrives.
            publish = cent.PublishRequest(channel="told", data=0)
            epoch = (await call("publish", publish)).epoch
            since = cent.StreamPosition(offset=0, epoch=epoch)
            for channel in ["told", "plain:1", "plain:2", "plain:3"]:
                subscribe = cent.SubscribeRequest(
                    user="",
                    client=me,
                    channel=channel,
                    info={"role": "guest"},
                    data={"why": [1]},
                    recover_since=since if channel == "told" else None,
                )
                await call("subscribe", subscribe)
                await call("subscribe", subscribe)
                await call("publish", cent.PublishRequest(channel=channel, data=channel))
                told = await events.next("subscribed")
                assert (told.channel, told.data) == (channel, {"why": [1]})
                expected = [0, channel] if channel == "told" else [channel]
                for data in expected:
                    got = await events.next("publication")
                    assert (got.channel, got.pub.data) == (channel, data)
            presence = await call("presence", cent.PresenceRequest(channel="told"))
            assert presence.presence[me].chan_info == {"role": "guest"}
            found = await call("channels", cent.ChannelsRequest(pattern="plain:*"))
            assert {n: c.num_clients for n, c in found.channels.items()} == {
                f"plain:{n}": 1 for n in [1, 2, 3]
            }
            assert "told" in (await call("channels", cent.ChannelsRequest())).channels
            await call("unsubscribe", cent.UnsubscribeRequest(user="", client=me, channel="told"))
            assert (await events.next("unsubscribed")).channel == "told"

            # Another user, another client, a spared client: nothing happens.
            for request in [
                cent.DisconnectRequest(user="nobody"),
                cent.DisconnectRequest(user="nobody", client=me),
                cent.DisconnectRequest(user="", client="nonsense"),
                cent.DisconnectRequest(user="", client=me, whitelist=[me]),
                cent.RefreshRequest(user="", client=me),
            ]:
                if isinstance(request, cent.RefreshRequest):
                    await call("refresh", request)
                else:
                    await call("disconnect", request)
            assert (await call("info", cent.InfoRequest())).nodes[0].num_clients == 1
            await call("refresh", cent.RefreshRequest(user="", client=me, expired=True))
            assert (await events.next("connecting")).code == 3005
            me = (await connected.next("connected")).client
            # What backends gave the old connection the new one keeps: the client could have
            # subscribed to it by itself.
            kept = {(await events.next("subscribed")).channel for _ in range(3)}
            assert kept == {f"plain:{n}" for n in [1, 2, 3]}
            why = cent.Disconnect(code=4501, reason="enough")
            await call("disconnect", cent.DisconnectRequest(user="", client=me, disconnect=why))
            gone = await events.next("disconnected")
            assert (gone.code, gone.reason) == (4501, "enough")

    asyncio.run(run())


def test_users_are_meant_by_the_name_in_their_tokens(gateway):
    secret = {"TIDEGATE_TOKEN_HMAC_SECRET": "2b7e151628aed2a6abf7158809cf4f3c"}
    settings = ["channel.allow_subscribe=user", "channel.presence=true"]
    flags = [flag for setting in settings for flag in ("--set", setting)]
    started = gateway("--shards", "2", *flags, environment=secret)
    api = client_of(started)

    def token(user):
        command = [gateways.binary(), "token", "--user", user]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=os.environ | secret
        )
        return done.stdout.strip()

    def call(method, request):
        return asyncio.to_thread(getattr(api, method), request)

    async def run():
        async with asyncio.timeout(PATIENCE_S):
            clients = []
            for user in ["ann", "ann", "bob"]:
                names = ["connecting", "connected", "subscribed", "unsubscribed", "disconnected"]
                client, events = connect(started, *names, token=token(user))
                await client.connect()
                await events.next("connecting")
                await events.next("connected")
                clients.append(events)
            first, second, bob = clients
            info = (await call("info", cent.InfoRequest())).nodes[0]
            assert (info.num_clients, info.num_users) == (3, 2)
            ends = int(time.time()) + 2
            for user, expire_at in [("ann", None), ("bob", ends)]:
                subscribe = cent.SubscribeRequest(user=user, channel="news", expire_at=expire_at)
                await call("subscribe", subscribe)
            stats = await call("presence_stats", cent.PresenceStatsRequest(channel="news"))
            assert (stats.num_clients, stats.num_users) == (3, 2)
            for events in clients:
                assert (await events.next("subscribed")).channel == "news"
            # Its subscription has ended: it comes back without it.
            assert (await bob.next("connecting")).code == 3006
            await bob.next("connected")
            assert (await bob.next("unsubscribed")).channel == "news"
            await call("unsubscribe", cent.UnsubscribeRequest(user="ann", channel="news"))
            await call("disconnect", cent.DisconnectRequest(user="ann"))
            for events in [first, second]:
                assert (await events.next("unsubscribed")).channel == "news"
                assert (await events.next("disconnected")).code == 3503
            await call("refresh", cent.RefreshRequest(user="bob", expire_at=ends))
            assert (await bob.next("connecting")).code == 3005
            await bob.next("connected")
            assert bob.queue.empty()

    asyncio.run(run())


def test_the_key_is_taken_in_three_ways(gateway, tmp_path):
    key = tmp_path / "key"
    key.write_text("open-sesame")
    key.chmod(0o600)
    started = gateway("--set", f"server.api_key_file={key}")
    api = client_of(started, "open-sesame")
    assert api.info(cent.InfoRequest()).nodes[0].num_clients == 0
    with pytest.raises(cent.CentUnauthorizedError):
        client_of(started, "wrong").info(cent.InfoRequest())
    for path, headers, expected in [
        ("/api/info", {"authorization": "apikey open-sesame"}, 200),
        ("/api/info?api_key=open%2Dsesame", {}, 200),
        ("/api/info", {}, 401),
    ]:
        assert started.post(path, {}, headers)[0] == expected, (path, headers)


@pytest.mark.parametrize("mode", ["body", "transport"])
def test_schemathesis_finds_no_fault(gateway, mode):
    """With errors in the body too, what the description forbids is answered with status 200."""
    started = gateway("--dev", "--shards", "2")
    schemathesis = Path(sys.executable).with_name("st")
    assert schemathesis.is_file(), "there is no schemathesis; run: scripts/tools"
    config = Path(__file__).with_name("schemathesis.toml")
    command = [schemathesis, "--config-file", config, "run", f"http://{started.admin}/api/openapi.json"]
    command += ["--max-examples=25", "--seed=1", "--max-time=20", "--generation-database=none"]
    # Limits count bytes, the description characters.
    command += ["--generation-codec=ascii"]
    if mode == "transport":
        command += ["-H", "X-Centrifugo-Error-Mode: transport"]
    else:
        command += ["--exclude-checks=negative_data_rejection"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"NO_PROXY": "*"}
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
