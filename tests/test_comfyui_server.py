"""A real ComfyUI over HTTP and WebSocket: runs, refusals, failures, stops, kills, several clients at once."""

import io
import json
import threading
import urllib.error
import urllib.request

import psutil
import pytest
from comfyui_server import RealServer, pictures_of, slow, start_real_server
from pages import node, page
from PIL import Image

from kolors_course.comfyui.client import NodeProgress
from kolors_course.comfyui.server import running_server, start_server, stop_server
from kolors_course.comfyui.validate import find_problems
from kolors_course.errors import CourseError


@pytest.fixture
def server(comfyui: RealServer):
    """The shared server, which must have survived each test: it answers and has nothing left to do."""
    yield comfyui
    wait_until_idle(comfyui)
    queue = comfyui.client.get("/queue")
    assert queue == {"queue_running": [], "queue_pending": []}
    assert len(pictures_of(comfyui.client, slow("after", steps=1, pause=0))) == 1


def wait_until_idle(server):
    for _ in range(200):
        if not server.client.get("/queue")["queue_running"]:
            return
        threading.Event().wait(0.05)


def brightness(png: bytes) -> int:
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.size == (8, 8)
        return picture.getpixel((0, 0))[0]


def test_a_run_tells_its_steps_and_its_picture_carries_the_workflow(server):
    ui = page(node(1, "TestSlow", 3, 0.1, "abc"), node(2, "SaveImage", "abc"))
    events = list(server.client.run(slow("abc"), ui))
    steps = [event for event in events if isinstance(event, NodeProgress)]
    assert [(step.node, step.title, step.value, step.total) for step in steps] == [
        ("1", "TestSlow", value, 3) for value in (1, 2, 3)
    ]
    png = server.client.picture_bytes(events[-1])
    assert brightness(png) == 3
    text = Image.open(io.BytesIO(png)).text
    assert json.loads(text["prompt"]) == slow("abc")
    assert json.loads(text["workflow"]) == ui


def test_the_same_run_again_gives_the_same_picture(server):
    first, again = (pictures_of(server.client, slow("cached", steps=1)) for _ in range(2))
    assert first == again


REFUSED = [
    ({"1": {"class_type": "Gone", "inputs": {}}}, "node Gone does not exist", "no node type 'Gone'"),
    ({"1": {"class_type": "TestSlow", "inputs": {}}}, "no outputs", "input 'steps': it has no value"),
    (
        slow("a") | {"1": {"class_type": "TestSlow", "inputs": {}}},
        "'steps': Required input is missing",
        "no value",
    ),
    (slow("a", steps=0), "'steps': Value 0 smaller than min of 1", "'steps': 0 is less than 1"),
    (slow("a", steps="many"), "'steps': Failed to convert", "'many' is no whole number"),
    (
        slow("a") | {"1": {"class_type": "VAELoader", "inputs": {"vae_name": "../x"}}},
        "mismatch",
        "'../x' is none",
    ),
    ({"2": slow("a")["2"]}, "Exception when validating node", "linked to node 1, which does not exist"),
    (
        {
            "1": {"class_type": "ImageInvert", "inputs": {"image": ["3", 0]}},
            "3": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
            "2": slow("a")["2"],
        },
        "failed validation",  # all that the server says about a circle
        "1 'ImageInvert' -> 3 'ImageInvert' -> 1 'ImageInvert'",
    ),
]


@pytest.mark.parametrize(("api", "refusal", "finding"), REFUSED)
def test_what_the_server_refuses_the_validator_finds_and_names_better(server, api, refusal, finding):
    with pytest.raises(CourseError, match=refusal) as refused:
        list(server.client.run(api))
    assert len(str(refused.value).splitlines()) == 1
    assert any(finding in str(problem) for problem in find_problems(api, server.client.schemas()))


def test_one_bad_output_of_two_stops_all(server):
    api = slow("good") | {"3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}}
    with pytest.raises(
        CourseError, match="node 3 'SaveImage', input 'filename_prefix': Required input is missing"
    ):
        list(server.client.run(api))


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"prompt": 1}', b'{"prompt": {"1": 2}}'])
def test_malformed_bodies_leave_the_server_alive(server, body):
    request = urllib.request.Request(server.server.url + "/prompt", body)
    with pytest.raises(urllib.error.HTTPError, match="400|500"):
        urllib.request.urlopen(request, timeout=10)


