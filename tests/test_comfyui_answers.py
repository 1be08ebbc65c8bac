"""The client against servers that answer badly: one clear line each, in bounded time and memory."""

import json
import random
import struct

import pytest
from comfyui_stand_in import RUN, Answers, Raw, event, frame, stand_in
from command_line import refused, tree
from pages import good_api

from kolors_course.cli import main
from kolors_course.comfyui import client as client_module
from kolors_course.comfyui import connection
from kolors_course.comfyui.client import ComfyClient, Picture
from kolors_course.errors import CourseError

HTML = (200, "text/html", b"<html><body>It works!</body></html>")
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(client_module, "QUIET", 0.1)
    monkeypatch.setattr(client_module, "STOP_ATTEMPTS", 1)
    monkeypatch.setattr(connection, "ANSWER_LIMIT", 100_000)


@pytest.fixture
def workflow(tmp_path):
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(good_api()), encoding="utf-8")
    return path


def run(answers: Answers, timeout: float = 5) -> list:
    with stand_in(answers) as url:
        client = ComfyClient(url, timeout)
        client.schemas()
        events = list(client.run(good_api()))
        return events + [client.picture_bytes(event) for event in events if isinstance(event, Picture)]


def test_good_answers_are_understood(workflow, tmp_path, capsys):
    step, preview, picture, data = run(Answers())
    assert (step.node, step.title, step.value, step.total) == ("3", "Sample", 1, 2)
    assert preview.data == data
    assert picture == Picture("4", "a.png", "", "output")
    with stand_in(Answers()) as url:
        assert main(["comfyui", "run", str(workflow), "--server", url, "-o", str(tmp_path / "out")]) == 0
    assert tree(tmp_path / "out") == {"a.png"}


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("localhost", "does not begin with http://"),
        ("localhost:8188", "does not begin with http://"),
        ("", "plain ASCII"),
        ("http://", "does not begin with http:// and a host"),
        ("ftp://127.0.0.1", "does not begin with http://"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("http://127.0.0.1:70000", "Port out of range"),
        ("http://127.0.0.1:0", "there is no port 0"),
        ("http://127.0.0.1:-1", "Port"),
        ("http://127.0.0.1:http", "Port could not be cast"),
        ("http://127.0.0.1:8188 ", "no spaces"),
        ("http://127.0.0.1\r\nX: y", "no spaces"),
        ("http://例え.jp", "plain ASCII"),
        ("http://me:secret@127.0.0.1", "a host, a port and a path only"),
        ("http://127.0.0.1/?a=b", "a host, a port and a path only"),
        ("http://127.0.0.1/#top", "a host, a port and a path only"),
        ("http://" + "a" * 64 + ".example", "label"),
        ("http://a..b", "label"),
        ("x" * 10_000, "does not begin with http://"),
    ],
)
def test_what_is_no_address_is_said_so(address, reason, workflow, tmp_path, capsys):
    line = refused(capsys, "comfyui", "run", workflow, "--server", address, "-o", tmp_path / "out")
    assert reason in line
    assert "is no address of a server" in line
    assert "write it like http://127.0.0.1:8188" in line
    assert len(line) < 400


