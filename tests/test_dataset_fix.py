"""Mending: what comes out is a good dataset, what was done is told, and the original is as it was."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kolors_course.dataset import Filter, check_dataset, fix_dataset, open_picture, read_dataset
from kolors_course.dataset.folders import mask_file
from kolors_course.errors import CourseError
from kolors_course.training.masks import mask_beside


def noise(number: int, size: tuple[int, int] = (24, 16)) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def contents(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def table(
    folder: Path, rows: dict[str, str], encoding: str = "utf-8", header: str = "file_name,text"
) -> Path:
    path = folder / "metadata.csv"
    lines = [header, *(f'{name},"{text}"' for name, text in rows.items())]
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


@pytest.fixture
def broken(tmp_path) -> Path:
    """One of each: good, turned, CMYK, transparent, a copy, cut short, no picture, missing, no caption."""
    folder = tmp_path / "broken"
    folder.mkdir()
    noise(0).save(folder / "good.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(1).save(folder / "turned.png", exif=exif)
    noise(2).convert("CMYK").save(folder / "cmyk.tif")
    Image.new("RGBA", (24, 16), (0, 0, 0, 51)).save(folder / "clear.png")
    noise(0).save(folder / "copy.bmp")
    noise(3).save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:500])
    (folder / "text.png").write_text("not a picture")
    noise(4).save(folder / "untold.png")
    names = ("good.png", "turned.png", "cmyk.tif", "clear.png", "copy.bmp", "cut.png", "text.png", "gone.png")
    table(folder, {**{name: f"一张 {name}" for name in names}, "untold.png": " ", "../out.png": "out"})
    return folder


def test_everything_that_can_be_mended_is(broken, tmp_path):
    before = contents(broken)
    repair = fix_dataset(broken, tmp_path / "new")
    assert contents(broken) == before
    assert (repair.folder, repair.pictures) == (tmp_path / "new", 4)

    dataset = read_dataset(tmp_path / "new")
    assert [s.text for s in dataset.samples] == [
        f"一张 {name}" for name in ("good.png", "turned.png", "cmyk.tif", "clear.png")
    ]
    originals = ("good.png", "turned.png", "cmyk.tif", "clear.png")
    for sample, original in zip(dataset.samples, originals, strict=True):
        with Image.open(sample.path) as image:  # as any other reader sees it
            assert image.mode == "RGB"
            assert not image.getexif()
            assert image.tobytes() == open_picture(broken / original).tobytes()
    assert dataset.samples[1].size == (16, 24)
    with Image.open(dataset.samples[3].path) as image:
        assert image.getpixel((0, 0)) == (204, 204, 204)  # black at 51/255 on white
    assert check_dataset(tmp_path / "new").warnings == ()


def test_every_row_is_told_in_order(broken, tmp_path):
    source = broken / "metadata.csv"
    told = fix_dataset(broken, tmp_path / "new").actions
    assert told[:5] == (
        "kept: good.png as 000.png",
        "kept: turned.png as 001.png (was to be turned (EXIF))",
        "kept: cmyk.tif as 002.png (was CMYK)",
        "kept: clear.png as 003.png (was transparent)",
        f"left out: {source} line 6: copy.bmp: the same picture as good.png; "
        f"the caption '一张 copy.bmp' goes with it",
    )
    assert [action.split(": ")[1] for action in told[5:]] == [
        f"{source} line {line}" for line in range(7, 12)
    ]
    faults = (
        "cannot be decoded",
        "is not a picture",
        "does not exist",
        "is empty",
        "leaves the dataset folder",
    )
    for action, fault in zip(told[5:], faults, strict=True):
        assert action.startswith("left out: ")
        assert fault in action


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("gbk", "turned from gb18030 into UTF-8"),
        ("utf-16", "turned from utf-16"),
        ("utf-8-sig", "byte-order mark"),
    ],
)
def test_encodings_become_plain_utf8(tmp_path, encoding, told):
    folder = tmp_path / "set"
    folder.mkdir()
    noise(0).save(folder / "a.png")
    path = table(folder, {"a.png": "夜晚雪地上的一只兔子"}, encoding)
    repair = fix_dataset(folder, tmp_path / "new")
    assert repair.actions[0].startswith(f"{path}: ")
    assert told in repair.actions[0]
    data = (tmp_path / "new" / "train" / "metadata.csv").read_bytes()
    assert data == "file_name,text\n000.png,夜晚雪地上的一只兔子\n".encode()


def test_spaces_and_column_names(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    noise(0).save(folder / "a.png")
    noise(1).save(folder / "b.png")
    table(folder, {"a.png": " two\n lines \u200b", "b.png": "fine"}, header="File_Name, text")
    repair = fix_dataset(folder, tmp_path / "new")
    assert repair.actions[0].startswith(f"put right: {folder / 'metadata.csv'} line 1: 'File_Name'")
    assert repair.actions[1:] == (
        "kept: a.png as 000.png (caption tidied to 'two lines')",
        "kept: b.png as 001.png",
    )
    data = (tmp_path / "new" / "train" / "metadata.csv").read_text(encoding="utf-8")
    assert data == "file_name,text\n000.png,two lines\n001.png,fine\n"


def test_caption_files_in_several_encodings(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for i, (name, encoding) in enumerate([("a", "gbk"), ("b", "utf-8"), ("c", "utf-8-sig")]):
        noise(i).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_bytes(f"一只{name}兔子\r\n".encode(encoding))
    noise(3).save(folder / "d.png")
    repair = fix_dataset(folder, tmp_path / "new")
    assert [s.text for s in read_dataset(tmp_path / "new").samples] == ["一只a兔子", "一只b兔子", "一只c兔子"]
    assert len(repair.actions) == 6
    assert f"left out: {folder / 'd.png'}: has no caption; describe it in d.txt beside it" in repair.actions
    assert "kept: b.png as 001.png" in repair.actions


def test_masks_come_along_upright(tmp_path):
    folder, exif = tmp_path / "set", Image.Exif()
    folder.mkdir()
    exif[0x0112] = 6
    for i, name in enumerate("abc"):
        noise(i).save(folder / f"{name}.png", exif=exif)
    noise(5).save(folder / "a-masklabel.png", exif=exif)
    upright = noise(6, (16, 24))
    upright.save(folder / "b-masklabel.png")
    table(folder, {f"{name}.png": name for name in "abc"})
    repair = fix_dataset(folder, tmp_path / "new")
    assert not any("mask" in action for action in repair.actions)
    samples = read_dataset(tmp_path / "new").samples
    masks = [mask_beside(sample.path, sample.size) for sample in samples]
    assert masks[0].tobytes() == open_picture(folder / "a-masklabel.png").tobytes()
    assert masks[1].tobytes() == upright.tobytes()
    assert not mask_file(samples[2].path).exists()
    with Image.open(mask_file(samples[0].path)) as mask:
        assert (mask.size, dict(mask.getexif())) == ((16, 24), {})


def test_masks_that_cannot_be_kept_are_not_lost_silently(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for i, name in enumerate("ab"):
        noise(i).save(folder / f"{name}.png")
    noise(2, (9, 9)).save(folder / "a-masklabel.png")
    (folder / "b-masklabel.png").write_text("no picture")
    table(folder, {"a.png": "a", "b.png": "b"})
    one, two = fix_dataset(folder, tmp_path / "new").actions
    assert one == "kept: a.png as 000.png (its mask a-masklabel.png was not copied: it is 9x9)"
    assert two.startswith(
        f"kept: b.png as 001.png (its mask was not copied: {folder / 'b-masklabel.png'} is not"
    )
    assert not [*(tmp_path / "new").rglob("*mask*")]


def test_no_profile_of_another_colour_space_gets_into_a_mended_picture(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    noise(0).convert("CMYK").save(folder / "a.jpg", icc_profile=b"a profile of ink")
    table(folder, {"a.jpg": "a"})
    fix_dataset(folder, tmp_path / "new")
    with Image.open(tmp_path / "new" / "train" / "000.png") as image:
        assert (image.mode, image.info.get("icc_profile")) == ("RGB", None)


def test_captions_that_are_not_read_are_told(tmp_path):
    folder = tmp_path / "set"
    (folder / "train").mkdir(parents=True)
    noise(0).save(folder / "train" / "a.png")
    noise(1).save(folder / "b.png")
    (folder / "b.txt").write_text("b")
    table(folder / "train", {"a.png": "a"})
    told = fix_dataset(folder, tmp_path / "new").actions
    assert told[0].startswith(f"not read: captions in {folder} are not read")
    assert told[1:] == ("kept: a.png as 000.png",)


def test_captions_of_nothing_but_invisible_characters(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    noise(0).save(folder / "a.png")
    noise(1).save(folder / "b.png")
    path = table(folder, {"a.png": "\u200b", "b.png": "b"})
    repair = fix_dataset(folder, tmp_path / "new")
    assert repair.actions == (
        f"left out: {path} line 2: the caption of 'a.png' is empty; describe the picture in 'text'",
        "kept: b.png as 000.png",
    )


def test_the_filter_leaves_pictures_out(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    sizes = {"fit.png": (32, 20), "small.png": (32, 19), "wide.png": (64, 20)}
    for i, (name, size) in enumerate(sizes.items()):
        noise(i, size).save(folder / name)
    path = table(folder, {name: name for name in sizes})
    repair = fix_dataset(folder, tmp_path / "new", Filter(20, (0.5, 2)))
    assert repair.actions == (
        "kept: fit.png as 000.png",
        f"left out: {path} line 3: small.png: 32x19 is smaller than 20x20",
        f"left out: {path} line 4: wide.png: width / height 3.2 is not within 0.5 to 2",
    )
    with pytest.raises(
        CourseError,
        match="no picture passes the filter: the largest of 3 is 32x20, but both sides must have 99; give",
    ):
        fix_dataset(folder, tmp_path / "none", Filter(99))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("target", ["set", "set/new", "set/../set/train/new"])
def test_the_original_is_never_the_target(tmp_path, target):
    folder = tmp_path / "set"
    folder.mkdir()
    noise(0).save(folder / "a.png")
    table(folder, {"a.png": "a"})
    before = contents(tmp_path)
    with pytest.raises(CourseError, match="lies inside .* choose another folder"):
        fix_dataset(folder, tmp_path / target)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine").touch()
    with pytest.raises(CourseError, match="is not an empty folder"):
        fix_dataset(folder, tmp_path / "used")
    (tmp_path / "used" / "mine").unlink()
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "content", [b"filename,caption\na.png,a\n", "caf\u00e9".encode("latin-1"), b"file_name,text\n"]
)
def test_what_cannot_be_understood_is_refused_as_by_the_reader(tmp_path, content):
    folder = tmp_path / "set"
    folder.mkdir()
    noise(0).save(folder / "a.png")
    (folder / "metadata.csv").write_bytes(content)
    with pytest.raises(CourseError) as strict:
        read_dataset(folder)
    with pytest.raises(CourseError) as caught:
        fix_dataset(folder, tmp_path / "new")
    assert str(caught.value) == str(strict.value)
    assert not (tmp_path / "new").exists()
