"""Tables as Excel and other programs write them: separators, notes of their own, letter case of names."""

import pytest
from command_line import refused
from PIL import Image

from kolors_course.dataset import check_dataset, fix_dataset, read_dataset
from kolors_course.dataset.text import tidy

CAPTIONS = ["a cat, black", "a dog"]


def write(folder, table: bytes, name: str = "metadata.csv"):
    for index, picture in enumerate(("a.png", "b.png")):
        Image.new("RGB", (16, 16), (index * 90, 40, 200)).save(folder / picture)
    (folder / name).write_bytes(table)
    return folder


def texts(folder) -> list[str]:
    return [sample.text for sample in read_dataset(folder).samples]


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ("file_name;text\r\na.png;a cat, black\r\nb.png;a dog\r\n", "';'"),
        ("sep=;\r\nfile_name;text\r\na.png;a cat, black\r\nb.png;a dog\r\n", "';'"),
        ("file_name\ttext\na.png\ta cat, black\nb.png\ta dog\n", "tabs"),
        ('TEXT;File_Name\n"a cat, black";a.png\na dog;b.png\n', "';'"),
    ],
)
def test_semicolons_and_tabs_are_understood_and_told(tmp_path, table, what):
    folder = write(tmp_path, table.encode())
    assert texts(folder) == CAPTIONS
    assert any(
        f"the columns are separated by {what}, which is understood here" in warning
        for warning in check_dataset(folder).warnings
    )


def test_excel_unicode_text_is_mended(tmp_path):
    folder = write(tmp_path, "file_name\ttext\r\na.png\t猫, black\r\nb.png\ta dog\r\n".encode("utf-16"))
    fix_dataset(folder, tmp_path.parent / "mended")
    assert texts(tmp_path.parent / "mended") == ["猫, black", "a dog"]


@pytest.mark.parametrize("start", ["\n\n", "\r\n", "sep=,\n", "\ufeff\ufeff"])
def test_what_programs_put_before_the_header_is_skipped(tmp_path, start):
    folder = write(tmp_path, f'{start}file_name,text\na.png,"a cat, black"\nb.png,a dog\n'.encode())
    assert texts(folder) == CAPTIONS


def test_lines_are_counted_from_the_top_of_the_file(tmp_path):
    write(tmp_path, b"sep=;\nfile_name;text\na.png;a cat\nb.png;a dog; black\n")
    with pytest.raises(Exception, match=r"line 4: expected 2 cells \(file_name,text\), found 3"):
        read_dataset(tmp_path)


def test_an_empty_cell_between_tabs_stays_empty(tmp_path):
    write(tmp_path, b"file_name\ttext\na.png\t\nb.png\ta dog\n")
    with pytest.raises(Exception, match="line 2: the caption of 'a.png' is empty"):
        read_dataset(tmp_path)


def test_tables_are_found_in_any_letter_case(tmp_path):
    folder = write(tmp_path, b'file_name,text\na.png,"a cat, black"\nb.png,a dog\n', "Metadata.CSV")
    assert texts(folder) == CAPTIONS
    assert (
        "Metadata.CSV is understood here, but other trainers want metadata.csv"
        in check_dataset(folder).warnings[0]
    )


def test_a_nul_out_of_json_is_a_fault_of_its_row(tmp_path):
    rows = b'{"file_name": "a.png", "text": "a\\u0000cat"}\n{"file_name": "b.png", "text": "a dog"}\n'
    folder = write(tmp_path, rows, "metadata.jsonl")
    assert "line 1: text holds a NUL character; remove it" in check_dataset(folder).problems[0]
    fix_dataset(folder, tmp_path.parent / "without")
    assert texts(tmp_path.parent / "without") == ["a dog"]


def test_what_terminals_obey_is_no_part_of_a_caption():
    assert tidy("a \x1b[31mred\x07\x9b cat\x85black") == "a [31mred cat black"


@pytest.mark.parametrize("ending", ["blp", "xbm", "wmf", "txt", ""])
def test_a_sheet_that_cannot_be_written_is_refused_first(tmp_path, capsys, ending):
    folder = write(tmp_path, b"file_name,text\na.png,a cat\nb.png,a dog\n")
    sheet = tmp_path / f"sheet.{ending}"
    message = refused(capsys, "check-dataset", folder, "--no-vae", "--sheet", sheet)
    assert "no picture can be written with that ending; call it sheet.png" in message
    assert not sheet.exists()
