"""The report: counts by hand, every warning, and the same problems as the reader's."""

import json
from pathlib import Path

import numpy as np
import pytest
from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer
from PIL import Image

from kolors_course.dataset import Filter, Report, Spread, check_dataset, read_dataset, write_dataset
from kolors_course.dataset.check import TEXT_TOKENS
from kolors_course.errors import CourseError
from kolors_course.kolors.prompts import MAX_SEQUENCE_LENGTH, token_ids


def picture(colour: str, size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new("RGB", size, colour)


def noise(number: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def found(report: Report, topic: str) -> list[tuple[str, str]]:
    """Verdict and text of the findings about `topic`."""
    return [(finding.verdict, finding.text) for finding in report.findings if finding.topic == topic]


@pytest.fixture
def good(tmp_path) -> Path:
    """Three different pictures with captions of 2, 5 and 6 characters."""
    items = [
        (picture("red", (8, 8)), "红旗"),
        (picture("green", (16, 8)), "green"),
        (picture("blue", (8, 8)), "蓝, 旗飘飘"),
    ]
    return write_dataset(tmp_path / "good", items)


def test_counts_of_a_good_dataset(good):
    report = check_dataset(good)
    assert report.ok
    assert (report.rows, report.pictures, report.distinct_captions) == (3, 3, 3)
    assert report.sizes == {"8x8": 2, "16x8": 1}
    assert report.aspect_ratios == Spread(1.0, 1.0, 2.0)
    assert report.caption_lengths == Spread(2, 5, 6)
    assert report.problems == ()
    assert report.warnings == ()


def test_text_of_a_good_report(good):
    lines = check_dataset(good).lines()
    assert lines[:6] == [
        f"dataset: {good} (metadata.csv)",
        "rows: 3, of which good: 3",
        "sizes (pictures): 8x8 (2), 16x8 (1)",
        "width / height: 1 to 2, median 1",
        "caption characters: 2 to 6, median 5",
        "distinct captions: 3, in Chinese: 2",
    ]
    assert len(lines) > 7
    assert all(line.startswith("ok: ") for line in lines[6:-1])
    assert lines[-1] == f"result: ready to train on ({len(lines) - 7} ok, 0 warning, 0 error)"


def test_report_survives_json(good):
    data = json.loads(json.dumps(check_dataset(good, (8, 8), count_tokens=len).to_dict()))
    assert data["ok"] is True
    assert data["sizes"] == {"8x8": 2, "16x8": 1}
    assert data["caption_lengths"] == data["caption_tokens"] == {"minimum": 2, "median": 5, "maximum": 6}
    (crop,) = [finding for finding in data["findings"] if finding["topic"] == "crop"]
    assert (crop["verdict"], crop["pictures"]) == ("warning", ["001.png"])
    assert {finding["verdict"] for finding in data["findings"]} == {"ok", "warning"}


def test_the_camps_mistake_one_caption_for_all(tmp_path):
    write_dataset(tmp_path / "set", [(picture("red"), "二次元"), (picture("blue"), "二次元")])
    report = check_dataset(tmp_path / "set")
    assert report.ok
    assert report.distinct_captions == 1
    (warning,) = report.warnings
    assert warning.startswith("all 2 pictures have the same caption '二次元'")


def test_one_caption_for_most_pictures(tmp_path):
    texts = ("二次元", "二次元", "a hare", "二次元")
    write_dataset(tmp_path / "set", [(noise(i), text) for i, text in enumerate(texts)])
    ((verdict, text),) = found(check_dataset(tmp_path / "set"), "captions")
    assert verdict == "warning"
    assert text.startswith("3 of 4 pictures have the same caption '二次元'")
    write_dataset(tmp_path / "two", [(noise(i), "ab"[i // 2]) for i in range(4)])
    assert found(check_dataset(tmp_path / "two"), "captions") == [
        ("ok", "no caption is used by more than 2 of 4 pictures")
    ]


def test_captions_with_the_weights_of_prompts(tmp_path):
    texts = ("a cat (black)", "a （猫：1.3）", "at 10:30", "(a dog:0.5) \\(")
    folder = write_dataset(tmp_path / "set", [(noise(i), text) for i, text in enumerate(texts)])
    ((verdict, text),) = found(check_dataset(folder), "weights")
    assert verdict == "warning"
    assert text.startswith(
        "2 captions have what a prompt would take for a weight, the first is of 001.png (line 3)"
    )
    assert (
        found(check_dataset(write_dataset(tmp_path / "two", [(noise(0), "a cat (black)")])), "weights") == []
    )


def test_captions_longer_than_the_text_encoder_reads(tmp_path):
    items = [(noise(0), "a" * TEXT_TOKENS), (noise(1), "b" * (TEXT_TOKENS + 1))]
    report = check_dataset(write_dataset(tmp_path / "set", items), count_tokens=len)
    assert report.caption_tokens == Spread(TEXT_TOKENS, TEXT_TOKENS + 0.5, TEXT_TOKENS + 1)
    ((verdict, text),) = found(report, "tokens")
    assert verdict == "warning"
    assert text.startswith("1 caption is cut after 254 tokens, the first is of 001.png (line 3) (255 tokens)")
    report = check_dataset(tmp_path / "set", count_tokens=lambda caption: len(caption) - 1)
    assert found(report, "tokens") == [("ok", "no caption is longer than the 254 tokens that are read")]
    assert found(check_dataset(tmp_path / "set"), "tokens") == []


def test_the_limit_is_what_is_left_of_kolors_256_tokens(tiny_folder):
    tokenizer = ChatGLMTokenizer.from_pretrained(tiny_folder / "tokenizer")
    assert len(token_ids(tokenizer, "")) + TEXT_TOKENS == MAX_SEQUENCE_LENGTH
    assert len(token_ids(tokenizer, "cat " * 999)) == MAX_SEQUENCE_LENGTH


def test_one_picture_is_not_blamed_for_having_one_caption(tmp_path):
    write_dataset(tmp_path / "set", [(picture("red"), "二次元")])
    assert check_dataset(tmp_path / "set").warnings == ()


def test_small_pictures(good):
    assert found(check_dataset(good), "size") == []
    fits = check_dataset(good, training_size=(8, 8))
    assert found(fits, "size") == [("ok", "no picture is smaller than the training size 8x8")]
    ((_, text),) = found(check_dataset(good, training_size=(16, 8)), "size")
    assert text.startswith("2 pictures are smaller than the training size 16x8")
    assert "the first is 000.png (8x8)" in text
    ((verdict, text),) = found(check_dataset(good, training_size=(8, 9)), "size")
    assert verdict == "warning"
    assert text.startswith("3 pictures are smaller")


def test_crops_and_the_buckets_that_avoid_them(tmp_path):
    sizes = [(128, 128), (140, 128), (384, 128), (160, 96)]
    folder = write_dataset(tmp_path / "set", [(noise(i, size), str(i)) for i, size in enumerate(sizes)])
    report = check_dataset(folder, training_size=(128, 128))
    # 140x128 loses 1 - 128/140 of its width, which is little; 384x128 loses 2/3, and 160x96 loses 2/5.
    ((verdict, text),) = found(report, "crop")
    assert verdict == "warning"
    assert text.startswith(
        "2 pictures lose more than 20% when cropped to 128x128, most is cut off 002.png (67%)"
    )
    # With 32 px steps only 160x96 is wide; 384x128 still loses 1 - (160/96) / 3 = 44 %.
    assert text.endswith("with the buckets above it is at most 44%")
    assert report.buckets == {"128x128": 2, "160x96": 2}
    assert "buckets (pictures): 128x128 (2), 160x96 (2)" in report.lines()


def test_pictures_that_the_filter_turns_away(good):
    report = check_dataset(good, wanted=Filter(min_side=8, aspect=(0.5, 1.5)))
    assert found(report, "filter") == [
        (
            "warning",
            "1 picture is turned away by the filter, the first is 001.png (width / height 2 is not within "
            "0.5 to 1.5)",
        )
    ]
    assert found(check_dataset(good, wanted=Filter(8, (0.5, 2))), "filter")[0][0] == "ok"
    assert found(check_dataset(good), "filter") == []


def test_pictures_that_others_show_differently(good):
    exif = Image.Exif()
    exif[0x0112] = 6
    train = good / "train"
    picture("red", (8, 16)).save(train / "000.png", exif=exif)
    Image.new("RGBA", (8, 8), (0, 0, 0, 128)).save(train / "001.png")
    report = check_dataset(good)
    assert found(report, "format") == [
        (
            "warning",
            "2 pictures are shown rightly here, but perhaps not by other trainers, the first is 000.png "
            "(to be turned (EXIF))",
        )
    ]
    assert report.sizes == {"16x8": 1, "8x8": 2}


def test_duplicate_pictures_whatever_the_format(tmp_path):
    folder = write_dataset(
        tmp_path / "set", [(picture("red"), "a"), (picture("blue"), "b"), (picture("red"), "c")]
    )
    with Image.open(folder / "train" / "002.png") as image:
        image.save(folder / "train" / "003.bmp")
    table = folder / "train" / "metadata.csv"
    table.write_text(table.read_text(encoding="utf-8") + "003.bmp,d\n", encoding="utf-8")
    (warning,) = check_dataset(folder).warnings
    assert warning.startswith(
        "the same picture 3 times: 000.png (line 2), 002.png (line 4), 003.bmp (line 5)"
    )


def test_pictures_that_look_alike(tmp_path):
    """The same picture, smaller and lossy, beside another one."""
    scene = Image.radial_gradient("L").convert("RGB").crop((0, 60, 200, 256))
    items = [(scene, "a"), (noise(1), "b"), (scene.resize((100, 98)), "c")]
    (warning,) = check_dataset(write_dataset(tmp_path / "set", items)).warnings
    assert warning.startswith("2 pictures look alike: 000.png (line 2), 002.png (line 4);")


def test_unlisted_pictures(good):
    picture("black").save(good / "train" / "extra.PNG")
    (good / "train" / "._000.png").write_bytes(b"what macOS leaves in archives")
    (good / "train" / "notes.txt").write_text("not a picture")
    (warning,) = check_dataset(good).warnings
    assert warning.startswith("1 picture is not listed in ")
    assert warning.endswith("the first is extra.PNG")


def test_header_that_other_trainers_reject(good):
    table = good / "train" / "metadata.csv"
    table.write_text(
        table.read_text(encoding="utf-8-sig").replace("file_name,text", "File_Name, text"), encoding="utf-8"
    )
    (warning,) = check_dataset(good).warnings
    assert warning == (
        f"{table} line 1: 'File_Name', ' text' is understood here, but other trainers want file_name,text"
    )


def test_all_problems_are_collected_in_the_readers_words(good):
    table = good / "train" / "metadata.csv"
    table.write_text("file_name,text\n000.png,\n001.png,fine\nno.png,no\n../002.png,out\n", encoding="utf-8")
    report = check_dataset(good)
    assert not report.ok
    assert (report.rows, report.pictures) == (4, 1)
    assert [problem.split(": ")[0] for problem in report.problems] == [
        f"{table} line {number}" for number in (2, 4, 5)
    ]
    with pytest.raises(CourseError) as caught:
        read_dataset(good)
    assert str(caught.value).startswith(report.problems[0])
    lines = report.lines()
    assert [line for line in lines if line.startswith("error: ")] == [
        f"error: {problem}" for problem in report.problems
    ]
    assert lines[-1].startswith("result: mend the errors before training (")
    assert lines[-1].endswith(" 3 error)")


def test_all_rows_bad(good):
    (good / "train" / "metadata.csv").write_text("file_name,text\nno.png,no\n", encoding="utf-8")
    report = check_dataset(good)
    assert (report.rows, report.pictures, report.sizes) == (1, 0, {})
    assert report.aspect_ratios is None
    assert report.caption_lengths is None
    assert len(report.lines()) == 4
    assert json.dumps(report.to_dict())


@pytest.mark.parametrize("table", [None, "", "filename,caption\na,b\n", "file_name,text\n"])
def test_a_folder_that_cannot_be_read_is_one_problem(tmp_path, table):
    if table is not None:
        (tmp_path / "metadata.csv").write_text(table)
    with pytest.raises(CourseError) as caught:
        read_dataset(tmp_path)
    report = check_dataset(tmp_path)
    assert report.problems == (str(caught.value),)
    assert (report.ok, report.rows, report.pictures) == (False, 0, 0)
    assert json.dumps(report.to_dict())
