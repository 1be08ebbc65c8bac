"""What a learner has passed: noted once and for good, by several kernels at a time, and never in a lesson's way."""

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import notebook_form
import pytest
import render_notebooks
from command_line import command, refused, tree
from lessons import exercises_of
from nbformat.v4 import new_code_cell, new_notebook

from kolors_course.cli import main
from kolors_course.errors import CourseError
from kolors_course.exercises import course, progress, progress_map
from kolors_course.exercises.certificate import certificate_page
from kolors_course.exercises.check import Exercise, exercise
from kolors_course.exercises.course import LESSONS
from kolors_course.exercises.feedback import Mistake, Right
from kolors_course.exercises.progress import note_passed, progress_file, read_passed
from kolors_course.exercises.standing import DONE, OPEN, Standing

NOTEBOOKS = render_notebooks.find_notebooks()
DAMAGED = (b"{", b"[]", b"", b"\xff\xfe", b'{"passed": {"check_kl": "soon"}}', b'{"passed": ["check_kl"]}')
DAY = date(2026, 3, 8)


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    """Where a learner who has passed nothing will have it noted."""
    monkeypatch.setenv("KOLORS_COURSE_PROGRESS", str(tmp_path / "mine" / "progress.json"))
    return tmp_path / "mine" / "progress.json"


@exercise(lambda: double, "two times x.", "x 的两倍。")
def check_double(answer):
    if answer(3) != 6:
        raise Mistake("It is not twice.", "不是两倍。")
    return Right("Twice.", "两倍。")


def double(x):
    return 2 * x


# The course


def test_the_course_is_the_notebooks():
    assert [lesson.notebook for lesson in LESSONS] == sorted({path.stem for path in NOTEBOOKS})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_exercises_of_a_lesson_are_the_tagged_cells_of_its_notebook(path):
    checks = [one.last.value.func.id for one in exercises_of(path)]
    assert sorted(checks) == sorted(course.find_lesson(path.stem[:2]).exercises)


def test_what_is_read_from_the_sources_is_what_they_define():
    folder = Path(course.__file__).parent
    defined = {}
    for path in folder.glob("*.py"):
        module = importlib.import_module(f"kolors_course.exercises.{path.stem}")
        names = [name for name, value in vars(module).items() if isinstance(value, Exercise)]
        defined |= {path.stem: names} if names else {}
    assert defined == {
        module: list(course._checks_in(module)) for lesson in LESSONS for module in lesson.modules
    }


def test_no_two_exercises_are_noted_under_one_name():
    names = [check for lesson in LESSONS for check in lesson.exercises]
    assert len(set(names)) == len(names) > 20


def test_an_unknown_lesson_is_refused():
    with pytest.raises(CourseError, match=r"no lesson '77'; give one of 00, 01"):
        progress_map("77")


# Noting


def test_a_right_answer_is_noted_and_stays(file, capsys):
    assert check_double(lambda x: x + x)(2) == 4
    assert read_passed() == {"check_double": date.today()}
    before = file.read_bytes()
    check_double(lambda x: x)
    check_double(...)
    check_double(lambda x: x * 2)
    assert file.read_bytes() == before


def test_neither_a_wrong_nor_an_empty_nor_the_librarys_own_answer_is_noted(file, capsys):
    check_double(lambda x: x)
    lent = check_double(...)
    assert lent is double
    capsys.readouterr()
    assert check_double(lent) is double
    assert "Yours to write" in capsys.readouterr().out
    assert not file.exists()


def test_asking_for_a_reply_notes_nothing(file):
    assert isinstance(check_double.reply(double), Right)
    assert not file.exists()


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_stops_no_lesson_and_stays_as_it_is(file, capsys, damage):
    file.parent.mkdir()
    file.write_bytes(damage)
    assert check_double(lambda x: 2 * x)(1) == 2
    said = capsys.readouterr().out
    assert said.startswith("Right. Twice.")
    assert said.count("not noted") == 1
    assert "kolors-course progress --forget --yes" in said
    assert file.read_bytes() == damage
    shown = progress_map("01")
    assert "--forget --yes" in shown.trouble
    assert DONE not in repr(shown)


def test_where_nothing_can_be_written_the_lesson_goes_on(file, capsys, monkeypatch):
    file.parent.touch()  # a file where the folder should be
    assert check_double(lambda x: 2 * x)(1) == 2
    assert "Right, but not noted." in capsys.readouterr().out


