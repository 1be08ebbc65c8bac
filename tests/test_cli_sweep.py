"""`kolors-course sweep`: what it writes, and how it refuses."""

import json
import shutil

import pytest
import torch
from command_line import command, refused, tree
from PIL import Image
from safetensors.torch import load_file

from kolors_course.cli import main
from kolors_course.cli.adopt import recommended_sampling
from kolors_course.cli.sweep_files import write_recommendation
from kolors_course.evaluation import Probe, wilson
from kolors_course.kolors import PUBLISHED, Sampling, read_sampling
from kolors_course.lora import with_wishes
from kolors_course.sweep import Fixed, Kept, Measured, Wanted, parse_axis, plan_sweep

pytestmark = pytest.mark.usefixtures("tiny_profile")
FILES = {"sheet.png", "sweep.md", "sweep.json", "cells"}


@pytest.fixture(autouse=True)
def probe(monkeypatch):
    torch.manual_seed(0)
    stand_in = Probe().eval()
    monkeypatch.setattr("kolors_course.cli.sweep.load_probe", lambda path: stand_in)


def top_of(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_prompt_over_three_axes(capsys, tmp_path, lora_file):
    folder, report = tmp_path / "out", tmp_path / "report.json"
    axes = ("--x", "steps=1..2", "--y", "word=猫,狗", "--z", f"lora=none,{lora_file}:0.5")
    line = ("sweep", "--prompt", "夜晚雪地上的一只猫", *axes, "--guidance", 2, "-o", folder, "--json", report)
    assert main(command(*line)) == 0
    out = capsys.readouterr().out
    assert "plan: 8 cells (2 steps x 2 word x 2 lora), 8 pictures, 24 network calls\n" in out
    assert "time: about " in out
    assert "does not know" not in out
    assert "left out" not in out
    assert top_of(folder) == FILES
    assert len(tree(folder / "cells")) == 16
    facts = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    assert facts == json.loads(report.read_text(encoding="utf-8"))
    assert [cell["network_calls"] for cell in facts["cells"]] == [2, 4] * 4
    assert facts["cells"][2]["prompt"] == "夜晚雪地上的一只狗"
    assert facts["cells"][7]["loras"] == [f"{lora_file}:0.5"]
    assert set(facts["cells"][0]["measured"]) == {
        *("subject", "place", "time", "size", "position", "count", "style", "shape fidelity")
    }
    assert facts["made_by"]["torch"] == torch.__version__
    table = (folder / "sweep.md").read_text(encoding="utf-8")
    assert table in out
    heads, _, *rows = table.splitlines()
    assert heads.startswith("| steps | word 猫 | lora | network calls | seconds | subject |")
    assert [row.split(" | ")[1:4] for row in rows[4:6]] == [["猫", "ink:0.5", "2"], ["猫", "ink:0.5", "4"]]
    sheet = Image.open(folder / "sheet.png")
    assert sheet.width > 2 * 256
    assert sheet.height > 4 * 256

    assert main(command(*line)) == 0
    out = capsys.readouterr().out
    assert "8 cells are there already; 0 are drawn" in out
    assert "time:" not in out
    assert table in out


def test_what_cannot_be_measured_is_said(capsys, tmp_path):
    line = ("sweep", "--prompt", "a unicorn at night", "--x", "steps=1,2", "-o", tmp_path / "out")
    assert main(command(*line)) == 0
    out = capsys.readouterr().out
    assert "Kolors-mini does not know: unicorn" in out
    assert "facts and shape fidelity are left out of 2 of 2 pictures" in out
    assert "| steps | network calls | seconds |\n" in out


def test_held_out_prompts(capsys, tmp_path):
    line = ("sweep", "--scenes", 4, "--x", "steps=1,2", "--guidance", 1, "-o", tmp_path / "out")
    assert main(command(*line)) == 0
    out = capsys.readouterr().out
    assert "plan: 2 cells (2 steps), 28 pictures, 42 network calls\n" in out
    assert "| variety |" in out
    facts = json.loads((tmp_path / "out" / "sweep.json").read_text(encoding="utf-8"))
    assert (facts["scenes"], facts["pictures_of_a_cell"]) == (4, 8)
    for cell in facts["cells"]:
        assert cell["measured"]["subject"]["low"] <= cell["measured"]["subject"]["value"]
        assert cell["measured"]["shape fidelity"]["pictures"] == 8
        assert cell["variety"] > 0


def test_from_a_picture(tmp_path):
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    axes = ("--x", "denoise=0.5,1", "--y", "seed=1,2")
    line = ("sweep", "--prompt", "a cat", "--image", tmp_path / "red.png", *axes, "--steps", 2)
    assert main(command(*line, "-o", tmp_path / "out")) == 0
    facts = json.loads((tmp_path / "out" / "sweep.json").read_text(encoding="utf-8"))
    assert [(cell["denoise"], cell["seed"]) for cell in facts["cells"]] == [
        (0.5, 1),
        (1, 1),
        (0.5, 2),
        (1, 2),
    ]
    assert [cell["network_calls"] for cell in facts["cells"]] == [2, 4, 2, 4]


def test_a_recommendation_says_how_it_was_made(capsys, tmp_path, lora_file):
    grid = ("--over", "steps=1,2", "--over", "guidance=1,2", "--over", "sampler=euler,dpm++2m-karras")
    line = command("sweep", "--recommend", "--scenes", 1, "--style", "ink", "--lora", lora_file, *grid)
    assert main([*line, "-o", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    # Karras' levels leave no spacing to choose.
    beside = "among them or beside them: today, published"
    assert f"plan: 14 cells (2 steps x 2 guidance x 2 sampler x 2 spacing; {beside}), 70 pictures" in out
    assert top_of(tmp_path / "out") == {"recommendation.md", "recommendation.json", "cells"}
    facts = json.loads((tmp_path / "out" / "recommendation.json").read_text(encoding="utf-8"))
    chosen = facts["recommended"]
    assert {"steps", "guidance", "sampler", "spacing", "network_calls", "limit"} <= set(chosen)
    assert chosen["values"] in [cell["values"] for cell in facts["cells"]]
    good = [cell for cell in facts["cells"] if (cell["shortfall"] or 0) <= chosen["limit"]]
    assert chosen["network_calls"] == min(cell["network_calls"] for cell in good)
    text = (tmp_path / "out" / "recommendation.md").read_text(encoding="utf-8")
    sentence, _, heads, *rest = text.splitlines()
    assert sentence.startswith(f"recommended: steps {chosen['steps']}, guidance {chosen['guidance']:g}, ")
    assert sentence in out
    assert heads.endswith("| variety | shortfall | note |")
    notes = {cell["note"]: cell["values"] for cell in facts["cells"] if "note" in cell}
    assert notes == {"today": [4, 2, "euler", "trailing"], "published": [50, 5, "euler", "leading"]}
    assert [row.startswith("| **") for row in rest[1:4]] == [True, False, False]
    assert "- command: kolors-course sweep --recommend --scenes 1 --style ink" in text
    assert f"- torch: {torch.__version__}" in text
    assert "- commit: " in text


GRID = ("--scenes", 1, "--over", "steps=1", "--over", "guidance=1", "--over", "sampler=euler")


def test_what_is_recommended_is_adopted_by_the_model(capsys, tmp_path, tiny_folder):
    model = shutil.copytree(tiny_folder, tmp_path / "model")
    line = command("sweep", "--recommend", *GRID, "--model", model, "-o", tmp_path / "out", "--adopt")
    assert main(line) == 0
    assert f"adopted: wrote {model}/sampling.json\n" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "recommendation.json").read_text(encoding="utf-8"))
    assert read_sampling(model / "sampling.json") == recommended_sampling(report)
    made_by = json.loads((model / "sampling.json").read_text(encoding="utf-8"))["made_by"]
    assert made_by["command"] == report["command"]
    assert set(made_by) == {"command", "commit"}


def test_what_is_recommended_is_adopted_by_the_one_lora(capsys, tmp_path, tiny_folder, lora_file):
    lora, before = shutil.copyfile(lora_file, tmp_path / "ink.safetensors"), tree(tiny_folder)
    line = command("sweep", "--recommend", *GRID, "--lora", lora, "-o", tmp_path / "out", "--adopt")
    model = (tiny_folder / "sampling.json").read_bytes()
    assert main(line) == 0
    assert f"adopted: {lora} is drawn so from now on\n" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "recommendation.json").read_text(encoding="utf-8"))
    assert with_wishes(Sampling(), [lora]) == recommended_sampling(report)
    assert ((tiny_folder / "sampling.json").read_bytes(), tree(tiny_folder)) == (model, before)
    assert load_file(lora).keys() == load_file(lora_file).keys()


