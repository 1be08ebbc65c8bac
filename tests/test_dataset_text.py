"""Decoding: what is strict, what is recovered, and what is not believed."""

import pytest

from kolors_course.dataset.text import Recovery, read_utf8, tidy
from kolors_course.errors import CourseError

CHINESE = "file_name,text\na.png,夜晚雪地上的一只兔子，中间是月亮\n"


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("gbk", "gb18030"),
        ("gb18030", "gb18030"),
    ],
)
def test_encodings_that_are_recovered(tmp_path, encoding, told):
    path = tmp_path / "metadata.csv"
    path.write_bytes(CHINESE.encode(encoding))
    assert Recovery().read(path) == (CHINESE, told)


def test_a_rare_character_among_common_ones_is_believed(tmp_path):
    path = tmp_path / "a.txt"
    text = "图书馆里的朱镕基先生和他的猫"  # 镕 is in GBK, but not in GB 2312
    path.write_bytes(text.encode("gbk"))
    assert Recovery().read(path) == (text, "gb18030")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("un café à Genève", "latin-1"),
        ("夜の雪原にいるうさぎ", "shift-jis"),
        ("夜晚雪地上的一隻兔子", "big5"),
    ],
)
def test_other_encodings_are_not_taken_for_chinese(tmp_path, text, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(CourseError, match="is not UTF-8; save the file again as UTF-8") as caught:
        Recovery().read(path)
    with pytest.raises(CourseError) as strict:
        read_utf8(path)
    assert str(caught.value) == str(strict.value)


def test_binary_files_are_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\ntwo\0three")
    with pytest.raises(CourseError, match="a.txt line 2: holds a NUL character"):
        Recovery().read(path)
    with pytest.raises(CourseError, match="cannot read .*none.txt"):
        Recovery().read(tmp_path / "none.txt")


def test_tidy():
    assert tidy("  a\tcat\r\n\u3000on \u200bsnow\ufeff ") == "a cat on snow"
    assert tidy("\u200b\n") == ""
    assert tidy("一只 👨\u200d👩\u200d👧 兔子") == "一只 👨\u200d👩\u200d👧 兔子"