def test_a_file_system_without_locks_is_told(file, monkeypatch):
    class Lockless:
        def __init__(self, path, timeout):
            pass

        def __enter__(self):
            raise NotImplementedError("no flock")

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(progress, "FileLock", Lockless)
    with pytest.raises(CourseError, match="no flock; name a file in KOLORS_COURSE_PROGRESS"):
        note_passed("check_kl")


NOTE_TEN = """
import sys
from kolors_course.exercises.progress import note_passed
for number in range(10):
    note_passed(f"check_{sys.argv[1]}{number}")
"""


def test_kernels_that_write_at_a_time_lose_nothing(file):
    kernels = [subprocess.Popen([sys.executable, "-c", NOTE_TEN, tens]) for tens in "123"]
    assert [kernel.wait() for kernel in kernels] == [0, 0, 0]
    assert set(read_passed()) == {f"check_{number}" for number in range(10, 40)}
    assert {path.name for path in file.parent.iterdir()} == {"progress.json", ".progress.json.lock"}


def test_it_lies_in_the_folder_for_results(monkeypatch, tmp_path):
    monkeypatch.delenv("KOLORS_COURSE_PROGRESS")
    monkeypatch.setattr(progress, "outputs_dir", lambda: tmp_path)
    assert progress_file() == tmp_path / "progress.json"


# Showing


def passed(*checks):
    return dict.fromkeys(checks, DAY)


class Table(HTMLParser):
    """The rows of a page's tables, as texts; fails where tags are not closed in order."""

    def __init__(self, page):
        super().__init__()
        self.rows, self._open = [], []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        if tag != "meta":
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "td" in self._open:
            self.rows[-1][-1] += data


def test_names_that_the_course_does_not_know_are_ignored():
    standing = Standing(passed("check_kl", "check_renamed"))
    assert standing.count == 1
    assert standing.summary().startswith("1 of ")
    assert standing.days == (DAY,)


def test_the_map_marks_what_is_passed_and_this_lesson(file):
    note_passed("check_order")
    shown = progress_map("03")
    rows = {row[0]: row for row in Table(shown._repr_html_()).rows}
    assert list(rows) == [lesson.number for lesson in LESSONS]
    assert rows["03"][1].endswith("← this lesson · 本课")
    assert f"{DONE} order" in rows["03"][2]
    assert rows["03"][3] == f"1 / {rows['03'][2].count(DONE) + rows['03'][2].count(OPEN)}"
    assert [number for number, row in rows.items() if "本课" in row[1] or DONE in row[2]] == ["03"]
    assert [line[2:4] for line in repr(shown).splitlines() if line.startswith("→")] == ["03"]


