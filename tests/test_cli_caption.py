"""`kolors-course caption`: what it writes, and what it refuses."""

import json

import pytest
from captioners import TINY, tiny_captioner
from command_line import command, refused, tree
from PIL import Image

from kolors_course.captioner import save_captioner
from kolors_course.cli import main
from kolors_course.dataset import read_dataset


@pytest.fixture(scope="module")
def captioner(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captioners") / "tiny"
    tiny = tiny_captioner()
    save_captioner(tiny.network, TINY, tiny.words, folder, {})
    return folder


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        Image.new("RGB", (40, 30), (80 * i, 20, 20)).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_it_writes_metadata_and_a_report(capsys, pictures, captioner, tmp_path, name):
    report = tmp_path / "report.json"
    flags = (
        "--language",
        "zh",
        "--length",
        "detailed",
        "--format",
        name.rpartition(".")[2],
        "--device",
        "cpu",
    )
    ask = command(
        "caption", pictures, *flags, "--captioner", captioner, "--style", "剪纸风格", "--json", report
    )
    assert main(ask) == 0
    samples = read_dataset(pictures).samples
    told = json.loads(report.read_text(encoding="utf-8"))
    assert told["captions"] == [{"file_name": f"{i}.png", "text": s.text} for i, s in enumerate(samples)]
    assert {key: told[key] for key in ("captioner", "language", "length")} == {
        "captioner": "tiny",
        "language": "zh",
        "length": "detailed",
    }
    assert all(s.text.endswith("，剪纸风格") for s in samples)
    assert f"wrote {pictures / name}: 3 captions by tiny" in capsys.readouterr().out
    assert tree(pictures) == {"0.png", "1.png", "2.png", name}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("caption {in}", "--language"),
        ("caption {in} --language fr", "invalid choice: 'fr'"),
        ("caption {in} --language zh --length poem", "invalid choice: 'poem'"),
        ("caption {in} --language zh --format xml", "invalid choice: 'xml'"),
        ("caption {in}/none --language zh", "does not exist; give a folder of pictures"),
        ("caption {in}/0.png --language zh", "is a file, not a folder"),
        ("caption {in} --language zh --captioner {in}", "config.json does not exist"),
        ("caption {in} --language zh --vlm {in}", "holds no config.json"),
        ("caption {in} --language zh --vlm {in} --captioner {in}", "not allowed with argument"),
        ("caption {in} --language zh --tries 2", "--tries is for --vlm"),
        ("caption {in} --language zh --vlm {in} --tries 0", "--tries: must be"),
        ("caption {in} --language zh --vlm {in} --tries 1000", "--tries: must be"),
        ("caption {in} --language zh --json {in}", "is a folder"),
        ("caption {in} --language zh --device moon", "unknown device 'moon'"),
    ],
)
def test_bad_command_lines(capsys, pictures, flags, message):
    before = tree(pictures)
    assert message in refused(capsys, *flags.format(**{"in": pictures}).split())
    assert tree(pictures) == before


def test_captions_that_are_there_need_a_flag(capsys, pictures, captioner):
    flags = ("caption", pictures, "--language", "en", "--captioner", captioner)
    (pictures / "metadata.csv").write_text("file_name,text\n0.png,mine\n", encoding="utf-8")
    assert "metadata.csv is there; add --overwrite" in refused(capsys, *flags)
    assert main(command(*flags, "--overwrite")) == 0
    assert len(read_dataset(pictures)) == 3
