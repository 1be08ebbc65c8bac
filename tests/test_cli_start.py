"""What a command costs before it works, and what it prints where a console cannot show it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kolors_course.cli import COMMANDS, main
from kolors_course.cli.parsing import Parser

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "diffusers", "transformers", "peft", "accelerate", "numpy", "scipy", "PIL", "matplotlib")


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        check=False,
    )


HELP_OF_ALL = f"""
import contextlib, io, sys
from kolors_course.cli import COMMANDS, main
for name in [None, *COMMANDS]:
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        main([name, "--help"] if name else ["--help"])
    assert "usage: kolors-course" in text.getvalue(), name
    heavy = [package for package in {HEAVY} if package in sys.modules]
    assert not heavy, f"{{name}} --help imports {{heavy}}"
print("light")
"""


def test_help_imports_nothing_heavy():
    done = python("-c", HELP_OF_ALL)
    assert (done.returncode, done.stdout.strip()) == (0, b"light"), done.stderr.decode()


@pytest.mark.parametrize(
    "package", ["art", "dataset", "diffusion", "evaluation", "kolors", "lora", "story", "sweep"]
)
def test_a_package_imports_what_is_asked_for_and_no_more(package):
    code = (
        f"import sys, kolors_course.{package} as p; assert 'torch' not in sys.modules; print(len(p.__all__))"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout) > 5


@pytest.mark.parametrize("encoding", ["cp1252", "gbk", "ascii", "utf-8:strict"])
@pytest.mark.parametrize(
    "arguments", [("generate", "--help"), ("inspect-lora", "data/loras/ink.safetensors")]
)
def test_no_console_encoding_ends_a_command(encoding, arguments):
    done = python("-m", "kolors_course", *arguments, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"kolors-course" in done.stdout or b"rank" in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--batch-size", "3"], 3),
        (["--batch_size", "3"], 3),
        (["--batch-size=3"], 3),
        (["--batch_size=3"], 3),
        (["--batch", "3"], 3),
    ],
)
def test_dashes_and_underscores_are_one_spelling(words, expected):
    parser = Parser()
    parser.add_argument("--batch_size", type=int)
    assert parser.parse_args(words).batch_size == expected


def test_values_keep_their_underscores():
    parser = Parser()
    parser.add_argument("--min-side")
    parser.add_argument("rest", nargs="*")
    assert parser.parse_args(["--min_side=a_b", "--", "--min_side"]).rest == ["--min_side"]
    assert parser.parse_args(["--min_side", "a_b"]).min_side == "a_b"


def test_parser_reads_the_command_line_by_itself(monkeypatch):
    parser = Parser()
    parser.add_argument("--batch-size", type=int)
    monkeypatch.setattr(sys, "argv", ["program", "--batch_size=3"])
    assert parser.parse_args().batch_size == 3


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_has_one_spelling_in_all_commands(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    assert "--batch-size" not in capsys.readouterr().out
