"""What is made of what: nothing committed is stale, and the tool that says so sees what it should see."""

import fnmatch
import json
import os
import signal
import struct

import artefact_state
import artefacts
import pytest
from artefact_digest import Missing, digest, overlap
from artefact_state import LOCK, Artefact, Artefacts, Need
from artefacts_table import ARTEFACTS, DECODER, ENCODER, SOURCES, VAE

from kolors_course.errors import CourseError
from kolors_course.platform.paths import REPOSITORY as ROOT

COPY = "python copy.py"
FIRST = Artefact("first", makes=["first.txt"], of=["in.txt"], by=[f"{COPY} in.txt first.txt"])
SECOND = Artefact("second", makes=["second.txt"], of=["first.txt"], by=[f"{COPY} first.txt second.txt"])
OTHER = Artefact("other", makes=["other.txt"], of=["other-in.txt"], by=[f"{COPY} other-in.txt other.txt"])
TABLE = (SECOND, OTHER, FIRST)  # in the wrong order on purpose


@pytest.fixture
def root(tmp_path):
    """A small repository in which everything is fresh."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "copy.py").write_text("import shutil, sys\nshutil.copyfile(*sys.argv[1:])\n")
    for name in ("in.txt", "other-in.txt"):
        (tmp_path / name).write_text("one")
    for name in Artefacts(tmp_path, TABLE).table:
        assert not Artefacts(tmp_path, TABLE).make(name)
    assert not Artefacts(tmp_path, TABLE).stale()
    return tmp_path


@pytest.fixture
def command(root, monkeypatch, capfd):
    """The command line on the small repository: words -> (exit status, what it printed)."""

    def run(*words, table=TABLE):
        monkeypatch.setattr(artefacts, "ROOT", root)
        monkeypatch.setattr(artefacts, "ARTEFACTS", table)
        try:
            status = artefacts.main(words)
        except SystemExit as end:
            status = end.code
        return status, "".join(capfd.readouterr())

    return run


def stale(root, table=TABLE):
    return list(Artefacts(root, table).stale())


# The repository


def test_no_committed_artefact_is_stale():
    stale = Artefacts(ROOT, ARTEFACTS).report([artefact.name for artefact in ARTEFACTS])
    advice = "or, if all is still right: make artefacts ARGS=\"--accept 'why' <names>\""
    assert not stale, "\n".join(["stale:", *stale, advice])


def test_every_committed_file_is_made_or_written(repository_files):
    """A new file needs an entry in scripts/artefacts_table.py, or a line in its SOURCES."""
    known = [what.partition("#")[0] for artefact in ARTEFACTS for what in artefact.makes] + list(SOURCES)
    places = ("data/*", "docs/*", "notebooks/*", "benchmarks/*.json")
    names = [path.relative_to(ROOT).as_posix() for path in repository_files]
    committed = [name for name in names if any(fnmatch.fnmatch(name, place) for place in places)]
    assert len(committed) > 150
    assert not [name for name in committed if not any(fnmatch.fnmatch(name, what) for what in known)]


def test_every_script_that_builds_has_an_entry():
    used = {what for artefact in ARTEFACTS for what in artefact.of}
    assert not {f"scripts/{path.name}" for path in (ROOT / "scripts").glob("build_*.py")} - used


def test_entries_have_either_commands_or_a_hand():
    assert not [artefact.name for artefact in ARTEFACTS if bool(artefact.by) == bool(artefact.by_hand)]


def test_a_new_decoder_leaves_loras_fresh_and_pictures_stale(monkeypatch):
    before = set(stale(ROOT, ARTEFACTS))
    monkeypatch.setattr(
        artefact_state, "digest", lambda root, what: "new" if overlap(what, DECODER) else digest(root, what)
    )
    after = set(stale(ROOT, ARTEFACTS)) - before
    notebooks = {artefact.name for artefact in ARTEFACTS if artefact.name.startswith("notebook-")}
    assert {"scores", "card", "story", "screenshots", "lora-card", *notebooks} - before <= after
    assert not {name for name in after if name in {"base", "vae", "probe", "lora-ink", "lora-paper-cut"}}


# What is stale


def test_changed_content_is_stale_with_what_follows(root):
    (root / "in.txt").write_text("two")
    assert Artefacts(root, TABLE).stale() == {"first": ["in.txt changed"], "second": ["follows first"]}


def test_changed_times_are_not(root):
    for path in root.iterdir():
        os.utime(path, (1, 1) if path.name == "in.txt" else None)
    assert not stale(root)


def test_an_input_that_only_moved_is_not(root):
    (root / "in.txt").rename(root / "moved.txt")
    moved = Artefact("first", FIRST.makes, ["moved.txt"], FIRST.by)
    assert not stale(root, [moved, SECOND, OTHER])
    (root / "moved.txt").write_text("two")
    assert stale(root, [moved, SECOND, OTHER]) == ["first", "second"]


def test_a_product_that_somebody_changed_is_stale(root):
    (root / "second.txt").write_text("by hand")
    assert Artefacts(root, TABLE).stale() == {"second": ["second.txt is not as it was made"]}
    (root / "second.txt").unlink()
    assert Artefacts(root, TABLE).stale() == {"second": ["second.txt cannot be found"]}


def test_a_changed_command_and_a_new_input_are_stale(root):
    slower = Artefact("first", FIRST.makes, [*FIRST.of, "copy.py"], [f"{COPY} ./in.txt first.txt"])
    assert Artefacts(root, [slower]).stale() == {
        "first": ["its command changed", "copy.py is new in its entry"]
    }


def test_by_hand_only_inputs_are_watched(root):
    page = Artefact("page", makes=["page.md"], of=["in.txt"], by_hand="write it")
    (root / "page.md").write_text("one")
    Artefacts(root, [page]).accept("page", "written")
    (root / "page.md").write_text("better said")
    assert not stale(root, [page])
    (root / "in.txt").write_text("two")
    assert stale(root, [page]) == ["page"]


# Making


def test_only_what_is_stale_is_made_in_order(root, command):
    (root / "in.txt").write_text("two")
    status, text = command()
    assert status == 0
    assert text.index("first: made") < text.index("second: made")
    assert "other" not in text
    assert (root / "second.txt").read_text() == "two"
    assert command() == (0, "3 artefacts, none stale\n")


def test_a_product_that_comes_out_the_same_ends_the_chain(root, command):
    (root / "copy.py").write_text("open('first.txt', 'w').write('one')\n")
    (root / "in.txt").write_text("two")
    status, text = command()
    assert (status, "first: made" in text, "second" in text) == (0, True, False)


def test_one_by_name_brings_what_it_is_made_of(root, command):
    (root / "in.txt").write_text("two")
    (root / "other-in.txt").write_text("two")
    assert command("sec*")[0] == 0
    assert stale(root) == ["other"]


def test_a_failure_stays_stale_and_the_rest_goes_on(root, command):
    (root / "copy.py").write_text(
        "import shutil, sys\nopen(sys.argv[2], 'w').write('half')\n"
        "sys.exit(3) if sys.argv[1] == 'in.txt' else shutil.copyfile(*sys.argv[1:])\n"
    )
    (root / "in.txt").write_text("two")
    (root / "other-in.txt").write_text("two")
    status, text = command()
    assert status == 1
    assert "second: waits for first" in text
    assert "exit status 3" in text
    assert Artefacts(root, TABLE).reasons("first") == ["in.txt changed", "first.txt is not as it was made"]
    assert (root / "other.txt").read_text() == "two"
    assert "other" not in stale(root)


def test_a_missing_need_is_one_line_and_the_rest_goes_on(root, command):
    needy = Artefact("first", FIRST.makes, FIRST.of, FIRST.by, needs=[Need("a moon", lambda: False)])
    (root / "in.txt").write_text("two")
    (root / "other-in.txt").write_text("two")
    status, text = command(table=(needy, SECOND, OTHER))
    assert status == 0
    assert "first: needs a moon: not found here" in text
    assert stale(root) == ["first", "second"]


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no signals")
def test_an_interruption_keeps_what_is_finished_and_waits_for_the_command(root, command):
    (root / "copy.py").write_text(
        "import os, shutil, signal, sys, time\n"
        "if sys.argv[2] != 'second.txt':\n    shutil.copyfile(*sys.argv[1:])\n    sys.exit()\n"
        "open('second.txt', 'w').write('half')\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"
        "time.sleep(1)\n"
        "open('cleaned', 'w')\n"
    )
    for name in ("in.txt", "other-in.txt"):
        (root / name).write_text("two")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        status, text = command("second")
    finally:
        signal.signal(signal.SIGINT, before)
    assert status == 130
    assert "stopped" in text
    assert (root / "cleaned").is_file()
    assert stale(root) == ["other", "second"]


def test_copies_are_found_by_the_content_of_the_inputs(root):
    kept = Artefact(
        "kept",
        ["kept.txt"],
        ["in.txt"],
        [f"{COPY} in.txt run-{{inputs}}.txt"],
        {"run-{inputs}.txt": "kept.txt"},
    )
    assert not Artefacts(root, [kept]).make("kept")
    (root / "in.txt").write_text("two")
    assert not Artefacts(root, [kept]).make("kept")
    assert (root / "kept.txt").read_text() == "two"
    assert len(list(root.glob("run-*.txt"))) == 2


# The command line and its lock


def test_the_list_makes_nothing(root, command):
    (root / "in.txt").write_text("two")
    status, text = command("--list")
    assert status == 0
    assert "first: in.txt changed\n    make artefacts ARGS=first" in text
    assert text.splitlines()[-1] == "and what is made of these: second"
    assert stale(root) == ["first", "second"]


def test_what_is_looked_at_can_be_accepted(root, command):
    (root / "in.txt").write_text("two")
    assert command("--accept", "only a space", "first")[0] == 0
    assert not stale(root)
    assert "accepted: only a space" in (root / LOCK).read_text()
    (root / "in.txt").write_text("three")
    command()
    assert "accepted" not in (root / LOCK).read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["third"], "no artefact is called third; there are"),
        (["--accept", "looked at"], "--accept needs a reason and names"),
        (["--accept", " ", "first"], "--accept needs a reason and names"),
    ],
)
def test_wrong_words_are_one_line(command, words, said):
    status, text = command(*words)
    assert status == 2
    assert said in text.splitlines()[-1]


def test_what_is_missing_cannot_be_accepted(root, command):
    (root / "first.txt").unlink()
    assert command("--accept", "looked at", "first") == (1, "first: first.txt cannot be found\n")


def test_a_lock_with_a_conflict_is_one_line(root, command):
    lock = root / LOCK
    lock.write_text("<<<<<<< ours\n" + lock.read_text() + ">>>>>>> theirs\n")
    status, text = command("--list")
    assert status == 2
    assert "after a conflict take either side" in text.splitlines()[-1]
    with pytest.raises(CourseError):
        Artefacts(root, TABLE)


def test_an_artefact_is_a_block_of_lines_in_the_lock(root):
    """So that git merges what two branches made."""
    before = (root / LOCK).read_text().splitlines()
    (root / "in.txt").write_text("two")
    Artefacts(root, TABLE).make("first")
    after = (root / LOCK).read_text().splitlines()
    assert len(before) == len(after)
    changed = [line for line, new in zip(before, after, strict=True) if line != new]
    assert [line.split(":")[0].strip() for line in changed] == ["first.txt", "in.txt"]


# Parts


def test_parts_of_tensors():
    assert overlap(VAE, ENCODER)
    assert not overlap(DECODER, ENCODER)
    assert len({digest(ROOT, part) for part in (VAE, ENCODER, DECODER)}) == 3


def test_a_tensor_counts_only_in_its_part(tmp_path):
    def write(**tensors):
        header = {
            name: {"dtype": "U8", "shape": [1], "data_offsets": [place, place + 1]}
            for place, name in enumerate(tensors)
        }
        text = json.dumps({"__metadata__": {"made": str(tensors)}, **header}).encode()
        data = struct.pack("<Q", len(text)) + text + bytes(tensors.values())
        (tmp_path / "w.safetensors").write_bytes(data)
        return [digest(tmp_path, f"w.safetensors#{part}") for part in ("a,b", "c")]

    first = write(a=1, b=2, c=3)
    assert write(c=3, b=2, a=1) == first
    assert write(a=1, b=2, c=4)[0] == first[0] != write(a=1, b=1, c=4)[0]
    with pytest.raises(Missing):
        digest(tmp_path, "w.safetensors#z")


def test_only_the_code_of_a_notebook_counts(tmp_path):
    def write(code, markdown, printed):
        cells = [
            {"cell_type": "markdown", "source": [markdown]},
            {"cell_type": "code", "source": [code], "outputs": [{"text": printed}]},
        ]
        (tmp_path / "n.ipynb").write_text(json.dumps({"cells": cells}))
        return digest(tmp_path, "n.ipynb#code"), digest(tmp_path, "n.ipynb#outputs")

    code, outputs = write("1", "words", "1")
    assert write("1", "better words", "1") == (code, outputs)
    assert write("1", "words", "2")[0] == code != write("2", "words", "1")[0]
    assert write("1", "words", "2")[1] != outputs == write("2", "words", "1")[1]


def test_of_python_imports_comments_and_docstrings_do_not_count(tmp_path):
    def write(text):
        (tmp_path / "p.py").write_text(text)
        return digest(tmp_path, "p.py"), digest(tmp_path, "p.py#SIZE")

    whole, size = write("SIZE = 1\ndef f():\n    return SIZE\n")
    assert (whole, size) == write(
        '"""Doc."""\nimport os\n\nSIZE = 1\n# a\n\ndef f():\n    """f."""\n    return SIZE\n'
    )
    assert write("SIZE = 1\ndef f():\n    return 2\n") == (digest(tmp_path, "p.py"), size) != (whole, size)
    assert write("SIZE = 2\ndef f():\n    return SIZE\n")[1] != size


def test_a_section_of_a_page_ends_at_the_next_heading(tmp_path):
    def write(text):
        (tmp_path / "p.md").write_text(text)
        return digest(tmp_path, "p.md#Scores")

    first = write("# Page\n## Scores\n1\n### Detail\n2\n## Limits\n3\n")
    assert write("# Other\n## Scores\n1\n### Detail\n2\n## Limits\n4\n") == first
    assert write("## Scores\n1\n### Detail\n3\n") != first
    with pytest.raises(Missing):
        write("## Score\n")


def test_of_json_the_entries_named_count(tmp_path):
    def write(text):
        (tmp_path / "s.json").write_text(text)
        return digest(tmp_path, "s.json#steps,sampler")

    first = write('{"steps": 6, "sampler": "euler", "made_by": "a"}')
    assert write('{"sampler": "euler",\n "steps": 6, "made_by": "b"}') == first
    assert write('{"steps": 5, "sampler": "euler"}') != first
    with pytest.raises(Missing, match="sampler"):
        write('{"steps": 6}')


def test_line_ends_do_not_count_but_files_that_come_and_go_do(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"1\r\n2\r\n")
    windows, all_of_them = digest(tmp_path, "a.txt"), digest(tmp_path, "*.txt")
    (tmp_path / "a.txt").write_bytes(b"1\n2\n")
    assert (windows, all_of_them) == (digest(tmp_path, "a.txt"), digest(tmp_path, "*.txt"))
    (tmp_path / "b.txt").touch()
    assert digest(tmp_path, "*.txt") != all_of_them
