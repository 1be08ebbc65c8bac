"""The command line as a whole, and the commands that have no file of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_line import command, refused, tree

from kolors_course.cli import COMMANDS, main
from kolors_course.evaluation import Probe

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.usefixtures("tiny_profile")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(capsys, name):
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert f"kolors-course {name}" in text
    assert "--debug" in text


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_the_help_names_every_command(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert all(f"\n    {name}" in text for name in COMMANDS)


def test_unknown_commands_and_flags_are_refused_in_one_line(capsys):
    assert "invalid choice: 'paint'" in refused(capsys, "paint")
    assert "--colour" in refused(capsys, "generate", "--prompt", "a", "--colour", "red")
    assert "--prompt" in refused(capsys, "generate")
    assert "--steps: must be a whole number from 1 to 1,000, not many" in refused(
        capsys, "generate", "--prompt", "a", "--steps", "many"
    )
    assert "--dataset_path" in refused(capsys, "train-lora")


def test_a_traceback_only_with_debug(capsys, tmp_path):
    with pytest.raises(Exception, match="no model folder"):
        main(command("generate", "--prompt", "a", "--model", tmp_path / "none", "--debug"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["doctor"], "stopped\n"),
        (
            ["train-lora", "--dataset_path", "data/datasets/ink"],
            "stopped; the same command goes on from the last checkpoint\n",
        ),
        (
            ["sweep", "--prompt", "a cat", "--x", "steps=1,2"],
            "stopped; the same command draws only the cells that are missing\n",
        ),
    ],
)
def test_an_interrupt_is_told(capsys, monkeypatch, words, said):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"kolors_course.cli.{words[0].replace('-', '_')}.run", interrupt)
    assert main(words) == 130
    assert capsys.readouterr().err == said


def test_check_dataset_reports_and_fails_on_faults(capsys, tmp_path, tiny_pictures):
    report = tmp_path / "report.json"
    assert main(command("check-dataset", tiny_pictures, "--json", report)) == 0
    assert "ready to train on" in capsys.readouterr().out
    facts = json.loads(report.read_text(encoding="utf-8"))
    assert (facts["ok"], facts["pictures"]) == (True, 4)
    assert main(command("check-dataset", tmp_path, "--json", report)) == 2
    out, err = capsys.readouterr()
    assert "error: metadata.csv is missing" in out
    assert err == ""
    assert json.loads(report.read_text(encoding="utf-8"))["ok"] is False


def test_doctor_writes_its_report(capsys, tmp_path):
    report = tmp_path / "sub" / "doctor.json"
    assert main(command("doctor", "--json", report)) == 0
    assert json.loads(report.read_text(encoding="utf-8"))
    assert len(capsys.readouterr().out.splitlines()) > 3


def test_json_that_cannot_be_written_is_one_line(capsys, tmp_path, tiny_pictures):
    (tmp_path / "file").touch()
    refused(capsys, "check-dataset", tiny_pictures, "--json", tmp_path / "file" / "report.json")
    refused(capsys, "check-dataset", tiny_pictures, "--json", tmp_path)
    assert tree(tmp_path) == {"file"}


def test_evaluate_writes_scores_table_and_sheet(capsys, monkeypatch, tmp_path):
    torch.manual_seed(0)
    monkeypatch.setattr("kolors_course.cli.evaluate.load_probe", lambda path: Probe().eval())
    output, report = tmp_path / "out", tmp_path / "report.json"
    arguments = ("--scenes", 2, "--steps", 1, "--style", "ink", "-o", output, "--json", report)
    assert main(command("evaluate", *arguments)) == 0
    assert tree(output) == {"scores.json", "scores.md", "sheet.png", "worst.png"}
    scores = json.loads((output / "scores.json").read_text(encoding="utf-8"))
    assert scores == json.loads(report.read_text(encoding="utf-8"))
    assert (scores["model"], scores["style"]) == ("tiny", "ink")
    assert {name: column["prompts"] for name, column in scores["scores"].items()} == {
        "both": 4,
        "en": 2,
        "zh": 2,
    }
    for column in scores["scores"].values():
        assert set(column["fidelity"]) == {"model", "vae", "world"}
        assert column["fidelity"]["model"] < column["fidelity"]["world"]
    by_subject = [means["model"] for means in scores["fidelity_by_subject"].values()]
    assert by_subject == sorted(by_subject)
    assert (output / "scores.md").read_text(encoding="utf-8") in capsys.readouterr().out


def test_evaluate_refuses_bad_flags_and_writes_nothing(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("kolors_course.cli.evaluate.load_probe", lambda path: None)
    for flags in (
        ("--scenes", 0),
        ("--style", "oil"),
        ("--steps", 0),
        ("--model", "none"),
        ("--lora", "none"),
    ):
        refused(capsys, "evaluate", "-o", tmp_path / "out", *flags)
    assert tree(tmp_path) == set()


def test_train_mini_wants_its_stages_in_order(capsys, tmp_path):
    assert "stage vae first" in refused(capsys, "train-mini", "-o", tmp_path, "--stage", "base")


def test_a_process_says_only_what_it_has_to(tmp_path, tiny_folder):
    """The model is loaded before the size is refused, and no library says a word about it."""
    arguments = command("generate", "--prompt", "夜晚", "--size", "33x33", "-o", tmp_path / "a.png")
    done = subprocess.run(
        [sys.executable, "-m", "kolors_course", *arguments],
        cwd=ROOT,
        env=os.environ | {"KOLORS_MODEL": str(tiny_folder)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: size 33x33: both sides must be positive multiples of 16\n"
    assert tree(tmp_path) == set()