def test_todays_settings_that_the_grid_has_are_not_drawn_twice():
    fixed = Fixed((Wanted("a cat", 0, None),), Sampling(guidance_scale=1))
    today = Sampling(4, 2.0, batch_size=2, negative_prompt="what the axes do not change has no part in it")
    axes = [parse_axis("steps=2,4"), parse_axis("guidance=1,2")]
    sweep = plan_sweep(axes, fixed, beside={"today": today, "published": PUBLISHED, "also": PUBLISHED})
    notes = [(cell.values, cell.note) for cell in sweep.cells]
    assert notes[:4] == [((2, 1), ""), ((4, 1), ""), ((2, 2), ""), ((4, 2), "today")]
    assert notes[4:] == [((50, 5), "published, also")]
    assert sweep.cells[-1].sampling == fixed.sampling.but(steps=50, guidance_scale=5.0)


def test_a_choice_among_rows_that_are_all_bad_says_so(tmp_path):
    """One row is right of every place and of no subject, the other the reverse."""
    sweep = plan_sweep(
        [parse_axis("steps=2,4")], Fixed((Wanted("a cat", 0, None),), Sampling(guidance_scale=1))
    )
    asked, picture = {"subject": 100, "place": 100}, Image.new("RGB", (32, 32))
    cells = [
        Measured(100, 2, 0.1, {"subject": 0, "place": 100}, asked, ()),
        Measured(100, 4, 0.1, {"subject": 100, "place": 0}, asked, ()),
    ]
    report = {"command": "the command", "made_by": {"torch": "2"}}
    lines = write_recommendation(tmp_path, sweep, [Kept(cell, picture) for cell in cells], report)
    limit = 1 / (1 - wilson(100, 100).low)
    said = f"no row is good in everything, and this one falls short by {limit:.2f} intervals"
    assert lines[-2] == f"recommended: steps 2 (2 network calls a picture); {said}"


