"""`kolors-course evaluate --suite` and `--report`, with a tiny model: what they write, resume and refuse."""

import json
import shutil

import pytest
from command_line import command, refused, tree

from kolors_course.cli import main
from kolors_course.evaluation.suite import TASKS

pytestmark = pytest.mark.usefixtures("tiny_profile")

QUICK = ("--steps", 1, "--guidance", 1)


def top_of(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_suite_writes_scores_and_sheets_and_resumes(capsys, tmp_path, counted):
    folder, report = tmp_path / "out", tmp_path / "report.json"
    line = command("evaluate", "--suite", "--scenes", 2, *QUICK, "-o", folder, "--json", report)
    assert main(line) == 0
    assert top_of(folder) == {"scores.json", "scores.md", "pictures", *(f"{task}.png" for task in TASKS)}
    out = capsys.readouterr().out
    assert (folder / "scores.md").read_text(encoding="utf-8") in out
    assert "plan: 7 tasks, 2 scenes each in two languages, 28 pictures" in out
    facts = json.loads(report.read_text(encoding="utf-8"))
    assert facts == json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    assert {len(facts["prompts"]), facts["scores"]["both"]["mean"]["count"], len(counted)} == {28}
    assert facts["scores"]["en"]["tasks"]["position"]["count"] == 2
    assert set(facts["prompts"][0]["facts"]) >= {"subject", "place", "count", "style"}
    assert facts["made_by"]["torch"]
    next((folder / "pictures").iterdir()).unlink()
    assert main(line) == 0
    assert len(counted) == 29
    assert "27 pictures are there already; 1 are drawn" in capsys.readouterr().out
    assert main([*line[:3], "3", *line[4:]]) == 0  # more scenes: only the new ones
    assert len(counted) == 29 + 14


def test_the_report_of_a_lora_against_the_model(capsys, tmp_path, counted, lora_file):
    named = tmp_path / "<script>alert(1)<b>.safetensors"
    shutil.copy(lora_file, named)
    folder = tmp_path / "out"
    line = ("evaluate", "--report", folder, "--lora", f"{named}:0.8", "--style", "ink", "--against", "none")
    assert main(command(*line, "--scenes", 10, *QUICK)) == 0
    assert top_of(folder) == {"report.html", "report.json", "pictures"}
    out = capsys.readouterr().out
    assert "plan: 10 scenes in two languages, 140 pictures" in out
    # Without the LoRA and at strength 0 the same pictures are drawn, and so they are at its own strength.
    assert len(counted) == 20 * 6
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;b&gt; × 0.8" in page
    facts = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert [side["name"] for side in facts["sides"]] == ["<script>alert(1)<b> × 0.8", "tiny"]
    assert [each["strength"] for each in facts["strengths"]] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.2])
    assert len(facts["nearest"]["pixels"]["distance"]) == 20  # to the committed data set of the style
    assert facts["made_by"]["command"].startswith("kolors-course evaluate --report")
    assert facts["made_by"][f"LoRA {named} × 0.8"].startswith("SHA-256 ")


def test_the_report_of_a_model_alone(tmp_path, counted, tiny_pictures):
    folder = tmp_path / "out"
    line = command("evaluate", "--report", folder, "--scenes", 10, *QUICK, "--training", tiny_pictures)
    assert main(line) == 0
    assert len(counted) == 20
    facts = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert (facts["strengths"], facts["mcnemar"], len(facts["sides"])) == ([], {}, 1)
    assert max(facts["nearest"]["features"]["index"]) < 4
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<h1>tiny</h1>" in page
    assert main(line) == 0
    assert len(counted) == 20


def test_two_files_of_one_name_are_told_apart(tmp_path, lora_file):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(lora_file, tmp_path / folder / "lora.safetensors")
    files = [tmp_path / folder / "lora.safetensors" for folder in ("a", "b")]
    line = ("evaluate", "--report", tmp_path / "out", "--lora", files[0], "--against", f"{files[1]}:1")
    assert main(command(*line, "--scenes", 10, *QUICK)) == 0
    facts = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert [side["name"] for side in facts["sides"]] == [str(file) for file in files]
    assert {f"LoRA {file} × 1" for file in files} <= set(facts["made_by"])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--suite", "--report", "{out}"), "not allowed with argument"),
        (("--report", "{out}", "-o", "{out}"), "leave out -o"),
        (("--against", "none"), "belong to --report"),
        (("--training", "{in}"), "belong to --report"),
        (("--report", "{out}", "--scenes", "9"), "at least 10 --scenes"),
        (("--report", "{out}", "--against", "{in}/none.safetensors"), "none.safetensors can be read"),
        (("--report", "{out}", "--against", "{in}/text.safetensors"), "text.safetensors"),
        (("--report", "{out}", "--against", "{lora}:x"), "is not a finite number"),
        (("--report", "{out}", "--against", ""), "the file name is missing"),
        (("--report", "{out}", "--lora", "{lora}", "--against", "{lora}"), "what the report is about"),
        (("--report", "{out}", "--against", "none"), "what the report is about"),
        (("--report", "{out}", "--training", "{in}/none"), "none"),
        (("--report", "{out}", "--training", "{in}/one"), "has only 1 picture"),
        (("--report", "{in}/text.safetensors"), "text.safetensors"),
        (("--report", "{out}", "--lora", "{in}/none.safetensors"), "none.safetensors"),
        (("--suite", "--scenes", "0"), "--scenes: must be"),
        (("--suite", "--lora", "{in}/text.safetensors"), "text.safetensors"),
        (("--suite", "--scenes", "100000", "--style", "oil"), "--style: invalid choice"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    capsys, tmp_path, lora_file, tiny_pictures, flags, said
):
    given, output = tmp_path / "in", tmp_path / "out"
    given.mkdir()
    (given / "text.safetensors").write_text("text")
    shutil.copytree(tiny_pictures, given / "one")
    metadata = next((given / "one").rglob("metadata.csv"))
    metadata.write_text(
        "".join(metadata.read_text(encoding="utf-8").splitlines(keepends=True)[:2]), encoding="utf-8"
    )
    before = tree(given)
    words = [word.format(**{"in": given, "out": output, "lora": lora_file}) for word in flags]
    where = [] if "--report" in words or "-o" in words else ["-o", output]
    assert said in refused(capsys, "evaluate", *words, *where, *QUICK)
    assert tree(given) == before
    assert not output.exists()
