"""What ARCHITECTURE.md and CONTRIBUTING.md say of the code is so: paths exist, and rooms import only downwards."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "kolors_course"
PAPERS = [ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md")]
ARCHITECTURE = PAPERS[0].read_text(encoding="utf-8")
ROOMS = sorted(path.parent.name for path in LIBRARY.glob("*/__init__.py"))
ENTRANCES = {"__init__", "__main__", "train_kolors_lora"}  # how the library is started, and not a part of it

CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"`([\w./*-]+)`")
FLOOR = re.compile(r"^(\d)  (?:single files: )?(.+)$", re.MULTILINE)
MADE = ("outputs/", ".venv/")


def paths_in(text: str) -> list[str]:
    """The names in backticks that can only be paths: with a folder, or of a page or a module."""
    names = NAME.findall(CODE_BLOCK.sub("", text))
    return [name for name in names if "/" in name or name.endswith((".py", ".pyi", ".md"))]


def is_there(path: str) -> bool:
    """Whether something has this path, from the root or from the library; names that every room has, in one."""
    bare = path.startswith("__init__") or path == "choices.py"
    return path.startswith(MADE) or any(
        any(folder.glob(f"*/{path}" if bare else path)) for folder in (ROOT, LIBRARY)
    )


def floors() -> dict[str, int]:
    """Room or single file -> its floor, as the page draws them."""
    return {
        name: int(floor) for floor, names in FLOOR.findall(ARCHITECTURE) for name in re.findall(r"\w+", names)
    }


def place_of(file: Path) -> str:
    """The room or the single file that `file` is or lies in."""
    return file.relative_to(LIBRARY).parts[0].removesuffix(".py")


def imported(source: str) -> set[str]:
    """The rooms and single files that a module of the library imports, also within its functions."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = (name.split(".") for name in names)
    return {part[1] for part in parts if part[0] == "kolors_course" and len(part) > 1}


@pytest.mark.parametrize("page", PAPERS, ids=lambda page: page.name)
def test_every_path_is_there(page):
    paths = paths_in(page.read_text(encoding="utf-8"))
    assert len(paths) > 30
    assert [path for path in paths if not is_there(path)] == []


def test_a_path_that_is_not_there_is_found():
    text = (
        "`kolors/unet.py`, `kolors/gone.py` and `lost.md`, not `a thing`, `CourseError` or\n```\n`x/y`\n```\n"
    )
    assert [path for path in paths_in(text) if not is_there(path)] == ["kolors/gone.py", "lost.md"]


def test_every_room_and_file_has_a_floor():
    files = {path.stem for path in LIBRARY.glob("*.py")} - ENTRANCES
    assert set(floors()) == {*ROOMS, *files}
    assert {name for name, floor in floors().items() if floor == 0} == files


def test_every_room_is_described():
    assert sorted(re.findall(r"^\| `(\w+)/` \|", ARCHITECTURE, re.MULTILINE)) == ROOMS


def test_rooms_import_only_downwards():
    floor, wrong = floors(), []
    for file in sorted(LIBRARY.rglob("*.py")):
        here = place_of(file)
        if here in ENTRANCES:
            continue
        others = (imported(file.read_text(encoding="utf-8")) & floor.keys()) - {here}
        wrong += [
            f"{file.relative_to(ROOT)}: {other}" for other in others if floor[other] >= max(floor[here], 1)
        ]
    assert wrong == []


def test_imports_are_seen_wherever_they_stand():
    source = "import os\nimport kolors_course.art.scene as s\nfrom kolors_course import errors, __version__\n"
    source += "def f():\n    from kolors_course.cli.options import x\nfrom .here import y\n"
    assert imported(source) & floors().keys() == {"art", "errors", "cli"}
