"""What the tests of the repository itself share."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))


@pytest.fixture(scope="session")
def repository_files() -> list[Path]:
    """Every file that belongs to the repository: what git tracks or would track.

    In a copy without git, every file outside hidden folders and build folders.
    """
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]
    ignored = {"outputs", "build", "__pycache__"}
    parts = ((path, path.relative_to(ROOT).parts) for path in ROOT.rglob("*") if path.is_file())
    return [
        path
        for path, names in parts
        if not ignored & set(names) and not any(name.startswith(".") for name in names[:-1])
    ]
