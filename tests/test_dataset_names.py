"""Names of files: in any bytes, in either Unicode form, in any letter case, and what archives leave behind."""

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from command_line import command, refused
from PIL import Image

from kolors_course.cli import main
from kolors_course.dataset import (
    check_dataset,
    export_data_juicer,
    fix_dataset,
    read_dataset,
    thumbnail_sheet,
)
from kolors_course.dataset.filters import Filter
from kolors_course.dataset.folders import plain_name
from kolors_course.errors import CourseError, printable

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "éクàж.png") for form in ("NFC", "NFD"))


def picture(path: Path, number: int = 0, caption: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (12, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    if caption:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def raw(folder: Path, name: str) -> Path:
    """A path whose name is `name` in GBK."""
    return folder / os.fsdecode(name.encode("gbk"))


def table(folder: Path, rows: dict[str, str]) -> Path:
    text = "file_name,text\n" + "".join(f"{name},{caption}\n" for name, caption in rows.items())
    (folder / "metadata.csv").write_text(text, encoding="utf-8")
    return folder


# Names in GBK


@pytest.fixture
def gbk(tmp_path) -> Path:
    """The good picture 狗.png and the damaged 熊.png, with captions beside them."""
    picture(raw(tmp_path / "set", "狗.png"), 1, "一只狗")
    damaged = picture(raw(tmp_path / "set", "熊.png"), 2, "一只熊")
    damaged.write_bytes(damaged.read_bytes()[:60])
    return tmp_path / "set"


def test_names_that_are_not_utf8_are_shown_escaped(gbk, tmp_path):
    report = check_dataset(gbk)
    assert list(report.samples) == [r"\xb9\xb7.png"]
    (problem,) = report.problems
    assert r"\xd0\xdc.png cannot be decoded" in problem
    for line in (*report.lines(), json.dumps(report.to_dict(), ensure_ascii=False)):
        line.encode("utf-8")
    assert thumbnail_sheet(report).width > 100
    repair = fix_dataset(gbk, tmp_path / "new")
    assert repair.actions[0] == r"kept: \xb9\xb7.png as 000.png"
    "".join(repair.actions).encode("utf-8")
    assert [sample.text for sample in read_dataset(tmp_path / "new").samples] == ["一只狗"]


@pytest.mark.usefixtures("tiny_profile")
def test_the_command_writes_them_escaped_into_json(gbk, capsys, tmp_path):
    arguments = (
        "--json",
        tmp_path / "report.json",
        "--fix",
        tmp_path / "new",
        "--sheet",
        tmp_path / "sheet.png",
    )
    assert main(command("check-dataset", gbk, *arguments)) == 0
    capsys.readouterr().out.encode("utf-8")
    facts = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert any(r"\xd0\xdc.png" in finding["text"] for finding in facts["findings"])
    assert facts["fixed"]["actions"][0] == r"kept: \xb9\xb7.png as 000.png"


@pytest.mark.usefixtures("tiny_profile")
def test_a_folder_whose_name_is_not_utf8(capsys, tmp_path):
    folder = raw(tmp_path, "狗")
    picture(folder / "a.png", caption="a dog")
    assert main(command("check-dataset", folder, "--json", tmp_path / "report.json")) == 0
    facts = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert facts["folder"].endswith(r"\xb9\xb7")
    error = refused(capsys, "check-dataset", folder, "--juicer", raw(tmp_path, "熊"), "--min-side", 1)
    assert "not UTF-8, and data-juicer reads no other" in error


def test_data_juicer_is_given_no_name_that_it_cannot_read(gbk, tmp_path):
    samples = tuple(check_dataset(gbk).samples.values())
    with pytest.raises(CourseError, match=r"\\xb9\\xb7.png is not UTF-8, and data-juicer reads no other"):
        export_data_juicer(samples, Filter(1), tmp_path / "juicer")
    assert not (tmp_path / "juicer").exists()


def test_a_class_folder_that_is_not_utf8_is_no_caption(tmp_path):
    picture(raw(tmp_path, "狗") / "a.png", 1)
    picture(tmp_path / "cat" / "b.png", 2)
    (problem,) = check_dataset(tmp_path).problems
    assert r"\xb9\xb7" in problem
    assert "the name of its folder, is not UTF-8; rename the folder" in problem


def test_a_table_finds_files_whose_names_are_in_gbk(tmp_path):
    picture(raw(tmp_path, "狗.png"), 1)
    picture(raw(tmp_path, "猫.png"), 2)  # valid as UTF-8, too: è.png
    table(tmp_path, {"狗.png": "一只狗", "猫.png": "一只猫"})
    assert [sample.text for sample in read_dataset(tmp_path).samples] == ["一只狗", "一只猫"]
    (warning,) = check_dataset(tmp_path).warnings
    assert warning.startswith("2 files have their names written otherwise on the disk than in ")


# Unicode forms and letter case


@pytest.mark.parametrize(("on_disk", "listed"), [(DECOMPOSED, COMPOSED), (COMPOSED, DECOMPOSED)])
def test_names_that_differ_in_unicode_form_are_matched(tmp_path, on_disk, listed):
    picture(tmp_path / "more" / on_disk)
    table(tmp_path, {f"more/{listed}": "a picture"})
    (sample,) = read_dataset(tmp_path).samples
    assert sample.path.name == on_disk
    report = check_dataset(tmp_path)
    (warning,) = report.warnings
    assert warning.startswith("1 file has its name written otherwise on the disk than in ")
    assert not any(finding.topic == "unlisted" and finding.verdict != "ok" for finding in report.findings)


def test_captions_beside_pictures_are_matched_too(tmp_path):
    picture(tmp_path / DECOMPOSED, 1)
    (tmp_path / COMPOSED).with_suffix(".txt").write_text("a picture")
    picture(tmp_path / "B.PNG", 2)
    (tmp_path / "b.txt").write_text("b")
    assert [sample.text for sample in read_dataset(tmp_path).samples] == ["b", "a picture"]


def test_names_that_may_mean_two_files_are_explained(tmp_path):
    folder = tmp_path / "set"
    picture(folder / "Cat.png", 1)
    picture(folder / "cat.PNG", 2)
    if len(list(folder.iterdir())) == 1:
        pytest.skip("this disk does not tell letter cases apart")
    table(folder, {"CAT.png": "a cat"})
    (problem,) = check_dataset(folder).problems
    assert "'CAT.png' may be any of 2 files whose names differ only in letter case or in how" in problem
    table(folder, {"Cat.png": "a cat", "cat.PNG": "another"})
    assert [sample.text for sample in read_dataset(folder).samples] == ["a cat", "another"]


def test_plain_names():
    assert plain_name(COMPOSED) == plain_name(DECOMPOSED) == plain_name(COMPOSED.upper())
    assert plain_name(os.fsdecode("猫.PNG".encode("gb18030") + b"\xb9")) != plain_name("猫.png")
    assert plain_name(os.fsdecode("狗.PNG".encode("gbk"))) == plain_name("狗.png")
    assert plain_name("a.png") != plain_name("b.png")


# Endings and leftovers


@pytest.mark.parametrize("ending", [".txt", ".TXT", ".caption", ".CAPTION", ".Txt"])
@pytest.mark.parametrize("picture_ending", [".png", ".PNG"])
def test_captions_of_every_ending(tmp_path, ending, picture_ending):
    picture(tmp_path / f"0{picture_ending}")
    (tmp_path / f"0{ending}").write_text("a red flag")
    (sample,) = read_dataset(tmp_path).samples
    assert sample.text == "a red flag"
    assert check_dataset(tmp_path).warnings == ()


def test_of_two_captions_one_is_read_and_that_is_said(tmp_path):
    picture(tmp_path / "0.png", caption="from txt")
    (tmp_path / "0.caption").write_text("from caption")
    (sample,) = read_dataset(tmp_path).samples
    assert sample.text == "from txt"
    (warning,) = check_dataset(tmp_path).warnings
    assert warning == (
        "1 picture has two caption files; 0.txt is read and 0.caption is not: remove the one that is not meant"
    )


def test_what_macos_leaves_in_archives_is_ignored(tmp_path):
    picture(tmp_path / "0.png", caption="a flag")
    for name in ("._0.png", "__MACOSX/._0.png", "__MACOSX/0.png", "__MACOSX/0.txt", "__MACOSX/metadata.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7 what macOS leaves")
    report = check_dataset(tmp_path)
    assert (report.rows, report.problems, report.warnings) == (1, (), ())
    table(tmp_path, {"0.png": "a flag"})
    assert check_dataset(tmp_path).warnings == ()


def test_a_mask_with_an_upper_case_ending_is_a_mask(tmp_path):
    picture(tmp_path / "0.png", 1, "a flag")
    picture(tmp_path / "0-masklabel.PNG", 2)
    assert len(read_dataset(tmp_path)) == 1
    fix_dataset(tmp_path, tmp_path.with_name(tmp_path.name + "-new"))
    assert (tmp_path.with_name(tmp_path.name + "-new") / "train" / "000-masklabel.png").is_file()


# Captions that cannot be seen


@pytest.mark.parametrize(
    "text",
    [
        *(
            "\u200b",
            "\ufeff\ufeff",
            "\u00a0",
            "\u2800\u2800",
            "\u202a\u202c",
            "\ufe0f",
            "\u2066\u2069",
            "\u3000",
        ),
        *(
            "\u200d\u200c",
            "\U000e0041\U000e007f",
            "\u3164",
            "\u00ad",
            "\u180e",
            "\U000e0100",
            "\u2028",
            "\x01",
        ),
    ],
)
@pytest.mark.parametrize("layout", ["files", "table"])
def test_captions_of_invisible_characters_are_empty(tmp_path, text, layout):
    picture(tmp_path / "0.png", caption=text)
    if layout == "table":
        table(tmp_path, {"0.png": f'"{text}"'})
    (problem,) = check_dataset(tmp_path).problems
    assert "the caption of '0.png' is empty" in problem


@pytest.mark.parametrize(
    "text", ["猫", "🐇", "👨\u200d👩\u200d👧", "a\u200b", "，", "नमस्ते", "🏴\U000e0067\U000e007f"]
)
def test_captions_with_something_to_see_are_not_empty(tmp_path, text):
    picture(tmp_path / "0.png", caption=text)
    assert check_dataset(tmp_path).problems == ()


def test_printable():
    assert printable(os.fsdecode("狗.png".encode("gbk"))) == r"\xb9\xb7.png"
    assert printable("猫 \ud83d") == r"猫 \ud83d"
    assert json.loads(printable(json.dumps("\udcb9", ensure_ascii=False), backslash="\\\\")) == r"\xb9"


def test_names_with_line_breaks_and_controls_stay_on_one_line(tmp_path):
    picture(tmp_path / "a\n\x1b[31m.png", 1)
    picture(tmp_path / "b.png", 2, "b")
    (problem,) = check_dataset(tmp_path).problems
    assert problem.endswith(r"a\n\x1b[31m.png: has no caption; describe it in a\n\x1b[31m.txt beside it")


def test_the_longest_names_that_files_can_have(tmp_path):
    picture(tmp_path / f"{'x' * 251}.png", 1, "a caption")
    assert check_dataset(tmp_path).ok
    assert [sample.text for sample in read_dataset(tmp_path).samples] == ["a caption"]


def test_a_folder_name_that_no_system_takes():
    with pytest.raises(CourseError, match=r"dataset folder x{199}… does not exist"):
        read_dataset("x" * 5000)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may look into every folder")
def test_a_closed_folder_is_an_error_and_not_passed_over(tmp_path):
    picture(tmp_path / "open.png", 1, "a caption")
    picture(tmp_path / "closed" / "a.png", 2, "another")
    (tmp_path / "closed").chmod(0)
    try:
        (problem,) = check_dataset(tmp_path).problems
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert problem == f"cannot look into {tmp_path / 'closed'}: Permission denied; mend its permissions"