def test_a_failing_node_is_named_with_its_reason(server):
    api = slow("a") | {
        "1": {"class_type": "TestFail", "inputs": {"message": "two\nlines"}, "_meta": {"title": "我的节点"}}
    }
    with pytest.raises(CourseError, match=r"^node 1 '我的节点' failed: two lines$"):
        list(server.client.run(api))


def test_leaving_a_run_stops_it_and_takes_a_waiting_one_from_the_queue(server):
    run = server.client.run(slow("long", steps=1000))
    assert isinstance(next(run), NodeProgress)
    waiting = server.client.run(slow("waiting", steps=1000))
    thread = threading.Thread(target=lambda: next(waiting, None))
    thread.start()
    while not server.client.get("/queue")["queue_pending"]:
        assert thread.is_alive()
    run.close()
    thread.join(timeout=20)  # it runs now, and has told a step
    waiting.close()


def test_a_run_that_somebody_stops_says_so(server):
    run = server.client.run(slow("stopped", steps=1000))
    next(run)
    server.client.post("/interrupt", {})
    with pytest.raises(CourseError, match="the run was stopped at node 1 'TestSlow'"):
        list(run)


def test_two_clients_at_once_get_their_own_pictures(server):
    labels = ["x" * length for length in range(10, 16)]
    results = {}

    def draw(label):
        results[label] = pictures_of(server.client, slow(label, steps=2))

    threads = [threading.Thread(target=draw, args=(label,)) for label in labels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert {label: [brightness(png) for png in pngs] for label, pngs in results.items()} == {
        label: [len(label)] for label in labels
    }


@pytest.mark.parametrize(
    "query",
    [
        "filename=../server.log",
        "filename=/etc/passwd",
        "filename=server.log&subfolder=..",
        "filename=server.json&subfolder=../&type=input",
        "filename=server.log&type=nowhere",
    ],
)
def test_files_outside_its_folders_are_not_served(server, query):
    with pytest.raises(urllib.error.HTTPError, match="400|403|404"):
        urllib.request.urlopen(f"{server.server.url}/view?{query}", timeout=10)


def test_pictures_are_not_saved_outside_the_output_folder(server):
    api = slow("a", pause=0)
    api["2"]["inputs"]["filename_prefix"] = "../../escaped"
    with pytest.raises(CourseError, match="node 2 'SaveImage' failed: .*outside the output folder"):
        list(server.client.run(api))
    assert not list(server.base.parent.rglob("escaped*"))


def test_pages_of_other_hosts_cannot_use_it(server):
    body = json.dumps({"prompt": slow("stolen")}).encode()
    request = urllib.request.Request(server.server.url + "/prompt", body, {"Origin": "https://example.org"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=10)


def test_only_this_machine_is_served(server):
    sockets = psutil.Process(server.server.pid).net_connections(kind="inet")
    assert {entry.laddr.ip for entry in sockets if entry.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def test_starting_again_finds_the_running_server(server):
    assert start_server(server.installation) == server.server
    with pytest.raises(CourseError, match="already runs"):
        start_server(server.installation, port=1)


def test_a_server_killed_in_mid_run_is_told_and_nothing_is_lost(tmp_path, comfyui):
    """Another server than the shared one, which takes another port by itself."""
    mine = start_real_server(tmp_path)
    assert mine.server.port != comfyui.server.port
    (png,) = pictures_of(mine.client, slow("kept"))
    run = mine.client.run(slow("lost", steps=1000))
    next(run)
    process = psutil.Process(mine.server.pid)
    process.kill()
    with pytest.raises(CourseError, match="went away in the middle of the run"):
        list(run)
    process.wait(timeout=30)  # its sockets close a moment before it is gone
    assert running_server(tmp_path) is None
    with pytest.raises(CourseError, match="no ComfyUI answers at .*: .*start one with"):
        list(mine.client.run(slow("lost")))
    assert [path.read_bytes() for path in (tmp_path / "output").glob("*.png")] == [png]
    again = start_real_server(tmp_path)
    assert len(pictures_of(again.client, slow("again"))) == 1
    assert stop_server(tmp_path)
    assert not stop_server(tmp_path)
    assert not again.client.answers()
