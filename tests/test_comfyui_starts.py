"""Servers of one folder under every order of starts, stops, kills and borrowings; a program that starts at once."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack

import psutil
import pytest
from comfyui_fake import ENDS, HANGS, SERVES, fake_installation
from comfyui_stand_in import Answers, stand_in
from command_line import refused

from kolors_course.comfyui import lookup
from kolors_course.comfyui import server as module
from kolors_course.comfyui.client import ComfyClient
from kolors_course.comfyui.ports import choose_port
from kolors_course.comfyui.server import borrowed_server, running_server, start_server, stop_server
from kolors_course.errors import CourseError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the program of these tests is a script of Unix")


@pytest.fixture
def installation(tmp_path):
    yield fake_installation(tmp_path)
    stop_server(tmp_path / "base")


def processes_of(base) -> list[int]:
    found = (lookup._read_process(process, base) for process in psutil.process_iter())
    return [server.pid for server in found if server]


def test_a_server_is_started_found_and_stopped(installation):
    assert running_server(installation.base) is None
    server = start_server(installation, flags=("--cpu",))
    assert server.flags == ("--cpu",)
    assert ComfyClient(server.url).answers()
    assert running_server(installation.base) == start_server(installation) == server
    assert stop_server(installation.base)
    assert not psutil.pid_exists(server.pid)
    assert running_server(installation.base) is None
    assert not stop_server(installation.base)


def test_starts_at_once_give_one_server(installation):
    servers, told = [], []
    threads = [
        threading.Thread(target=lambda: servers.append(start_server(installation, report=told.append)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert processes_of(installation.base) == [servers[0].pid]
    assert servers == [servers[0]] * 4
    assert all("another command is just starting or stopping" in line for line in told)
    assert told


def test_two_folders_at_once_give_two_servers(installation, tmp_path):
    """Both may choose 8188, before either listens."""
    other = fake_installation(tmp_path / "other")
    servers = {}
    threads = [
        threading.Thread(target=lambda it=it: servers.update({it: start_server(it)}))
        for it in (installation, other)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert servers[installation].port != servers[other].port
        assert processes_of(other.base) == [servers[other].pid]
    finally:
        stop_server(other.base)


KILLED = """
import os, signal, sys
from pathlib import Path
from kolors_course.comfyui import server
from kolors_course.comfyui.install import Installation

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(server, sys.argv[2], die)
folder = Path(sys.argv[1])
installation = Installation(folder / "ComfyUI", folder / "env" / "bin" / "python", folder / "base")
if sys.argv[3] == "start":
    server.start_server(installation)
else:
    with server.borrowed_server(installation.base, installation):
        die()
