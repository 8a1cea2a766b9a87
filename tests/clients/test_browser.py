"""Hazard: a browser does what no library does: pages, origins, and a person who looks at them."""

import contextlib
import http.server
import json
import threading

import gateway as gateways


@contextlib.contextmanager
def page_on_another_port(socket_url):
    """Serves a page that connects to `socket_url` and tells in its title what became of it."""
    page = f"""<!doctype html><title>connecting</title><script>
        const socket = new WebSocket({json.dumps(socket_url)});
        socket.onmessage = (event) => {{ document.title = "received " + event.data; }};
        socket.onopen = () => socket.send('"hello"');
        socket.onclose = (event) => {{ document.title = "closed " + event.code; }};
    </script>""".encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_demo_page_connects_shows_and_publishes(gateway, browse):
    started = gateway("--dev", *gateways.ANY_BYTES)
    gateways.CACHE.mkdir(exist_ok=True)
    page = f"http://{started.clients}/"
    result = browse("demo", page, started.admin, gateways.CACHE)
    assert result["complaints"] == []
    assert result["status"] == "connected to news"
    expected = ["3 bytes of binary data", '"hello from the page"', '{"n":1}']
    assert result["messages"] == expected, "newest first"
    assert result["widths"] == {"desktop": 1280, "phone": 375}, "nothing sticks out sideways"
    assert started.metrics().total("tidegate_publications_total") == 3


def test_the_example_chats_between_two_windows(gateway, browse):
    started = gateway("--dev")
    page = gateways.REPOSITORY / "examples/centrifuge/chat.html"
    result = browse("sdk", f"{page.as_uri()}?server={started.clients}")
    assert result["complaints"] == []
    assert result["lines"] == ["left", " hello over there", "came", "came"]


def test_a_page_from_another_port_is_taken_with_dev(gateway, browse):
    started = gateway("--dev")
    with page_on_another_port(started.url("/raw?channel=news&publish=1")) as page:
        result = browse("foreign", page)
    assert result["title"] == 'received "hello"'


def test_a_page_from_another_port_is_refused_without_dev(gateway, browse):
    allow = ["--set", "channel.allow_subscribe=anyone", "--set", "channel.allow_publish=anyone"]
    started = gateway(*allow, "--drain", "0")
    with page_on_another_port(started.url("/raw?channel=news&publish=1")) as page:
        result = browse("foreign", page)
    assert result["title"] == "closed 1006"
    (line,) = started.stderr.wait_for("another origin")
    assert page in line and started.clients in line, "the line names origin and host"
    assert f'origins = ["{page}"] under [server]' in line, "and the key to set"


def test_a_page_whose_origin_is_listed_is_taken(gateway, browse):
    allow = ["--set", "channel.allow_subscribe=anyone", "--set", "channel.allow_publish=anyone"]
    with contextlib.ExitStack() as stack:
        # The page needs the gateway's address and the gateway the page's: a first gateway finds a
        # free port for the second.
        first = gateway(*allow, "--drain", "0")
        first.stop()
        url = f"ws://{first.clients}/raw?channel=news&publish=1"
        page = stack.enter_context(page_on_another_port(url))
        gateway(*allow, "--drain", "0", "--listen", first.clients, "--set", f"server.origins={page}")
        result = browse("foreign", page)
    assert result["title"] == 'received "hello"'
