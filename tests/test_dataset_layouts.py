"""The layouts besides metadata.csv: what they mean, and the one line about everything wrong with them."""

import json
from pathlib import Path

import pytest
from PIL import Image, features

from kolors_course.dataset import check_dataset, dataset_hash, read_dataset
from kolors_course.dataset.layouts import find_listing
from kolors_course.errors import CourseError


def pictures(folder: Path, *names: str) -> Path:
    """One-coloured pictures called `names` in `folder`, all different."""
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (40 * i, 0, 255 - 40 * i)).save(folder / name)
    return folder


def jsonl(folder: Path, *records) -> Path:
    path = folder / "metadata.jsonl"
    lines = [r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in records]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def record(file_name: str, text: str) -> dict:
    return {"file_name": file_name, "text": text}


def captions(path: Path) -> list[tuple[str, str, int]]:
    dataset = read_dataset(path)
    return [(s.path.relative_to(dataset.folder).as_posix(), s.text, s.line) for s in dataset.samples]


def complaint(path: Path) -> str:
    with pytest.raises(CourseError) as caught:
        read_dataset(path)
    message = str(caught.value)
    assert "\n" not in message
    assert check_dataset(path).problems[0] in message
    return message


# metadata.jsonl


@pytest.mark.parametrize("below", ["", "train"])
def test_jsonl(tmp_path, below):
    folder = pictures(tmp_path / below, "a.png", "more/b.png")
    jsonl(folder, record("a.png", "a red flag"), "", record("more/b.png", " 雪\u2028地 "))
    assert find_listing(tmp_path).layout == "metadata.jsonl"
    assert captions(tmp_path) == [("a.png", "a red flag", 1), ("more/b.png", "雪\u2028地", 3)]


def test_jsonl_with_a_byte_order_mark_and_windows_line_ends(tmp_path):
    path = jsonl(pictures(tmp_path, "a.png", "b.png"), record("a.png", "a"), record("b.png", "b"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert captions(tmp_path) == [("a.png", "a", 1), ("b.png", "b", 2)]


def test_jsonl_keys_are_forgiven_like_columns(tmp_path):
    path = jsonl(pictures(tmp_path, "a.png"), {"Text": "a", " file_name": "a.png"})
    assert captions(tmp_path) == [("a.png", "a", 1)]
    assert check_dataset(tmp_path).warnings == (
        f"{path} line 1: 'Text', ' file_name' is understood here, but other trainers want file_name,text",
    )


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"file_name": "b.png", "text": "b"', "not valid JSON (Expecting ',' delimiter); each line must be"),
        ("[" * 100_000, "not valid JSON ("),
        ('["b.png", "b"]', "not a JSON object; each line must be like {"),
        (
            {"file_name": "b.png", "caption": "b"},
            "the keys must be 'file_name', 'text', but found 'file_name', ",
        ),
        ({"file_name": "b.png", "text": None}, "text is null; it must be text in double quotes"),
        ({"file_name": ["b.png"], "text": "b"}, 'file_name is ["b.png"]; it must be text'),
        ('{"file_name": "b.png", "text": "\\ud83d"}', "text holds half a character"),
        (record("b.png", " "), "the caption of 'b.png' is empty"),
        (record("c.png", "c"), "c.png does not exist"),
        (record("../b.png", "b"), "leaves the dataset folder"),
        (record("a.png", "again"), "'a.png' is already listed on line 1"),
    ],
)
def test_one_bad_line_of_jsonl_is_named(tmp_path, line, fault):
    path = jsonl(pictures(tmp_path, "a.png", "b.png"), record("a.png", "a"), line)
    message = complaint(tmp_path)
    assert message.startswith(f"{path} line 2: ")
    assert fault in message


def test_jsonl_with_other_keys_throughout_is_one_fault(tmp_path):
    """What data-juicer reads: a list of pictures under "image"."""
    lines = [{"text": "二次元", "image": [name]} for name in ("a.png", "b.png")]
    path = jsonl(pictures(tmp_path, "a.png", "b.png"), *lines)
    assert complaint(tmp_path) == (
        f"{path} line 1: the keys must be 'file_name', 'text', but found 'text', 'image'; "
        f"rename them and leave no other key"
    )


