"""The strict reader: what it accepts, and the one line it says about everything it does not."""

import io
import os
import shutil
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from kolors_course.dataset import Dataset, Sample, dataset_hash, read_dataset
from kolors_course.errors import CourseError

HEADER = "file_name,text\n"


@pytest.fixture
def train(tmp_path) -> Path:
    """`tmp_path/set/train` with two pictures, `a.png` 6x4 red and `b.png` 3x5 blue, and no table."""
    folder = tmp_path / "set" / "train"
    folder.mkdir(parents=True)
    Image.new("RGB", (6, 4), "red").save(folder / "a.png")
    Image.new("RGB", (3, 5), "blue").save(folder / "b.png")
    return folder


def write_table(folder: Path, content: str | bytes) -> Path:
    path = folder / "metadata.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def complaint(path: Path) -> str:
    """The message of the refusal: one line, and the folder is left as it was."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(CourseError) as caught:
        read_dataset(path)
    assert sorted(path.parent.rglob("*")) == before
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_reads_the_camp_layout_from_parent_and_from_train(train):
    write_table(train, HEADER + "a.png,a red flag\nb.png,蓝色的旗\n")
    expected = Dataset(
        train,
        (Sample(train / "a.png", "a red flag", (6, 4), 2), Sample(train / "b.png", "蓝色的旗", (3, 5), 3)),
    )
    assert read_dataset(train) == expected
    assert read_dataset(str(train.parent)) == expected
    assert len(expected) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_line_endings_and_quoted_captions(train, encoding, newline):
    rows = ["file_name,text", 'a.png,"红旗, 在""风""中"', "", "b.png,  蓝旗，静止 ", ""]
    write_table(train, newline.join(rows).encode(encoding))
    samples = read_dataset(train).samples
    assert [(s.text, s.line) for s in samples] == [('红旗, 在"风"中', 2), ("蓝旗，静止", 4)]


def test_forgives_order_case_and_spaces_of_columns_and_spaces_after_commas(train):
    write_table(train, ' Text ,FILE_NAME\n"one, two", a.png\nthree, "b.png"\n')
    assert [(s.path.name, s.text) for s in read_dataset(train).samples] == [
        ("a.png", "one, two"),
        ("b.png", "three"),
    ]


def test_line_numbers_count_the_lines_inside_quoted_captions(train):
    write_table(train, HEADER + 'a.png,"first\nsecond"\n\nb.png,third\n')
    assert [s.line for s in read_dataset(train).samples] == [2, 5]


def test_subfolders_and_backslashes(train):
    (train / "more").mkdir()
    (train / "a.png").rename(train / "more" / "a.png")
    write_table(train, HEADER + "more\\a.png,a\n./b.png,b\n")
    assert [s.path for s in read_dataset(train).samples] == [train / "more" / "a.png", train / "b.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_links_may_point_outside_as_in_the_hugging_face_cache(train, tmp_path):
    shutil.move(train / "a.png", tmp_path / "blob")
    os.symlink(tmp_path / "blob", train / "a.png")
    write_table(train, HEADER + "a.png,a\n")
    assert read_dataset(train).samples[0].size == (6, 4)


def test_size_follows_the_exif_orientation(train):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (8, 2)).save(train / "a.jpg", exif=exif)
    write_table(train, HEADER + "a.jpg,a tower\n")
    assert read_dataset(train).samples[0].size == (2, 8)


def test_48_small_pictures_read_fast(train):
    for index in range(48):
        Image.new("RGB", (128, 128), (index, 0, 0)).save(train / f"{index}.png")
    write_table(train, HEADER + "".join(f"{i}.png,picture {i}\n" for i in range(48)))
    start = time.process_time()
    assert len(read_dataset(train)) == 48
    # Processor time, so that a busy machine does not matter; measured 0.03 s.
    assert time.process_time() - start < 1.0


def test_folder_missing_or_a_file(tmp_path):
    message = complaint(tmp_path / "nowhere")
    assert f"dataset folder {tmp_path / 'nowhere'} does not exist" in message
    assert "train/metadata.csv" in message
    (tmp_path / "file").touch()
    assert "is a file, not a folder" in complaint(tmp_path / "file")


def test_metadata_missing_names_both_places(train):
    message = complaint(train.parent)
    assert f"neither {train / 'metadata.csv'} nor {train.parent / 'metadata.csv'} exists" in message
    assert "file_name,text" in message


def test_metadata_unreadable(train, monkeypatch):
    path = write_table(train, HEADER)

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert complaint(train).startswith(f"cannot read {path}: Permission denied; ")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_not_utf8_names_line_and_byte(train, mark):
    data = mark + HEADER.encode() + b"a.png,ok\nb.png," + "兔子".encode("gbk")
    path = write_table(train, data)
    position = len(mark) + len(HEADER) + len("a.png,ok\nb.png,")
    message = complaint(train)
    assert f"{path} line 3: byte 0xcd at position {position} of the file is not UTF-8" in message
    assert data[position] == 0xCD
    assert "save the file again as UTF-8" in message


def test_utf16(train):
    path = write_table(train, HEADER.encode("utf-16"))
    assert f"{path} line 1: byte 0x" in complaint(train)
    write_table(train, HEADER.encode("utf-16-le"))  # without a mark it is UTF-8 full of NULs
    assert f"{path} line 1: holds a NUL character" in complaint(train)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("filename,caption", "'filename', 'caption'"),
        ("file_name", "'file_name'"),
        ("file_name,text,source", "'file_name', 'text', 'source'"),
        ("file_name,text,text", "'file_name', 'text', 'text'"),
        ("file name, text", "'file name', ' text'"),
        ("file_name|text", "'file_name|text'"),
        ("file_name，text", "'file_name，text'"),
        (",file_name,text", "'', 'file_name', 'text'"),
        ("x" * 200 + ",text", "'" + "x" * 59 + "…', 'text'"),
        ("a,b,c,d,e,f,g,h", "'a', 'b', 'c', 'd', 'e', 'f', and 2 more"),
    ],
)
def test_wrong_columns_say_found_and_expected(train, header, found):
    path = write_table(train, header + "\na.png,a\n")
    assert complaint(train) == (
        f"{path} line 1: the columns must be 'file_name', 'text', but found {found}; "
        f"make the first line file_name,text and leave no other column"
    )


def test_empty_file_has_no_columns(train):
    write_table(train, "")
    assert "but found none" in complaint(train)


def test_no_rows(train):
    path = write_table(train, HEADER + "\n\n")
    assert complaint(train) == f"{path} has no rows below its header; add one row for each picture"


def test_no_pictures(train):
    (train / "a.png").unlink()
    (train / "b.png").unlink()
    write_table(train, HEADER + "a.png,a\n")
    assert complaint(train) == f"{train} holds no pictures; put those named in metadata.csv beside it"


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ('a.png,a\nb.png,"not closed\nmore\n', 3),
        ('a.png,"a "red" flag"\n', 2),
        ("a.png," + "x" * 200_000, 2),  # longer than any caption: the csv module's limit
    ],
)
def test_broken_quoting(train, rows, line):
    path = write_table(train, HEADER + rows)
    message = complaint(train)
    assert message.startswith(f"{path} line {line}: not valid CSV (")
    assert "double quote" in message


def test_endless_header(train):
    path = write_table(train, "x" * 200_000)
    assert complaint(train).startswith(f"{path} line 1: not valid CSV (")


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("c.png,a cat", "picture {train}/c.png does not exist; put it there, or correct its path"),
        ("metadata.csv,a table", "{train}/metadata.csv is not a picture Pillow can open; replace it by"),
        (".,a folder", "picture {train} is a folder; put it there"),
        ("x" * 300 + ".png,a name no file system takes", f"file_name '{39 * 'x'}…' is longer than any"),
        ("b.png,  ", "the caption of 'b.png' is empty; describe the picture in 'text'"),
        ("x/" * 2000 + "b.png,a path no system takes", "is longer than any file's name; correct it"),
        (
            "https://a.example/b.png,an address",
            "is an address; download the picture and give the file's name",
        ),
        ("b.png," + "x" * 100_001, "has 100001 characters; is it one? shorten it"),
        (",a cat", "file_name is empty; fill it in or remove the row"),
        ("b.png", "expected 2 cells (file_name,text), found 1; "),
        (
            "b.png,one, two",
            "found 3; a caption that holds what separates the columns must stand in double quotes",
        ),
        ("a.png,again", "'a.png' is already listed on line 2; remove one of the two rows"),
        ("./a.png,again", "'./a.png' is already listed on line 2"),
        ("../b.png,out", "file_name '../b.png' leaves the dataset folder; copy the picture beside"),
        ("x/../../b.png,out", "leaves the dataset folder"),
        ("..\\b.png,out", "leaves the dataset folder"),
        ("/b.png,out", "file_name '/b.png' leaves the dataset folder"),
        ("C:/b.png,out", "file_name 'C:/b.png' leaves the dataset folder"),
    ],
)
def test_one_bad_row_is_named_with_its_line(train, row, fault):
    path = write_table(train, f"{HEADER}a.png,a flag\n{row}\n")
    message = complaint(train)
    assert message.startswith(f"{path} line 3: ")
    assert fault.format(train=train) in message
    assert "more" not in message


def test_pictures_outside_are_refused_even_if_they_exist(train):
    Image.new("RGB", (2, 2)).save(train.parent / "out.png")
    write_table(train, HEADER + "../out.png,out\n")
    assert "leaves the dataset folder" in complaint(train)


@pytest.mark.parametrize("name", ["cut.jpg", "cut.png"])
@pytest.mark.parametrize("keep", [0.5, 0.95])
def test_truncated_pictures_are_found_by_decoding(train, name, keep):
    stream = io.BytesIO()
    picture = Image.effect_noise((64, 64), 80).convert("RGB")
    picture.save(stream, "JPEG" if name.endswith("jpg") else "PNG")
    data = stream.getvalue()
    (train / name).write_bytes(data)
    path = write_table(train, f"{HEADER}{name},noise\n")
    assert len(read_dataset(train)) == 1
    (train / name).write_bytes(data[: int(len(data) * keep)])
    message = complaint(train)
    assert message.startswith(f"{path} line 2: picture {train / name} cannot be decoded (")
    assert message.endswith("the file is damaged or cut short: copy it again")


def test_unreadable_picture(train, monkeypatch):
    write_table(train, HEADER + "a.png,a\n")

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refuse)
    assert "Permission denied" in complaint(train)


def test_sixteen_bit_grey_is_refused_rather_than_clipped_to_white(train):
    Image.new("I;16", (4, 4), 30000).save(train / "deep.png")
    write_table(train, HEADER + "deep.png,grey\n")
    message = complaint(train)
    assert f"picture {train / 'deep.png'}: pixel format I" in message
    assert "save it as an 8-bit RGB PNG" in message


def test_several_bad_rows_name_the_first_and_count_the_others(train):
    path = write_table(train, HEADER + "a.png,\nb.png,fine\nc.png,c\n")
    message = complaint(train)
    assert message.startswith(f"{path} line 2: the caption of 'a.png' is empty")
    assert message.endswith(" (1 more row is wrong: kolors-course check-dataset lists them)")
    write_table(train, HEADER + "a.png,\nb.png,fine\nc.png,c\nd.png,d\n")
    assert "(2 more rows are wrong: " in complaint(train)


def test_hash_ignores_names_place_and_order_but_not_content(train, tmp_path):
    write_table(train, HEADER + "a.png,red\nb.png,blue\n")
    original = dataset_hash(read_dataset(train))
    assert len(original) == 64
    assert int(original, 16) >= 0

    other = tmp_path / "elsewhere"
    shutil.copytree(train, other)
    (other / "a.png").rename(other / "z.png")
    write_table(other, "\ufefftext,file_name\r\nblue,b.png\r\nred,z.png\r\n")
    assert dataset_hash(read_dataset(other)) == original

    write_table(other, HEADER + "z.png,blue\nb.png,red\n")  # the captions swapped
    assert dataset_hash(read_dataset(other)) != original
    write_table(other, HEADER + "z.png,red\nb.png,blue\n")
    Image.new("RGB", (6, 4), "green").save(other / "z.png")
    assert dataset_hash(read_dataset(other)) != original


def test_hash_says_when_a_picture_is_gone(train):
    write_table(train, HEADER + "a.png,red\n")
    dataset = read_dataset(train)
    (train / "a.png").unlink()
    with pytest.raises(CourseError, match="the dataset changed since it was read"):
        dataset_hash(dataset)