PROMPT = ("--prompt", "a cat in the city at night")
BAD = {
    (): "give --x, then --y, then --z",
    ("--y", "steps=1,2", *PROMPT): "give --x, then --y, then --z",
    ("--x", "steps=1", "--z", "seed=1", *PROMPT): "give --x, then --y, then --z",
    ("--x", "steps=1,2"): "give either --prompt or --scenes",
    ("--x", "steps=1,2", *PROMPT, "--scenes", 2): "give either --prompt or --scenes",
    ("--x", "steps=0,2", *PROMPT): "--x: steps must be a whole number from 1 to 1,000, not 0",
    ("--x", "speed=1", *PROMPT): "--x: there is no axis 'speed'",
    ("--z", "sampler=magic", *PROMPT): "--z: sampler 'magic' is not one of",
    ("--x", "steps=1,2", "--y", "steps=3", *PROMPT): "two axes change steps",
    ("--x", "word=dog,owl", *PROMPT): "'dog' is not in the prompt",
    ("--x", "sampler=lcm", "--y", "spacing=trailing", *PROMPT): "timesteps of its own",
    ("--x", "denoise=0.5,1", *PROMPT): "give --image",
    ("--x", "steps=1,2", *PROMPT, "--denoise", 0.5): "give --image",
    ("--x", "strength=0.5,1", *PROMPT): "give --lora once",
    ("--x", "lora=none.safetensors", *PROMPT): "no LoRA file none.safetensors",
    ("--x", "seed=1,2", "--scenes", 2): "seed needs --prompt",
    ("--x", "word=cat,dog", "--scenes", 2): "word needs --prompt",
    ("--x", "steps=1,2", "--scenes", 2, "--seed", 3): "--seed and --image need --prompt",
    ("--x", "steps=1,2", *PROMPT, "--over", "steps=3"): "--over belongs to --recommend",
    ("--x", "steps=1,2", *PROMPT, "--negative", "dog", "--guidance", 1): "--negative has no effect",
    ("--x", "steps=1,2", *PROMPT, "--size", "33x33"): "size 33x33",
    ("--recommend", "--x", "steps=1,2"): "--recommend draws held-out prompts over a grid of its own",
    ("--recommend", *PROMPT): "--recommend draws held-out prompts",
    (
        "--recommend",
        "--over",
        "seed=1,2",
    ): "--over takes each of steps, guidance, sampler, spacing once; seed",
    ("--recommend", "--over", "steps=1", "--over", "steps=2"): "once; steps is another, or stands twice",
    ("--recommend", "--seed", 1): "--seed and --image need --prompt",
    ("--recommend", "--scenes", 0): "--scenes",
    ("--x", "steps=1,2", *PROMPT, "--adopt"): "--adopt belongs to --recommend",
    (
        "--recommend",
        "--adopt",
        "--lora",
        "a.safetensors",
        "--lora",
        "b.safetensors",
    ): "give --lora once at most",
    ("--recommend", "--adopt", "--lora", "a.ckpt"): "a.ckpt has no place for it",
}


@pytest.mark.parametrize("flags", BAD, ids=lambda flags: " ".join(map(str, flags)))
def test_bad_axes_and_flags_are_one_line_and_leave_nothing(capsys, tmp_path, flags):
    assert BAD[flags] in refused(capsys, "sweep", "-o", tmp_path / "out", *flags)
    assert tree(tmp_path) == set()


@pytest.mark.parametrize(
    "flags", [flags for flags in BAD if "33x33" not in flags], ids=lambda flags: " ".join(map(str, flags))
)
def test_bad_axes_are_refused_before_a_model_is_loaded(capsys, monkeypatch, tmp_path, flags):
    def load(*arguments):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("kolors_course.cli.options.load_profile", load)
    refused(capsys, "sweep", "-o", tmp_path / "out", *flags)


def test_a_lora_that_does_not_fit_is_told_before_anything_is_drawn(capsys, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    axes = ("--x", f"lora=none,{tmp_path / 'bad.safetensors'}")
    assert "bad.safetensors" in refused(capsys, "sweep", *PROMPT, *axes, "--steps", 1, "-o", tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.png"))
