"""What a server's answers mean, and what is said where no server is; without ComfyUI."""

import json
import os
import stat
import time

import psutil
import pytest
from command_line import refused
from pages import good_api, good_page

from kolors_course.comfyui import access
from kolors_course.comfyui.client import ComfyClient, explain_refusal
from kolors_course.comfyui.server import end_process, prepare_base, running_server, stop_server
from kolors_course.errors import CourseError

NOBODY = "http://127.0.0.1:9"


def refusal(**error):
    return {"node_errors": {"3": {"errors": [{"message": "Failed", "details": "", **error}]}}}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refusal(), "node 3 'Sample': Failed"),
        (
            refusal(details="steps", extra_info={"input_name": "steps"}),
            "node 3 'Sample', input 'steps': Failed",
        ),
        (
            refusal(details="image - Invalid file: x.png", extra_info={"input_name": "image"}),
            "node 3 'Sample', input 'image': Failed (Invalid file: x.png)",
        ),
        (
            {"error": {"message": "Prompt has no outputs", "details": "\n"}, "node_errors": {}},
            "ComfyUI refuses the workflow: Prompt has no outputs",
        ),
    ],
)
def test_refusals_become_one_line(answer, expected):
    assert explain_refusal(answer, good_api()) == expected


def test_without_a_server_it_is_said_how_to_get_one():
    client = ComfyClient(NOBODY)
    assert not client.answers()
    with pytest.raises(CourseError, match="no ComfyUI answers at http://127.0.0.1:9: .*start one with"):
        list(client.run(good_api()))


def test_the_command_refuses_in_one_line(capsys, tmp_path):
    page = tmp_path / "page.json"
    page.write_text(json.dumps(good_page()))
    assert "no workflow" in refused(capsys, "comfyui", "run", tmp_path / "none.json")
    assert "no such file" in refused(capsys, "comfyui", "run", page, "--lora", tmp_path / "none.ckpt")
    assert "no ComfyUI answers" in refused(
        capsys, "comfyui", "run", page, "--server", NOBODY, "-o", tmp_path / "o"
    )
    assert "invalid choice: 'dance'" in refused(capsys, "comfyui", "dance")


def test_stopping_what_does_not_run_is_no_mistake(tmp_path):
    assert running_server(tmp_path) is None
    assert not stop_server(tmp_path)


def test_a_base_links_to_the_nodes_of_this_course(tmp_path):
    stale = tmp_path / "custom_nodes" / "kolors_course"
    stale.parent.mkdir()
    stale.symlink_to(tmp_path / "moved away")
    for _ in range(2):
        prepare_base(tmp_path)
        assert (tmp_path / "custom_nodes" / "kolors_course" / "__init__.py").is_file()
    assert (tmp_path / "models" / "loras").is_dir()


def test_notebooks_of_modelscope_have_a_gateway(tmp_path):
    assert access.gateway_path(8188, tmp_path) is None
    (tmp_path / "jpserver-1.json").write_text(json.dumps({"base_url": "/"}))
    assert access.gateway_path(8188, tmp_path) is None
    (tmp_path / "jpserver-2.json").write_text(json.dumps({"base_url": "/dsw-123456/"}))
    assert access.gateway_path(8188, tmp_path) == "/dsw-123456/proxy/8188/"


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "{}", '{"base_url": 7}', "[" * 100_000])
def test_a_damaged_note_of_jupyter_is_passed_over(tmp_path, text):
    (tmp_path / "jpserver-1.json").write_text(text)
    (tmp_path / "jpserver-2.json").mkdir()
    assert access.gateway_path(8188, tmp_path) is None
    (tmp_path / "jpserver-3.json").write_text(json.dumps({"base_url": "/dsw-5/"}))
    assert access.gateway_path(8188, tmp_path) == "/dsw-5/proxy/8188/"


def put_cloudflared(folder, monkeypatch, *lines):
    program = folder / "cloudflared"
    program.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for cloudflared is a shell script")
def test_a_tunnel_is_open_only_while_it_is_held(tmp_path, monkeypatch):
    address = "https://four-random-words-here.trycloudflare.com"
    put_cloudflared(tmp_path, monkeypatch, "echo $$ > $0.pid", f"echo '| {address} |'", "sleep 60")
    with access.public_tunnel(NOBODY) as found:
        assert found == address
        pid = int((tmp_path / "cloudflared.pid").read_text())
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)
    assert not end_process(pid)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for cloudflared is a shell script")
def test_a_tunnel_that_talks_much_does_not_stand_still(tmp_path, monkeypatch):
    talk = (
        "i=0; while [ $i -lt 3000 ]; do echo a line of fifty bytes that nobody will read $i; i=$((i+1)); done"
    )
    put_cloudflared(
        tmp_path, monkeypatch, "echo https://a-b.trycloudflare.com", talk, "touch $0.done", "sleep 60"
    )
    with access.public_tunnel(NOBODY):
        while not (tmp_path / "cloudflared.done").exists():
            time.sleep(0.01)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for cloudflared is a shell script")
def test_a_tunnel_that_a_killed_command_left_open_can_be_closed(tmp_path, monkeypatch):
    put_cloudflared(tmp_path, monkeypatch, "echo https://a-b.trycloudflare.com", "sleep 60")
    with access.public_tunnel(NOBODY):  # the mark of its process is all that a killed command leaves
        assert not access.close_tunnels(NOBODY + "9")
        assert access.close_tunnels(NOBODY)
        assert not access.close_tunnels(NOBODY)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for cloudflared is a shell script")
def test_a_tunnel_that_fails_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CourseError, match="needs the program cloudflared"), access.public_tunnel(NOBODY):
        pass
    put_cloudflared(tmp_path, monkeypatch, "echo no route")
    with pytest.raises(CourseError, match="ended without an address: no route"), access.public_tunnel(NOBODY):
        pass
