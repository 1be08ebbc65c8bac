"""Rules for the repository's own files: links, host names, commands, licences."""

import os
import re
import subprocess
from pathlib import Path
from shutil import which

import pytest

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("demo", "test", "lab", "render", "mini", "artefacts", "bench", "docs", "lint", "help")
# Joined here, so that this file does not name them either.
REGISTRY_HOSTS = [
    ".".join(labels)
    for labels in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("npmmirror", "com"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("ftp", "debian", "org"),
    )
]
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)|(?:src|href)=\"([^\"]+)\"")
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def broken_links(path: Path) -> list[str]:
    """Relative links of a Markdown file that lead nowhere."""
    text = CODE_BLOCK.sub("", path.read_text(encoding="utf-8"))
    targets = [first or second for first, second in LINK.findall(text)]
    relative = [target for target in targets if not re.match(r"[a-z]+:|#|//", target)]
    return [target for target in relative if not (path.parent / target.split("#")[0]).exists()]


def test_there_is_a_readme():
    assert (ROOT / "README.md").is_file()


def test_relative_links_resolve(repository_files):
    pages = [path for path in repository_files if path.suffix == ".md"]
    broken = {str(path.relative_to(ROOT)): broken_links(path) for path in pages}
    assert not {page: links for page, links in broken.items() if links}


def test_broken_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    (tmp_path / "there.md").touch()
    page.write_text(
        "[a](there.md#part) ![b](gone.png) [c](https://example.org/x) [d](#here)\n"
        '<img src="lost.png">\n```\n[e](not-a-link.md)\n```\n',
        encoding="utf-8",
    )
    assert broken_links(page) == ["gone.png", "lost.png"]


def test_no_file_names_a_package_registry(repository_files):
    named = [
        f"{path.relative_to(ROOT)}: {host}"
        for path in repository_files
        for host in REGISTRY_HOSTS
        if host in (text_of(path) or "")
    ]
    assert not named


@pytest.mark.skipif(which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("target", TARGETS)
def test_makefile_target_exists(target):
    plan = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
    assert plan.returncode == 0, plan.stderr


@pytest.mark.skipif(which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("options", "index"),
    [([], None), (["CPU=1"], "https://download.pytorch.org/whl/cpu"), (["TORCH_INDEX=mine"], "mine")],
)
def test_a_torch_index_serves_torch_alone(options, index):
    command = ["make", "--dry-run", "--always-make", "lint", *options]
    plan = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    from_index = [line for line in plan.splitlines() if "--index-url" in line]
    assert len(from_index) == (1 if index else 0)
    assert all(line.endswith(f"--no-deps --index-url {index} torch") for line in from_index)


def test_makefile_help_names_every_target():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert set(TARGETS) - {"help"} <= set(re.findall(r'"make ([a-z]+) ', text))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no executable bit")
def test_ci_runs_the_same_tests():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text(encoding="utf-8")


def test_licence_is_apache():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
