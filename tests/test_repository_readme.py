"""Commands in the documentation: every flag exists, every file is there or made by a line above, and they run."""

import re
import shlex
from pathlib import Path

import pytest

from kolors_course.cli import COMMANDS, main, subparser

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for path in [ROOT / "README.md", *ROOT.glob("data/**/README.md"), *ROOT.glob("docs/*.md")]
    if "kolors-course " in path.read_text(encoding="utf-8")
)
BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)
# Run for minutes, or need a server, a GPU or the learner's own data; their flags and files are checked all the same.
LONG = ("train-lora", "train-mini", "evaluate", "sweep", "demo", "story", "comfyui")
MAKES = ("output", "output_path", "sheet", "json", "fix", "juicer")  # flags and arguments that name results
PLACEHOLDER = re.compile(r"<[^>]+>")


def documented(page: Path) -> list[list[str]]:
    """The words of every `kolors-course` line in the page's shell blocks, in order."""
    found = []
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            line = PLACEHOLDER.sub("PLACEHOLDER", line)
            words = shlex.split(line, comments=True)
            if "kolors-course" in words:
                found.append(words[words.index("kolors-course") + 1 :])
    return found


def read(words: list[str]) -> dict:
    name, *rest = words
    assert name in COMMANDS, f"there is no command {name}"
    parser = subparser(name)
    if "--config" in rest:  # parsing reads that file, which only an earlier line would write
        at = rest.index("--config")
        return vars(parser.parse_args(rest[:at] + rest[at + 2 :])) | {"config": rest[at + 1]}
    return vars(parser.parse_args(rest))


def paths(values: dict, kinds: tuple[str, ...] = ()) -> list[str]:
    """The values that look like files or folders."""
    texts = []
    for name, value in values.items():
        if not kinds or name in kinds:
            texts += [str(item) for item in (value if isinstance(value, list) else [value]) if item]
    return [re.sub(r":-?[\d.]+$", "", text) for text in texts if re.fullmatch(r"[\w./-]+\.?[\w:.-]*", text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_documented_commands_use_flags_and_files_that_exist(page):
    made: set[str] = set()
    for words in documented(page):
        values = read(words)
        results = set(paths(values, MAKES))
        for path in paths(values):
            known = path in results or path in made or any(path.startswith(f"{old}/") for old in made)
            looks = "/" in path and "PLACEHOLDER" not in path and not path.startswith(("models/", "."))
            assert known or not looks or (ROOT / path).exists(), f"{shlex.join(words)}: there is no {path}"
        made |= results


def test_the_readmes_quick_commands_run(tmp_path, monkeypatch, capsys):
    """As written, one after the other, in a folder that has the repository's data."""
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    for name in ("KOLORS_PROFILE", "KOLORS_MODEL"):
        monkeypatch.delenv(name, raising=False)
    commands = [
        words
        for words in documented(ROOT / "README.md")
        if words[0] not in LONG and not re.search(r"PLACEHOLDER|models/", shlex.join(words))
    ]
    assert len(commands) > 8
    for words in commands:
        assert main(words) == 0, f"{shlex.join(words)}\n{capsys.readouterr().err}"
