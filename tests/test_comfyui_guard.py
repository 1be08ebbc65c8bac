"""Who may use the server that we start: by its headers, and then a real ComfyUI over HTTP and WebSocket."""

import http.client
import json

import pytest
import websocket
from comfyui_server import RealServer, pictures_of, slow, start_real_server

from kolors_course.comfyui.access import read_origin
from kolors_course.comfyui.guard import ANY, objection
from kolors_course.comfyui.server import stop_server
from kolors_course.errors import CourseError

HERE = "127.0.0.1:8188"
STRANGERS = [
    "evil.example",
    "evil.example:8188",
    "127.0.0.1.evil.example:8188",
    "localhost.evil.example",
    "evil.example.localhost.",
    "evillocalhost",
    "trycloudflare.com.evil.example",
    "eviltrycloudflare.com",
    "192.168.1.5:8188",
    "0.0.0.0:8188",
    "[::]:8188",
    "[fe80::1]:8188",
    "evil.example@127.0.0.1",
    "127.0.0.1@evil.example",
    "127.0.0.1/evil.example",
    "127.0.0.1, evil.example",
    "127.0.0.1:8188:80",
    "[127.0.0.1",
    "",
    " ",
]
FOREIGN = [
    "null",
    "http://evil.example",
    "https://evil.example:8188",
    "http://127.0.0.1.evil.example:8188",
    "http://127.0.0.1:9999",
    "http://localhost:8188",
    "http://127.0.0.1:8188@evil.example",
    "http://evil.example/127.0.0.1:8188",
    "file://",
    "file://127.0.0.1:8188",
    "chrome-extension://abcdef",
    "data:",
    "",
    "127.0.0.1:8188",
]


@pytest.mark.parametrize("host", STRANGERS)
def test_other_hosts_are_strangers(host):
    assert objection([host], [])
    assert objection([host], [f"http://{host}"]), "as a page that was rebound sends it"


@pytest.mark.parametrize(
    "host", [HERE, "127.0.0.1", "127.8.8.8:1", "localhost:9000", "LOCALHOST", "[::1]:8188"]
)
def test_this_machine_is_served(host):
    assert objection([host], []) is None
    assert objection([host], [f"http://{host}"]) is None
    assert objection([host], ["null"])


@pytest.mark.parametrize("origin", FOREIGN)
def test_foreign_pages_are_refused(origin):
    assert objection([HERE], [origin])
    assert objection(["hub.example"], [origin], {ANY})


def test_a_request_names_one_host_and_one_origin():
    assert objection([], [])
    assert objection([HERE, HERE], [])
    assert objection([HERE], [f"http://{HERE}", f"http://{HERE}"])


def test_a_proxy_is_served_where_it_is_welcome():
    assert "start --origin https://hub.example" in objection(["hub.example:443"], [])
    for origins in ([], ["https://hub.example"]):
        assert objection(["hub.example"], origins, {"hub.example"}) is None
        assert objection(["hub.example"], origins, {ANY}) is None
    assert objection([HERE], ["https://hub.example"], {"hub.example"}) is None, "proxies may change the host"
    assert objection(["hub.example"], ["https://evil.example"], {"hub.example"})
    assert objection(["evil.example"], [], {"hub.example"})
    assert objection(["hub.example"], ["https://hub.example:8443"], {ANY}) is None, (
        "proxies may drop the port"
    )


def test_a_tunnel_is_served():
    host = "four-random-words-here.trycloudflare.com"
    assert objection([host], [f"https://{host}"]) is None
    assert objection([host], ["https://other.trycloudflare.com"])
    assert objection([HERE], [f"https://{host}"])


def test_addresses_of_proxies():
    assert read_origin("https://Hub.example:8443/user/me/proxy/8188/") == (
        "https://hub.example:8443",
        "hub.example",
    )
    for text in (
        "",
        "*",
        "null",
        "hub.example",
        "ftp://hub.example",
        "https://",
        "https://a b",
        "https://x@y",
        "x" * 999,
    ):
        with pytest.raises(CourseError, match=r"--origin '.*' is no address of a page: write it like"):
            read_origin(text)


