"""The dataset doctor's command: reports, mended copies, sheets, exports and exit statuses."""

import json

import numpy as np
import pytest
import yaml
from command_line import command, refused, tree
from PIL import Image

from kolors_course.cli import main
from kolors_course.dataset import read_dataset, write_dataset

pytestmark = pytest.mark.usefixtures("tiny_profile")


def noise(number: int, size: tuple[int, int]) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def pictures(tmp_path):
    """Three pictures of 128x128, 128x128 and 160x80 with one caption of 300 words."""
    sizes = [(128, 128), (128, 128), (160, 80)]
    texts = ["夜晚雪地上的一只兔子", "a rabbit", "cat " * 300]
    return write_dataset(tmp_path / "set", [(noise(i, sizes[i]), texts[i]) for i in range(3)])


def test_warnings_leave_the_status_at_0(capsys, pictures, tmp_path, tiny_folder):
    report = tmp_path / "report.json"
    assert main(command("check-dataset", pictures, "--json", report)) == 0
    out = capsys.readouterr().out
    assert f"captions are counted with the tokenizer of {tiny_folder}" in out
    assert "warning: 1 caption is cut after 254 tokens, the first is of 002.png (line 4)" in out
    assert "warning: 1 picture loses more than 20% when cropped to 128x128" in out
    facts = json.loads(report.read_text(encoding="utf-8"))
    assert facts["ok"] is True
    assert facts["caption_tokens"]["maximum"] > 254
    assert facts["buckets"] == {"128x128": 2, "160x96": 1}
    assert "fixed" not in facts


def test_fix_filters_and_tells_of_the_new_folder(capsys, pictures, tmp_path):
    train = pictures / "train"
    text = (train / "metadata.csv").read_text(encoding="utf-8-sig")
    (train / "metadata.csv").write_bytes((text + "gone.png,gone\n").encode("gbk"))
    assert main(command("check-dataset", pictures)) == 2
    assert "error: " in capsys.readouterr().out
    arguments = (
        "--min-side",
        96,
        "--aspect",
        0.5,
        2,
        "--fix",
        tmp_path / "new",
        "--json",
        tmp_path / "report.json",
    )
    assert main(command("check-dataset", pictures, *arguments)) == 0
    out = capsys.readouterr().out
    assert "turned from gb18030 into UTF-8" in out
    assert "002.png: 160x80 is smaller than 96x96" in out
    assert "gone.png does not exist" in out
    assert f"wrote {tmp_path / 'new'} with 2 pictures" in out
    assert out.endswith("0 error)\n")
    assert [s.text for s in read_dataset(tmp_path / "new").samples] == ["夜晚雪地上的一只兔子", "a rabbit"]
    facts = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (facts["ok"], facts["fixed"]["ok"], facts["fixed"]["pictures"]) == (False, True, 2)
    assert len(facts["fixed"]["actions"]) == 5


def test_sheet_and_data_juicer(capsys, pictures, tmp_path):
    arguments = ("--sheet", tmp_path / "sheet.png", "--juicer", tmp_path / "juicer", "--aspect", 0.5, 2)
    assert main(command("check-dataset", pictures, *arguments)) == 0
    out = capsys.readouterr().out
    config = tmp_path / "juicer" / "config.yaml"
    assert f"dj-process --config {config}" in out
    assert yaml.safe_load(config.read_text())["process"][0]["image_aspect_ratio_filter"]["max_ratio"] == 2.0
    assert len((tmp_path / "juicer" / "input.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 3 * 64


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        (("--min-side", 0), "--min-side: must be a whole number from 1"),
        (("--aspect", 2, 0.5), "aspect 2 to 0.5"),
        (("--aspect", 2), "expected 2 arguments"),
        (("--juicer", "{tmp}/out"), "nothing to filter by"),
        (
            ("--fix", "{tmp}/new", "--juicer", "{tmp}/out", "--json", "{tmp}/report.json"),
            "nothing to filter by",
        ),
        (("--fix", "{tmp}/new", "--sheet", "{tmp}/sheet"), "no picture can be written with that ending"),
        (("--sheet", "{tmp}/sheet.psd"), "no picture can be written with that ending"),
        (("--fix", "{tmp}/set/new"), "lies inside"),
        (("--model", "{tmp}/none"), "there is no model folder"),
        (("--sheet", "{tmp}/set/train/metadata.csv/sheet.png"), "cannot write to"),
    ],
)
def test_bad_flags_are_one_line_and_write_nothing(capsys, pictures, tmp_path, flags, fault):
    before = tree(tmp_path)
    flags = [str(flag).format(tmp=tmp_path) for flag in flags]
    assert fault in refused(capsys, "check-dataset", pictures, *flags)
    assert tree(tmp_path) == before


def test_the_report_is_kept_when_something_later_fails(capsys, pictures, tmp_path):
    report = tmp_path / "report.json"
    assert "lies inside" in refused(
        capsys, "check-dataset", pictures, "--fix", pictures / "x", "--json", report
    )
    assert json.loads(report.read_text(encoding="utf-8"))["pictures"] == 3


def test_a_damaged_tokenizer_is_one_line(capsys, pictures, tmp_path, tiny_folder):
    model = tmp_path / "model"
    for part in ("unet", "vae", "text_encoder", "scheduler", "tokenizer"):
        (model / part).mkdir(parents=True)
    (model / "tokenizer" / "tokenizer.model").write_bytes(b"nonsense")
    assert "cannot load the tokenizer in" in refused(capsys, "check-dataset", pictures, "--model", model)


def test_full_kolors_falls_back_on_the_tokenizer_of_kolors_mini(capsys, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("KOLORS_PROFILE", "kolors")
    monkeypatch.delenv("KOLORS_MODEL")
    monkeypatch.chdir(tmp_path)
    assert main(command("check-dataset", pictures)) == 0
    out = capsys.readouterr().out
    assert "kolors-mini" in out.splitlines()[0]
    assert "smaller than the training size 1024x1024" in out


@pytest.mark.parametrize("flags", [(), ("--fix", "{tmp}/new")])
def test_a_filter_that_leaves_nothing_is_one_error(capsys, pictures, tmp_path, flags):
    flags = [flag.format(tmp=tmp_path) for flag in flags]
    assert main(command("check-dataset", pictures, "--min-side", 500, *flags)) == 2
    out, error = capsys.readouterr()
    assert error == ""
    told = [line for line in out.splitlines() if line.startswith("error: ")]
    assert told == [
        "error: no picture passes the filter: the largest of 3 is 128x128, but both sides must have 500; give "
        "--min-side 128 or less"
    ]
    assert not (tmp_path / "new").exists()
    assert main(command("check-dataset", pictures, "--aspect", 3, 4, *flags)) == 2
    assert "and width / height is 1 to 2; give other bounds to --aspect" in capsys.readouterr().out