def test_the_text_to_share_has_a_tile_for_each_exercise():
    text = Standing(passed("check_kl")).share_text()
    assert text.count("🟩") == 1
    assert text.count("🟩") + text.count("⬜") == Standing({}).total
    assert f"{Standing({}).total} 道自测练习，做对了 1 道" in text
    assert f"1 of {Standing({}).total} self-checked" in text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_map_is_of_this_lesson_and_shows_nothing_passed(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if "progress_map(" in cell.source:
            (output,) = cell.outputs
            assert ast.literal_eval(re.search(r"progress_map\((.*)\)", cell.source)[1]) == path.stem[:2]
            assert f"→ {path.stem[:2]}" in output.data["text/plain"]
            assert DONE not in output.data["text/html"] + output.data["text/plain"]


def test_rendering_neither_reads_nor_writes_what_the_developer_has_passed(tmp_path, file):
    note_passed("check_kl")
    before = file.read_bytes()
    code = (
        "from kolors_course.exercises.progress import note_passed, read_passed",
        "print(read_passed())",
        "note_passed('check_merge')",
    )
    path = tmp_path / "lesson.ipynb"
    notebook = new_notebook(cells=[new_code_cell("\n".join(code))], metadata=notebook_form.METADATA)
    nbformat.write(notebook, path)
    assert render_notebooks.handle(path, check_only=False)
    assert nbformat.read(path, as_version=4).cells[0].outputs[0].text == "{}\n"
    assert file.read_bytes() == before


# The certificate


def test_the_certificate_says_who_how_much_when_and_what_it_is_worth():
    page = certificate_page(
        Standing(passed("check_kl", "check_merge")), "  王小明  <Ada> & Co ", date(2026, 4, 1)
    )
    rows = {row[0]: row for row in Table(page).rows}
    assert rows["01"][3] == f"1 / {len(LESSONS[1].exercises)}"
    assert rows["01"][2].count(DONE) == rows["08"][2].count(DONE) == 1
    assert "王小明 &lt;Ada&gt; &amp; Co" in page
    assert f"2 / {Standing({}).total}" in page
    for words in ("2026-03-08<", "2026-04-01", "nobody watched", "不是考试成绩", "self-checked", "自测"):
        assert words in page
    assert "$" not in page


def test_the_certificate_needs_nothing_from_elsewhere():
    page = certificate_page(Standing(passed("check_kl")), "Ada", DAY)
    assert not re.search(r"https?:|src=|href=|url\(|@import|<script", page)


def test_several_days_are_told_by_the_first_and_the_last():
    days = {"check_kl": DAY, "check_merge": date(2026, 3, 9), "check_order": date(2026, 5, 1)}
    assert "2026-03-08 – 2026-05-01" in certificate_page(Standing(days), "Ada", DAY)


@pytest.mark.parametrize(
    ("checks", "name", "said"),
    [
        ((), "Ada", "no exercise has been passed yet"),
        (("check_renamed",), "Ada", "no exercise has been passed yet"),
        (("check_kl",), " \n", "the name on the certificate is empty"),
        (("check_kl",), "x" * 81, "has 81 characters"),
    ],
)
def test_no_certificate_of_nothing_or_for_nobody(checks, name, said):
    with pytest.raises(CourseError, match=said):
        certificate_page(Standing(passed(*checks)), name, DAY)


# The command


def test_the_command_shows_shares_reports_and_certifies(capsys, tmp_path, file):
    note_passed("check_kl")
    page, report = tmp_path / "out" / "ada.html", tmp_path / "report.json"
    assert main(command("progress", "--certificate", "Ada", "-o", page, "--json", report)) == 0
    out = capsys.readouterr().out
    assert f"01  {DONE}{OPEN}" in out
    assert "打卡" in out
    assert "🟩" in out
    assert out.endswith(f"wrote {page}\n")
    assert "Ada" in page.read_text(encoding="utf-8")
    facts = json.loads(report.read_text(encoding="utf-8"))
    assert (facts["passed"], facts["exercises"]) == (1, Standing({}).total)
    exercises = {lesson["notebook"]: lesson["exercises"] for lesson in facts["lessons"]}
    assert exercises["01_generative_models"]["check_kl"] == date.today().isoformat()
    assert set(exercises["02_diffusion"].values()) == {None}


def test_the_command_needs_no_file_and_makes_none(capsys, file):
    assert main(["progress"]) == 0
    assert f"0 of {Standing({}).total} exercises passed" in capsys.readouterr().out
    assert not file.parent.exists()


def test_to_forget_is_meant_twice(capsys, file):
    note_passed("check_kl")
    assert "add --yes if you mean it" in refused(capsys, "progress", "--forget")
    assert "check_kl" in read_passed()
    assert main(["progress", "--forget", "--yes"]) == 0
    assert read_passed() == {}
    assert main(["progress", "--forget", "--yes"]) == 0


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_one_line_and_can_be_forgotten(capsys, file, damage):
    file.parent.mkdir()
    file.write_bytes(damage)
    assert "mend it, or start anew with" in refused(capsys, "progress")
    assert main(["progress", "--forget", "--yes"]) == 0
    assert main(["progress"]) == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("-o", "ada.html"), "add --certificate NAME"),
        (("--certificate", "Ada", "-o", "ada.pdf"), "give a file that ends in .html"),
        (("--certificate", "Ada"), "no exercise has been passed yet"),
        (("--certificate", ""), "the name on the certificate is empty"),
        (("--certificate", os.fsdecode("王小明".encode("gbk"))), "the certificate is not UTF-8"),
        (("--yes",), "--yes belongs to --forget"),
        (("--forget", "--yes", "--json", "x.json"), "--forget does nothing else"),
    ],
)
def test_flags_that_do_not_go_together_are_refused_and_nothing_is_written(
    capsys, monkeypatch, tmp_path, flags, said
):
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, "progress", *flags)
    assert tree(tmp_path) == set()
