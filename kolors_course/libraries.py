"""Which libraries fit the torch that is installed: told from package metadata, so that nothing has to be imported.

torch_sets/torch-<version>.txt holds the newest versions that were measured to work with that torch and the ones
after it, up to the next file. pip reads these files as constraints. scripts/notebook_setup.py imports this module
before anything is installed, so it needs the standard library alone.
"""

import functools
import re
import shutil
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from kolors_course.errors import CourseError

SETS = Path(__file__).parent / "torch_sets"
CHECKOUT = Path(__file__).resolve().parents[1]


class UnfitLibraries(CourseError):
    """The libraries that are installed cannot run the course; the message names the remedy."""

    def _render_traceback_(self) -> list[str]:
        # IPython shows this in place of a traceback, in which there is nothing to find.
        return [f"error: {self}"]


def installed(package: str) -> str | None:
    """The version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def numbers(release: str) -> tuple[int, int, int]:
    """Major, minor and patch number: "2.3.1+cu121" gives (2, 3, 1)."""
    found = re.match(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?", release)
    major, minor, patch = (int(number or 0) for number in found.groups()) if found else (0, 0, 0)
    return major, minor, patch


def present_torch() -> str:
    """The version of the torch that is installed.

    Raises:
        UnfitLibraries: there is none, or it is too old for the course.
    """
    here = installed("torch")
    if here is None or numbers(here) < min(_sets()):
        fault = f"torch {here} is too old" if here else f"torch is not installed for {sys.executable}"
        raise UnfitLibraries(
            f"{fault}: the course needs {_oldest()} or newer; `make demo` sets one up in .venv"
        )
    return here


def torch_set(torch: str) -> Path:
    """The file with the newest libraries that were measured to work with that torch, of `present_torch`."""
    return _sets()[max(first for first in _sets() if first <= numbers(torch))]


def pins(measured: Path) -> dict[str, str]:
    """Package -> version of a set; where it depends on Python, the one for the newest."""
    return dict(re.findall(r"^([\w-]+)==([\w.]+)", measured.read_text(encoding="utf-8"), re.MULTILINE))


def problems() -> dict[str, str]:
    """Package -> what is wrong with it, for every package that keeps the course from running."""
    found = {}
    for package, least in _lower_bounds().items():
        here = installed(package)
        if here is None:
            found[package] = f"{package} is not installed"
        elif numbers(here) < numbers(least):
            found[package] = f"{package} {here} is too old (the course needs {least} or newer)"
    return found if "torch" in found else {**_too_new(present_torch()), **found}


@functools.cache
def require_fit() -> None:
    """Look once whether the libraries fit torch and the course.

    Raises:
        UnfitLibraries: they do not.
    """
    present_torch()
    if found := problems():
        faults, more = list(found.values())[:3], len(found) - 3
        rest = [f"{more} more (see kolors-course doctor)"] if more > 0 else []
        raise UnfitLibraries(f"{'; '.join(faults + rest)}: {remedy(list(found))}")


def remedy(packages: list[str]) -> str:
    """What to run where these packages are missing or do not fit."""
    if (CHECKOUT / "scripts" / "notebook_setup.py").is_file():
        python = "" if shutil.which("python3") == sys.executable else f" PYTHON={sys.executable}"
        return f"run `make notebook-setup{python}` in {CHECKOUT}"
    constraints = torch_set(present_torch())
    return f"run `{sys.executable} -m pip install -U -c {constraints} {' '.join(packages)}`"


def _sets() -> dict[tuple[int, int, int], Path]:
    """The first torch that a set is for -> its file."""
    return {numbers(path.stem.removeprefix("torch-")): path for path in SETS.glob("torch-*.txt")}


def _oldest() -> str:
    return ".".join(map(str, min(_sets())[:2]))


def _too_new(torch: str) -> dict[str, str]:
    measured = torch_set(torch)
    if measured == _sets()[max(_sets())]:
        return {}  # nothing newer is known not to work with the newest torch
    found = {}
    for package, newest in pins(measured).items():
        here = installed(package)
        if here and numbers(here)[:2] > numbers(newest)[:2]:
            found[package] = f"{package} {here} is too new for torch {torch} ({newest} works)"
    return found


def _lower_bounds() -> dict[str, str]:
    """Package -> the oldest version that the course runs with, as pyproject.toml said when it was installed."""
    try:
        lines = requires("kolors-course") or []
    except PackageNotFoundError:  # run from a folder on PYTHONPATH
        lines = []
    bounds = re.findall(r"^([\w.-]+)>=([\w.]+)$", "\n".join(lines), re.MULTILINE)  # extras end with a marker
    return {"torch": _oldest(), **dict(bounds)}
