"""Where a measurement comes from."""

import subprocess
from pathlib import Path

import torch

from kolors_course.platform import provenance as module
from kolors_course.platform.provenance import provenance

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    return subprocess.run(
        ["git", "-C", folder, *who, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_versions_and_machine():
    facts = provenance(CPU)
    assert facts["torch"] == torch.__version__
    assert facts["machine"].startswith("cpu, ")
    assert str(ROOT) not in str(facts)


def test_the_commit_and_whether_files_were_changed_since(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    assert provenance(CPU)["commit"] is None  # no checkout
    git(tmp_path, "init", "-q")
    assert provenance(CPU)["commit"] is None  # nothing committed
    (tmp_path / "a").write_text("1", encoding="utf-8")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "one")
    git(tmp_path, "tag", "v1")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert provenance(CPU)["commit"] == commit
    (tmp_path / "a").write_text("2", encoding="utf-8")
    assert provenance(CPU)["commit"] == f"{commit}-dirty"


def test_without_git(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance(CPU)["commit"] is None