def test_jsonl_without_rows_or_pictures(tmp_path):
    path = jsonl(pictures(tmp_path, "a.png"), "", "")
    assert complaint(tmp_path) == f"{path} has no rows; add one line for each picture"
    (tmp_path / "a.png").unlink()
    jsonl(tmp_path, record("a.png", "a"))
    assert complaint(tmp_path) == f"{tmp_path} holds no pictures; put those named in metadata.jsonl beside it"


def test_two_metadata_files_leave_open_which_is_meant(tmp_path):
    jsonl(pictures(tmp_path, "a.png"), record("a.png", "a"))
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,another\n")
    message = f"{tmp_path} holds both metadata.csv and metadata.jsonl; keep the one to train on"
    assert complaint(tmp_path) == message


def test_the_same_pictures_and_captions_are_the_same_data_in_every_layout(tmp_path):
    texts = {"a.png": "cat", "b.png": "一只狗"}
    folders = [pictures(tmp_path / name, *texts) for name in ("csv", "jsonl", "files")]
    rows = [f"{name},{text}\n" for name, text in texts.items()]
    (folders[0] / "metadata.csv").write_text("file_name,text\n" + "".join(rows), encoding="utf-8")
    jsonl(folders[1], *(record(name, text) for name, text in texts.items()))
    for name, text in texts.items():
        (folders[2] / name).with_suffix(".txt").write_text(text, encoding="utf-8")
    classes = pictures(tmp_path / "classes", "cat/a.png", "一只狗/b.png")
    datasets = [read_dataset(folder) for folder in (*folders, classes)]
    assert [len(dataset) for dataset in datasets] == [2] * 4
    assert len({dataset_hash(dataset) for dataset in datasets}) == 1


# Caption files


def test_caption_files(tmp_path):
    folder = pictures(tmp_path / "train", "b.jpg", "a.png", "more/c.webp", ".hidden/d.png")
    (folder / "a.txt").write_bytes("\ufeff一面红旗\r\n".encode())
    (folder / "b.txt").write_text("a flag\nin the wind\n")
    (folder / "more" / "c.txt").write_text("c")
    assert find_listing(tmp_path).layout == "caption files"
    assert captions(tmp_path) == [
        ("a.png", "一面红旗", 0),
        ("b.jpg", "a flag\nin the wind", 0),
        ("more/c.webp", "c", 0),
    ]


def test_metadata_comes_before_caption_files(tmp_path):
    folder = pictures(tmp_path, "a.png")
    (folder / "a.txt").write_text("from the file")
    (folder / "metadata.csv").write_text("file_name,text\na.png,from the table\n")
    assert captions(tmp_path) == [("a.png", "from the table", 2)]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "{folder}/b.png: has no caption; describe it in b.txt beside it"),
        (b" \n", "{folder}/b.txt: the caption of 'b.png' is empty"),
        (
            "第一行\n兔子".encode("gbk"),
            "{folder}/b.txt: line 1: byte 0xb5 at position 0 of the file is not UTF-8",
        ),
    ],
)
def test_one_bad_caption_file_is_named(tmp_path, content, fault):
    folder = pictures(tmp_path, "a.png", "b.png")
    (folder / "a.txt").write_text("a")
    if content is not None:
        (folder / "b.txt").write_bytes(content)
    assert complaint(folder).startswith(fault.format(folder=folder))


def test_a_damaged_picture_with_a_caption_file(tmp_path):
    folder = pictures(tmp_path, "a.png", "b.png")
    for name in "ab":
        (folder / f"{name}.txt").write_text(name)
    (folder / "b.png").write_bytes(b"not a picture")
    assert complaint(folder).startswith(f"{folder / 'b.txt'}: {folder / 'b.png'} is not a picture")


def test_captions_without_a_picture_are_told(tmp_path):
    folder = pictures(tmp_path, "a.png")
    for name in ("a", "lost", "readme"):
        (folder / f"{name}.txt").write_text(name)
    assert check_dataset(folder).warnings == (
        f"2 caption files have no picture of the same name in {folder}, the first is lost.txt",
    )


# Class folders


def test_class_folders(tmp_path):
    pictures(tmp_path, "train/golden_retriever/b.png", "train/cat/a.png", "test/dog/c.png")
    assert captions(tmp_path) == [("cat/a.png", "cat", 0), ("golden_retriever/b.png", "golden retriever", 0)]
    report = check_dataset(tmp_path)
    assert report.layout == "class folders"
    (warning,) = report.warnings
    assert warning.startswith("the captions are the names of 2 folders")