BAD_HTTP = [
    ("/object_info", HTML, "no JSON, it begins with '<html>"),
    ("/object_info", (200, "application/json", b'{"Load": {"inp'), "no JSON"),
    ("/object_info", (200, "application/json", b"\xff\xfe\x00"), "no JSON"),
    ("/object_info", (200, "application/json", b"[" * 90_000), "no JSON"),
    ("/object_info", (200, "application/json", b"9" * 9_000), "no"),
    ("/object_info", (200, "application/json", b""), "no JSON"),
    ("/object_info", [], "list of node types is damaged"),
    ("/object_info", {}, "the shape of ComfyUI's"),
    ("/object_info", {"Load": 3}, "list of node types is damaged at Load"),
    ("/object_info", {"Load": {"input": {"required": 5}}}, "list of node types is damaged at Load.input"),
    ("/object_info", (302, "text/html", b""), "302"),
    ("/object_info", (401, "text/plain", b"log\nin \x1b[31mfirst"), "401 Unauthorized: log in ?[31mfirst"),
    ("/object_info", (500, "text/html", b"oops"), "500"),
    (
        "/object_info",
        Raw((b"HTTP/1.1 302 Found\r\nLocation: https://other.example/in\r\n\r\n",)),
        "leads on to https",
    ),
    ("/object_info", Raw((OK + b"Content-Length: 99\r\n\r\n{}",)), "cut off"),
    ("/object_info", Raw((OK + b"Content-Length: 99999999999\r\n\r\n{}",)), "more than"),
    ("/object_info", Raw((OK + b"\r\n", b" " * 200_000)), "more than"),
    ("/object_info", Raw((OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}",)), "IncompleteRead"),
    ("/object_info", Raw((OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}",)), "no ComfyUI answers"),
    ("/object_info", Raw((OK + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00",)), "no JSON"),
    ("/object_info", Raw((b"",)), "closed connection"),
    ("/object_info", Raw((b"SSH-2.0-OpenSSH_9.2\r\n",)), "SSH-2.0"),
    ("/object_info", Raw((b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n",)), "header line"),
    ("/object_info", Raw((b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",)), "100 headers"),
    ("/object_info", Raw((OK, b"X: ", *[b"y"] * 900), pause=0.02), "too long"),
    ("/object_info", Raw((OK + b"Content-Length: 900\r\n\r\n", *[b" "] * 900), pause=0.02), "too long"),
    ("/object_info", Raw((OK, b""), pause=1), "timed out"),
    ("/prompt", HTML, "no JSON"),
    ("/prompt", {"prompt_id": 5, "node_errors": {}}, "the shape of ComfyUI's"),
    ("/prompt", [RUN], "the shape of ComfyUI's"),
    ("/prompt", (400, "application/json", b"no"), "no JSON"),
    ("/prompt", (400, "application/json", [1]), "does not say why"),
    ("/prompt", (400, "application/json", {"error": "text", "node_errors": []}), "does not say why"),
    (
        "/prompt",
        (400, "application/json", {"node_errors": {"77": {"errors": [{"message": 5}]}}}),
        "node 77 '?': 5",
    ),
    ("/prompt", (500, "text/plain", b"500 Internal Server Error"), "refused /prompt: 500"),
    ("/prompt", {"prompt_id": RUN, "node_errors": {"3": {"errors": [{"message": "x" * 9_000}]}}}, "xxx..."),
    ("/history", {RUN: 5}, "the shape of ComfyUI's"),
    ("/history", {RUN: {"outputs": [], "status": {}}}, "the shape of ComfyUI's"),
    ("/history", {}, "has forgotten this run"),
    ("/history", [], "the shape of ComfyUI's"),
    (
        "/history",
        {RUN: {"outputs": {"4": {"images": [7]}}, "status": {"messages": []}}},
        "the picture of node 4",
    ),
    ("/view", HTML, "is no picture, but 35 bytes of text/html"),
    ("/view", (200, "image/png", b""), "is no picture, but 0 bytes"),
    (
        "/view",
        Raw((b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\nab",)),
        "cut off",
    ),
    ("/view", (404, "text/plain", b""), "refused /view: 404"),
]


@pytest.mark.parametrize(("path", "answer", "reason"), BAD_HTTP)
def test_bad_answers_are_one_line(path, answer, reason):
    answers = Answers()
    answers.http[path] = answer
    timeout = 0.1 if isinstance(answer, Raw) and answer.pause else 5
    with pytest.raises(CourseError) as error:
        run(answers, timeout)
    check_line(str(error.value), reason)


def check_line(line: str, reason: str) -> None:
    assert reason in line
    assert line.isprintable()
    assert len(line) < 900


OVER = event("executing", node=None)
BAD_EVENTS = [
    (["<html>"], "no JSON, it begins with '<html>'"),
    (["{" * 60_000], "no JSON"),
    ([event("execution_error")], "node None 'None' failed: None"),
    (
        [event("execution_error", node_id="3", exception_message="a\nb\x1b[2J")],
        "node 3 'Sample' failed: a b?[2J",
    ),
    ([event("execution_error", node_id=["3"], exception_message={"a": 1})], "failed: {'a': 1}"),
    ([event("execution_interrupted", node_id="2")], "the run was stopped at node 2 '提示词'"),
    ([], "went away in the middle of the run"),
    ([Raw((b"\x88\x00",))], "went away in the middle of the run"),  # it closes in good manners
    ([Raw((frame("x" * 90)[:40],))], "went away in the middle of the run"),
    ([Raw((b"\xf1\x00",))], "went away in the middle of the run (rsv"),
    ([Raw((b"\x81\x02\xff\xfe",))], "went away in the middle of the run"),  # text that is not UTF-8
    (
        [Raw((b"\x89\x7e\x01\x00" + b"x" * 256,))],
        "went away in the middle of the run",
    ),  # a ping that is too long
    (
        [Raw((b"\x82\x7f" + struct.pack(">Q", 1 << 62), b"x" * 150_000))],
        "a message of more than 100000 bytes",
    ),
    ([Raw((b"\x02\x7e\xff\x00" + b"x" * 0xFF00, b"\x00\x7e\xff\x00" + b"x" * 0xFF00))], "more than"),
    ([OVER[:-1]], "no JSON"),
]


@pytest.mark.parametrize(("events", "reason"), BAD_EVENTS)
def test_bad_events_are_one_line(events, reason):
    answers = Answers(events=events)
    answers.http["/queue"]["queue_running"] = [[1, RUN]]
    with pytest.raises(CourseError) as error:
        run(answers)
    check_line(str(error.value), reason)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\0\0\0\1",
        b"\0\0\0\1\0\0\0\2",
        b"\0\0\0\3text for a node",
        b"\xff" * 50,
        "null",
        "5",
        "[]",
        '"text"',
        "{}",
        '{"type": 1, "data": {"prompt_id": "run-1"}}',
        '{"type": "progress", "data": 5}',
        '{"type": "executing", "data": {"node": null}}',
        event("progress"),
        event("progress", node=[], value=1, max=2),
        event("progress", node="3", value="1", max=2),
        '{"type": "progress", "data": {"prompt_id": "run-1", "node": "3", "value": NaN, "max": 1e999}}',
        event("progress_state", nodes=7),
        event("executing"),
        event("executed", node="4", output=None),
        event("unheard_of", node="\ud800"),
    ],
)
def test_events_that_say_nothing_of_the_run_are_passed_over(message):
    step, _, picture, _ = run(Answers(events=[message, *Answers().events]))
    assert (step.node, picture.filename) == ("3", "a.png")


def test_the_end_of_a_run_is_found_where_its_message_is_lost_among_others():
    others = Raw((frame(json.dumps({"type": "crystools.monitor", "data": {}})),) * 30, pause=0.02)
    answers = Answers(events=[event("progress", node="3", value=1, max=2), others])
    assert run(answers)[-2] == Picture("4", "a.png", "", "output")
    del answers.http["/history"][RUN]
    with pytest.raises(CourseError, match="no longer knows this run"):
        run(answers)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "opens no WebSocket (status 200)"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 99999999\r\n\r\n", "no ComfyUI answers"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://other.example/\r\n\r\n", "no ComfyUI answers"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "no ComfyUI answers"),
        (
            b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
            "no ",
        ),
        (b"HTTP/1.1 101 X\r\nSet-Cookie: a[b]=c; \xc3\xa9\r\n\r\n", "no ComfyUI answers"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "no ComfyUI answers"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no ComfyUI answers"),
        (b"\xff\xff\r\n\r\n", "no ComfyUI answers"),
        (b"\r\n", "opens no WebSocket (status None)"),
        (b"", "no ComfyUI answers"),
    ],
)
def test_what_is_no_websocket_is_one_line(answer, reason):
    with pytest.raises(CourseError) as error:
        run(Answers(socket=Raw((answer,))))
    check_line(str(error.value), reason)


def test_a_handshake_in_drops_has_an_end():
    with pytest.raises(CourseError, match="no ComfyUI answers"):
        run(Answers(socket=Raw((b"x",) * 900, pause=0.05)), timeout=0.2)


@pytest.mark.parametrize(
    "answer", [HTML, Raw((b"",)), {"queue_running": 5}, {"queue_running": [1], "queue_pending": []}]
)
def test_the_first_error_is_told_where_stopping_fails_too(answer):
    answers = Answers(events=["<html>"])
    answers.http["/queue"] = answer
    with pytest.raises(CourseError, match="no JSON, it begins with '<html>'"):
        run(answers)


@pytest.mark.parametrize("answer", [HTML, [], 5, "system", None, (500, "text/plain", b"")])
def test_another_program_is_not_taken_for_a_comfyui(answer):
    answers = Answers()
    answers.http["/system_stats"] = answer
    with stand_in(answers) as url:
        assert not ComfyClient(url).answers()


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["../../x.png"], {"x.png"}),
        ([".."], {"picture.png"}),
        ([""], {"picture.png"}),
        (["..\\..\\x.png"], {"x.png"}),
        ([".bashrc"], {"bashrc"}),
        (["a\0b\n\x1b.png", "c:d?.png"], {"a_b__.png", "c_d_.png"}),
        (["x" * 300 + ".png"], {"x" * 156 + ".png"}),
        (["a.png", "sub/a.png", "a.png"], {"a.png", "a-2.png", "a-3.png"}),
        (["猫，狗 (1).png"], {"猫，狗 (1).png"}),
    ],
)
def test_a_server_does_not_choose_where_a_picture_goes(names, files, workflow, tmp_path):
    answers = Answers()
    answers.http["/history"][RUN]["outputs"] = {"4": {"images": [{"filename": name} for name in names]}}
    with stand_in(answers) as url:
        assert main(["comfyui", "run", str(workflow), "--server", url, "-o", str(tmp_path / "out")]) == 0
    assert tree(tmp_path / "out") == files


def test_half_a_character_in_a_name_is_one_line(workflow, tmp_path, capsys):
    answers = Answers()
    answers.http["/history"][RUN]["outputs"]["4"]["images"][0]["filename"] = "\ud800.png"
    with stand_in(answers) as url:
        line = refused(capsys, "comfyui", "run", workflow, "--server", url, "-o", tmp_path / "out")
    assert "the name of a picture" in line
    assert tree(tmp_path / "out") == set()


JUNK = (None, True, -1, 2.5, "", "text", [], [[]], {}, {"a": None})


def mutated(value, random: random.Random):
    """`value` with one part of it, at any depth, replaced by junk or taken out."""
    if not isinstance(value, dict | list) or not value or random.random() < 0.2:
        return random.choice(JUNK)
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = random.choice(keys)
    copy = value.copy()
    if random.random() < 0.2:
        del copy[key]
    else:
        copy[key] = mutated(value[key], random)
    return copy


def test_mutations_of_good_answers_give_pictures_or_one_line():
    """Parts of good answers replaced, bytes of good events changed: the outcome is never anything else."""
    dice = random.Random(11)
    outcomes = {"pictures": 0, "errors": 0}
    answers = Answers()
    good = answers.http.copy()
    with stand_in(answers) as url:
        client = ComfyClient(url, timeout=2)
        for _ in range(400):
            answers.http.update(good)
            answers.events = Answers().events
            answers.asked.clear()
            path = dice.choice(["/prompt", "/queue", "/history", "/object_info", "events"])
            if path == "events":
                place = dice.randrange(len(answers.events))
                answers.events[place] = mutated_event(answers.events[place], dice)
            else:
                answers.http[path] = mutated(good[path], dice)
            try:
                if path == "/object_info":
                    client.schemas()
                list(client.run(good_api()))
                outcomes["pictures"] += 1
            except CourseError as error:
                check_line(str(error), "")
                outcomes["errors"] += 1
    assert min(outcomes.values()) > 50, outcomes


def mutated_event(message: str | bytes, random: random.Random):
    if isinstance(message, str) and random.random() < 0.7:
        return json.dumps(mutated(json.loads(message), random))
    data = bytearray(message.encode() if isinstance(message, str) else message)
    for _ in range(random.randrange(1, 4)):
        data[random.randrange(len(data))] = random.randrange(256)
    return data.decode("latin-1") if isinstance(message, str) else bytes(data)