def ask(server: RealServer, method: str, path: str, headers: dict[str, str], body: str | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.server.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    for name, value in {**headers, "Content-Length": str(len(body or ""))}.items():
        connection.putheader(name, value)
    connection.endheaders(body.encode() if body else None)
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def opens(server: RealServer, host: str, origin: str | None) -> bool:
    """Whether a WebSocket opens, as it tells everybody of all runs."""
    options = {"origin": origin} if origin else {"suppress_origin": True}
    address = f"ws://127.0.0.1:{server.server.port}/ws"
    try:
        websocket.create_connection(address, timeout=10, host=host, **options).close()
    except websocket.WebSocketBadStatusException as error:
        if error.status_code == 403:
            return False
        raise
    return True


def headers_of(host: str, origin: str | None) -> dict[str, str]:
    return {"Host": host} | ({"Origin": origin} if origin else {})


CASES = [
    ("evil.example", None),
    ("evil.example:{port}", "http://evil.example:{port}"),
    ("127.0.0.1.evil.example:{port}", "http://127.0.0.1.evil.example:{port}"),
    ("127.0.0.1:{port}", "null"),
    ("127.0.0.1:{port}", "http://evil.example"),
    ("localhost:{port}", "null"),
]


@pytest.mark.parametrize(("host", "origin"), CASES)
def test_a_real_server_refuses_strangers(comfyui, host, origin):
    port = comfyui.server.port
    host, origin = host.format(port=port), origin and origin.format(port=port)
    before = comfyui.client.get("/history")
    for headers in (headers_of(host, origin), headers_of(host, origin) | {"Content-Type": "text/plain"}):
        assert ask(comfyui, "POST", "/prompt", headers, json.dumps({"prompt": slow("stolen")})) == 403
    for path in ("/", "/queue", "/api/queue", "/history", "/object_info", "/internal/logs", "/nowhere"):
        assert ask(comfyui, "GET", path, headers_of(host, origin)) == 403
    assert ask(comfyui, "OPTIONS", "/prompt", headers_of(host, origin)) == 403
    assert not opens(comfyui, host, origin)
    assert comfyui.client.get("/queue") == {"queue_running": [], "queue_pending": []}
    assert comfyui.client.get("/history") == before


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
def test_a_real_server_serves_its_own_page_and_programs(comfyui, name):
    host = f"{name}:{comfyui.server.port}"
    for origin in (None, f"http://{host}"):
        assert ask(comfyui, "GET", "/", headers_of(host, origin)) == 200
        assert ask(comfyui, "POST", "/interrupt", headers_of(host, origin), "{}") == 200
        assert opens(comfyui, host, origin)


def test_a_real_server_serves_a_proxy_that_was_named(tmp_path):
    """With a Host that goes through, as jupyter-server-proxy sends it, and with one that the proxy changed."""
    origin, name = read_origin("https://hub.example/user/me/")
    server = start_real_server(tmp_path, flags=("--enable-cors-header", origin), welcome=[name])
    try:
        for host in (name, f"127.0.0.1:{server.server.port}"):
            assert ask(server, "GET", "/", headers_of(host, None)) == 200
            assert ask(server, "POST", "/interrupt", headers_of(host, origin), "{}") == 200
            assert opens(server, host, origin)
            for stranger in ("null", "https://evil.example"):
                assert ask(server, "POST", "/interrupt", headers_of(host, stranger), "{}") == 403
                assert not opens(server, host, stranger)
        assert ask(server, "GET", "/", headers_of("evil.example", None)) == 403
        assert len(pictures_of(server.client, slow("mine", steps=1))) == 1
    finally:
        stop_server(tmp_path)
