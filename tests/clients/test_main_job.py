"""Hazard: the main job works with our own clients only, or with --dev only."""

import asyncio

import pytest
import websockets

import gateway as gateways
import main_job
import wire

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}

KEY = "a-key-for-tests"


def test_websockets_of_python_echoes(gateway):
    asyncio.run(main_job.python_echoes(gateway("--dev")))


def test_websockets_of_python_receives_what_curl_publishes(gateway):
    asyncio.run(main_job.python_receives(gateway("--dev", *gateways.ANY_BYTES)))


def test_websockets_of_python_publishes(gateway):
    asyncio.run(main_job.python_publishes(gateway("--dev", *gateways.ANY_BYTES)))


def test_ws_of_node_does_the_main_job(gateway, node):
    started = gateway("--dev", *gateways.ANY_BYTES)
    node("main_job.mjs", f"ws://{started.clients}", started.admin)


@pytest.fixture
def configured(gateway, tmp_path):
    """A gateway without --dev: what it allows stands in its file, its key in a file of its own."""
    key = tmp_path / "key"
    key.write_text(KEY + "\n")
    key.chmod(0o600)
    file = tmp_path / "tidegate.toml"
    file.write_text(
        f"""
        [server]
        api_key_file = "{key}"
        drain = 0
        origins = ["https://app.example"]
        [echo]
        enabled = true
        [channel]
        allow_subscribe = "anyone"
        allow_publish = "anyone"
        publication_format = "binary"
        [namespace.public]
        allow_subscribe = "anyone"
        [namespace.secret]
        """
    )
    return gateway("--config", str(file))


def test_the_main_job_works_by_configuration(configured, node):
    main_job.do_everything(configured, node, [f"X-API-Key: {KEY}"])
    answer = main_job.curl_publish(
        configured, '{"channel":"news","data":1}', [f"Authorization: apikey {KEY}"]
    )
    assert answer[0] == 200


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/raw?channel=secret:a", {}, 403),
        ("/raw?channel=news&channel=unknown:a", {}, 403),
        ("/raw?channel=public:a&publish=1", {}, 403),
        ("/raw?channel=news", {"Origin": "https://evil.example"}, 403),
        ("/raw", {}, 400),
        ("/raw?channel=", {}, 400),
        ("/raw?channel=" + "n" * 256, {}, 400),
        ("/raw?channel=%FF", {}, 400),
        ("/raw?" + "&".join(f"channel=public:{n}" for n in range(129)), {}, 400),
        ("/nothing", {}, 404),
        ("/", {}, 404),
    ],
)
def test_a_refused_upgrade_says_why_before_the_101(configured, path, headers, status):
    got, text = configured.get(path, configured.clients, UPGRADE | headers)
    assert got == status and text.strip(), text

    async def real_client():
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with main_job.open_socket(configured, path, additional_headers=headers):
                pass
        assert refused.value.response.status_code == status

    asyncio.run(real_client())


def test_a_plain_get_on_a_socket_path_is_426_with_a_text(configured):
    for path in ["/raw?channel=news", "/echo"]:
        status, text = configured.get(path, configured.clients)
        assert status == 426 and "WebSocket" in text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-API-Key": "wrong"}, 401),
        ({"Authorization": f"Bearer {KEY}"}, 401),
        ({"X-API-Key": KEY, "content-type": "text/plain"}, 415),
        ({"X-API-Key": KEY, "content-type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_a_refused_publish_publishes_nothing(configured, headers, status):
    got, text = configured.post("/api/publish", {"channel": "news", "data": 1}, headers)
    assert got == status and text.strip(), text
    assert configured.metrics().total("tidegate_publications_total") == 0


def test_unreadable_json_is_400_and_says_where(configured):
    status, text = configured.post("/api/publish", b'{"channel": news}', {"X-API-Key": KEY})
    assert status == 400 and "line 1 column 14" in text


def test_without_a_key_no_web_page_drives_the_api(gateway):
    started = gateway("--dev")
    body = {"channel": "news", "data": 1}
    for headers, status in [
        ({"Host": "rebound.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({}, 200),
    ]:
        got, text = started.post("/api/publish", body, headers)
        assert got == status, (headers, text)


def test_a_channel_granted_by_pattern_is_served(configured):
    async def run():
        async with asyncio.timeout(10):
            subscriber = await wire.connect(configured.clients, "/raw?channel=public:a")
            publish = asyncio.to_thread(configured.publish, "public:a", 7, {"X-API-Key": KEY})
            await publish
            await subscriber.wait_for_bytes(3)
            assert wire.messages(subscriber.frames()) == ["7"]
            subscriber.close()

    asyncio.run(run())