def test_masks_are_no_pictures(tmp_path):
    """`cat/a-masklabel.png` says which parts of `cat/a.jpg` are to be learned."""
    pictures(tmp_path, "cat/a.jpg", "cat/a-masklabel.png", "dog/b.png")
    assert [name for name, _, _ in captions(tmp_path)] == ["cat/a.jpg", "dog/b.png"]
    (tmp_path / "cat" / "a.txt").write_text("a cat")
    (tmp_path / "dog" / "b.txt").write_text("a dog")
    assert [text for _, text, _ in captions(tmp_path)] == ["a cat", "a dog"]
    jsonl(tmp_path, record("cat/a.jpg", "a"), record("dog/b.png", "b"))
    assert check_dataset(tmp_path).warnings == ()


@pytest.mark.parametrize("names", [(), ("a.png",), ("cat/a.png",), ("cat/a.png", "dog/b.png", "c.png")])
def test_folders_that_are_no_classes(tmp_path, names):
    pictures(tmp_path, *names)
    message = complaint(tmp_path)
    assert message.startswith(f"metadata.csv is missing: neither {tmp_path / 'train' / 'metadata.csv'} nor ")
    assert "nor a .txt or .caption file beside any picture" in message


# What lies there and is not read


def test_pictures_of_every_common_ending_are_seen(tmp_path):
    """A .heic, which Pillow cannot open, is an error rather than a picture passed over."""
    names = ["a.jfif", "b.JPE", "c.jpeg", "d.tiff"] + (["e.avif"] if features.check("avif") else [])
    pictures(tmp_path, *names)
    (tmp_path / "z.heic").write_bytes(b"not for Pillow")
    for name in (*names, "z.heic"):
        (tmp_path / name).with_suffix(".txt").write_text(name)
    report = check_dataset(tmp_path)
    assert list(report.samples) == names
    assert not any("no picture of the same name" in warning for warning in report.warnings)
    assert complaint(tmp_path).startswith(f"{tmp_path / 'z.txt'}: {tmp_path / 'z.heic'} is not a picture")


@pytest.mark.parametrize("chosen", ["train", ""])
@pytest.mark.parametrize("kind", ["table", "files"])
def test_captions_in_the_folder_not_chosen_are_told(tmp_path, chosen, kind):
    folder, other = tmp_path / chosen, tmp_path / ("" if chosen else "train")
    jsonl(pictures(folder, "a.png"), record("a.png", "a"))
    pictures(other, "b.png")
    if kind == "table" and chosen:
        jsonl(other, record("b.png", "b"))
    else:
        (other / "b.txt").write_text("b")
    assert [name for name, _, _ in captions(tmp_path)] == ["a.png"]
    first = "metadata.jsonl" if kind == "table" and chosen else "b.txt"
    expected = f"captions in {other} are not read, only those of {folder} are (the first is {first}); "
    assert any(warning.startswith(expected) for warning in check_dataset(tmp_path).warnings)


def test_caption_files_beside_an_empty_train_folder_are_read(tmp_path):
    pictures(tmp_path, "a.png")
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "train").mkdir()
    assert captions(tmp_path) == [("a.png", "a", 0)]
    pictures(tmp_path / "train", "b.png")
    (tmp_path / "train" / "b.txt").write_text("b")
    assert captions(tmp_path) == [("b.png", "b", 0)]
    (warning,) = check_dataset(tmp_path).warnings
    assert warning.startswith(f"captions in {tmp_path} are not read")


def test_pictures_that_share_a_caption_or_a_mask_are_told(tmp_path):
    pictures(tmp_path, "x.png", "x.jpg", "x-masklabel.png", "y.png")
    for name in "xy":
        (tmp_path / f"{name}.txt").write_text(name)
    told = [warning for warning in check_dataset(tmp_path).warnings if "ending only" in warning]
    assert [warning.split("; ")[0].rsplit(" ", 1)[1] for warning in told] == [
        str(tmp_path / "x-masklabel.png"),
        str(tmp_path / "x.txt"),
    ]
    jsonl(tmp_path, *(record(name, name) for name in ("x.png", "x.jpg", "y.png")))
    (told,) = [warning for warning in check_dataset(tmp_path).warnings if "ending only" in warning]
    assert "x-masklabel.png" in told
