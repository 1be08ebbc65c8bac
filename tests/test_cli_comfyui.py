"""The command `kolors-course comfyui` against a real server: one for a run only, one that stays, and errors."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from comfyui_server import installed, slow
from command_line import command, refused, tree
from pages import node, page

from kolors_course.cli import main
from kolors_course.comfyui.server import running_server


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a working folder of its own, and the installation that all tests share."""
    shared = replace(installed(), base=tmp_path / "comfyui" / "base")
    for module in ("comfyui", "comfyui_setup"):
        monkeypatch.setattr(f"kolors_course.cli.{module}.find_installation", lambda folder: shared)
    return tmp_path / "comfyui"


def write(path, workflow):
    path.write_text(json.dumps(workflow), encoding="utf-8")
    return path


GREY = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 8, "batch_size": 2, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "sub/grey"}},
}


def test_start_run_and_stop(folder, tmp_path, capsys):
    assert main(command("comfyui", "start", "--folder", folder)) == 0
    server = running_server(folder / "base")
    try:
        assert f"answers at {server.url}" in capsys.readouterr().out
        workflow = write(tmp_path / "grey.json", GREY)
        assert main(command("comfyui", "run", workflow, "--folder", folder, "-o", tmp_path / "out")) == 0
        assert tree(tmp_path / "out") == {"grey_00001_.png", "grey_00002_.png"}
        assert running_server(folder / "base") == server, "a server that was started before stays"
    finally:
        assert main(command("comfyui", "stop", "--folder", folder)) == 0
    assert "ComfyUI is stopped" in capsys.readouterr().out
    assert main(command("comfyui", "stop", "--folder", folder)) == 0
    assert "no ComfyUI was running" in capsys.readouterr().out


def test_one_command_is_enough(folder, tmp_path, capsys):
    workflow = write(tmp_path / "grey.json", GREY)
    assert main(command("comfyui", "run", workflow, "--folder", folder, "-o", tmp_path / "out")) == 0
    assert tree(tmp_path / "out") == {"grey_00001_.png", "grey_00002_.png"}
    assert "a ComfyUI for this run" in capsys.readouterr().out
    assert running_server(folder / "base") is None


@pytest.mark.parametrize(
    ("workflow", "message"),
    [
        (page(node(7, "Gone", title="我的")), "does not know the type of node 7 '我的'"),
        (slow("a", steps=0), "node 1 'TestSlow', input 'steps': 0 is less than 1"),
        (
            slow("a") | {"1": {"class_type": "TestFail", "inputs": {"message": "out of paint"}}},
            "node 1 'TestFail' failed: out of paint",
        ),
        (
            {"1": {"class_type": "PreviewAny", "inputs": {"source": 1}}},
            "no node of it saved or previewed a picture",
        ),
    ],
)
def test_mistakes_are_one_line(comfyui, tmp_path, capsys, workflow, message):
    path = write(tmp_path / "workflow.json", workflow)
    line = refused(capsys, "comfyui", "run", path, "--server", comfyui.server.url, "-o", tmp_path / "out")
    assert message in line
    assert tree(tmp_path / "out") == set()


def heeds_interrupts() -> None:
    """A shell starts what runs in its background with Ctrl-C ignored, and programs inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_an_ended_run_takes_its_work_from_the_server(comfyui, tmp_path):
    """Two runs: one is interrupted, and one waits in the queue still."""
    workflow = write(tmp_path / "workflow.json", slow("ended", steps=1000))
    command = [sys.executable, "-m", "kolors_course", "comfyui", "run", workflow, "-o", tmp_path / "out"]
    runs = [
        subprocess.Popen(
            [*command, "--server", comfyui.server.url],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heeds_interrupts,
        )
        for _ in range(2)
    ]
    while not comfyui.client.get("/queue")["queue_pending"]:
        assert [run.poll() for run in runs] == [None, None]
        time.sleep(0.05)
    for run, number in zip(runs, (signal.SIGTERM, signal.SIGINT), strict=True):
        run.send_signal(number)
        _, said = run.communicate(timeout=60)
        assert run.returncode == 128 + number
        assert said.splitlines()[-1].startswith("stopped")
        assert "Traceback" not in said
    assert comfyui.client.get("/queue") == {"queue_running": [], "queue_pending": []}
    assert tree(tmp_path / "out") == set()