"""


def killed(installation, at: str, what: str = "start") -> None:
    command = [sys.executable, "-c", KILLED, str(installation.base.parent), at, what]
    assert subprocess.run(command).returncode == -signal.SIGKILL


@pytest.mark.parametrize("does", [SERVES, "import time; time.sleep(0.5)\n" + SERVES])
def test_the_server_of_a_killed_start_is_found_by_the_next(installation, does):
    (installation.code / "main.py").write_text(does)
    killed(installation, "_wait_until_it_answers")
    (orphan,) = processes_of(installation.base)
    server = start_server(installation)
    assert server.pid == orphan
    assert ComfyClient(server.url).answers()


def test_the_server_of_a_killed_start_is_ended_by_a_stop(installation):
    (installation.code / "main.py").write_text(HANGS)
    killed(installation, "_wait_until_it_answers")
    (orphan,) = processes_of(installation.base)
    assert stop_server(installation.base)
    assert not psutil.pid_exists(orphan)


def test_a_start_killed_before_there_is_a_server_leaves_nothing(installation):
    killed(installation, "_launch")
    assert not stop_server(installation.base)
    assert start_server(installation)


@pytest.mark.parametrize(
    "note", ["", "{", "[]", "{}", '{"stays": false, "runs": 5}', '{"stays": 0, "runs": [[1]]}', None]
)
def test_a_server_whose_note_is_lost_is_found_and_stays(installation, note):
    server = start_server(installation)
    path = installation.base / "server.json"
    path.unlink() if note is None else path.write_text(note)
    with borrowed_server(installation.base, None) as borrowed:
        assert borrowed == server
    assert running_server(installation.base) == server


def test_stop_ends_a_server_that_is_just_starting(installation):
    (installation.code / "main.py").write_text(HANGS)
    errors = []

    def start():
        try:
            start_server(installation)
        except CourseError as error:
            errors.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    while not running_server(installation.base):
        assert thread.is_alive()
    command = [
        sys.executable,
        "-m",
        "kolors_course",
        "comfyui",
        "stop",
        "--folder",
        str(installation.base.parent),
    ]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "ComfyUI is stopped\n"
    thread.join()
    assert "was ended by signal 15 while it started: somebody stopped it, or memory ran out" in errors[0]
    assert processes_of(installation.base) == []


def test_ctrl_c_while_it_starts_leaves_nothing_running(installation, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_wait_until_it_answers", interrupt)
    with pytest.raises(KeyboardInterrupt):
        start_server(installation)
    assert processes_of(installation.base) == []


def test_a_server_that_ends_or_hangs_is_told_with_its_last_words(installation, monkeypatch):
    (installation.code / "main.py").write_text(ENDS)
    with pytest.raises(CourseError, match=r"ended at once; it said last: No module named x; .*remove .*env"):
        start_server(installation)
    (installation.code / "main.py").write_text(HANGS)
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    with pytest.raises(
        CourseError, match=r"did not answer within 0.5 seconds; it said last: I hang; all of it is"
    ):
        start_server(installation)
    assert processes_of(installation.base) == []


def test_another_comfyui_at_the_port_is_not_taken_for_ours(installation, monkeypatch):
    """It takes the port between our choice and the start of ours, which then takes another one."""
    with stand_in(Answers()) as url:
        choices = iter([int(url.rsplit(":", 1)[1])])
        monkeypatch.setattr(module, "choose_port", lambda port: next(choices, None) or choose_port(port))
        server = start_server(installation)
        assert server.url != url
        assert psutil.pid_exists(server.pid)


def test_ports_that_cannot_be_had_are_one_line(installation, capsys, monkeypatch):
    monkeypatch.setattr("kolors_course.cli.comfyui_setup.find_installation", lambda folder: installation)
    folder = installation.base.parent
    for port in (0, -1, 70000, 2**40):
        line = refused(capsys, "comfyui", "start", "--port", port, "--folder", folder)
        assert f"--port: must be a whole number from 1,024 to 65,535, not {port}" in line
    with stand_in(Answers()) as url:
        line = refused(capsys, "comfyui", "start", "--port", url.rsplit(":", 1)[1], "--folder", folder)
    assert "is taken by another program; leave --port out" in line
    assert processes_of(installation.base) == []


def test_a_running_server_is_not_taken_for_one_with_other_flags(installation):
    server = start_server(installation, flags=("--cpu",))
    with pytest.raises(CourseError, match=r"already runs at .*; stop it first"):
        start_server(installation, port=server.port + 1)
    with pytest.raises(
        CourseError, match=r"already runs at .*, without --enable-cors-header https://x; stop it"
    ):
        start_server(installation, flags=("--cpu", "--enable-cors-header", "https://x"))


def test_a_borrowed_server_goes_with_the_last_who_borrows_it(installation):
    base = installation.base
    first, second = ExitStack(), ExitStack()
    server = first.enter_context(borrowed_server(base, installation))
    assert second.enter_context(borrowed_server(base, installation)) == server
    first.close()
    assert running_server(base) == server, "the other one uses it still"
    second.close()
    assert running_server(base) is None


def test_a_borrowed_server_that_is_started_stays(installation):
    with borrowed_server(installation.base, installation) as server:
        assert start_server(installation) == server
    assert running_server(installation.base) == server


def test_the_server_of_a_killed_borrower_goes_with_the_next(installation):
    killed(installation, "forget_users", "borrow")
    assert running_server(installation.base)
    with borrowed_server(installation.base, installation) as server:
        assert ComfyClient(server.url).answers()
    assert running_server(installation.base) is None


def test_nothing_is_borrowed_where_it_was_just_stopped(installation):
    with pytest.raises(CourseError, match="was stopped just now; run the same command again"):
        borrowed_server(installation.base, None).__enter__()


@pytest.mark.parametrize(
    "words",
    [
        ["--base-directory", "BASE", "--port", "8188", "--disable-api-nodes"],
        [lookup.LAUNCHER, "--base-directory", "BASE/more", "--port", "8188", "--disable-api-nodes"],
        [lookup.LAUNCHER, "--base-directory"],
        [lookup.LAUNCHER, "--base-directory", "BASE", "--port", "x", "--disable-api-nodes"],
        [lookup.LAUNCHER, "--port", "8188", "--disable-api-nodes", "BASE"],
    ],
)
def test_processes_that_are_no_server_of_ours_are_left_alone(installation, words):
    base = str(installation.base)
    words = [word.replace("BASE", os.path.realpath(base)) for word in words]
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", *words])
    installation.base.mkdir()
    note = f'{{"port": 8188, "pid": {other.pid}, "created": {psutil.Process(other.pid).create_time()}}}'
    (installation.base / "server.json").write_text(note)
    try:
        assert not stop_server(installation.base)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_link_to_the_folder_leads_to_the_same_server(installation, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(installation.base.parent)
    server = start_server(installation)
    assert running_server(link / "base") == server
