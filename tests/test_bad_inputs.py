"""Bad command lines, each with what its one line must say. Nothing is written, and nothing is drawn first.

A new case is a line in CASES; {in} is the folder of `inputs`, {out} one that does not exist yet.
"""

import shlex

import pytest
from command_line import refused, tree

from kolors_course.cli import COMMANDS, subparser

pytestmark = pytest.mark.usefixtures("tiny_profile")

BOMB = "title_zh: a\ntitle_en: b\npanels:\n  - &b0 [lol]\n" + "".join(
    f"  - &b{i} [{','.join([f'*b{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
STORY = "title_zh: 兔\ntitle_en: b\npanels:\n  - {prompt: x, caption_zh: 兔, caption_en: y}\n"
FILES = {
    "story.yaml": STORY,
    "bomb.yaml": BOMB,
    "tag.yaml": STORY.replace("prompt: x", 'prompt: !!int ""'),
    "twice.yaml": STORY + "title_zh: 兔\n",
    "long.yaml": STORY.replace("prompt: x", "prompt: " + "x" * 5000),
    "deep.yaml": "[" * 10**5,
    "nul.yaml": STORY + "\0",
    "text": "text",
    "config.json": '{"layers_per_block": 1000000}',
}
GENERATE = "generate --prompt x --steps 1 -o {out}/a.png"

CASES = (
    # storyboards
    ("story {in}/none.yaml -o {out}", "none.yaml does not exist; give a YAML file"),
    ("story {in} -o {out}", "is a folder, not a file"),
    ("story {in}/bomb.yaml -o {out}", "more than 20000 values, those of aliases included"),
    ("story {in}/tag.yaml -o {out}", "line 4, column 14: the tag '!!int' is not read"),
    ("story {in}/twice.yaml -o {out}", "line 5, column 1: not valid YAML (key 'title_zh' is written twice)"),
    ("story {in}/long.yaml -o {out}", "panel 1: 'prompt' has 5000 characters"),
    ("story {in}/deep.yaml -o {out}", "nested more than 20 deep"),
    ("story {in}/nul.yaml -o {out}", "line 5: not valid YAML (character U+0000"),
    ("story {in}/latin.yaml -o {out}", "line 2 is not UTF-8"),
    ("story {in}/story.yaml -o {in}/text", "cannot write to {in}/text"),
    ("story {in}/story.yaml -o {out} --size 4096x65536", "lower the size"),
    ("story {in}/story.yaml -o {out} --negative dog --guidance 0.5", "--negative has no effect"),
    # sizes, counts and memory
    (f"{GENERATE} --size 100000x100000", "--size: must be width x height"),
    (f"{GENERATE} --size 65536x65536", "GiB of memory, and"),
    (f"{GENERATE} --size 33x32", "must be positive multiples of"),
    (f"{GENERATE} --count 9999999999", "--count: must be a whole number from 1 to 10,000"),
    (f"{GENERATE} --count 10000 --scale 256", "GiB of memory, and"),
    (f"{GENERATE} --scale 1000000000", "--scale: must be"),
    (f"{GENERATE} --batch_size 1000000000", "--batch_size: must be"),
    (f"{GENERATE} --batch-size nan", "--batch_size: must be"),
    (f"{GENERATE} --seed 4294967295 --count 2", "seed 4294967296 is out of range"),
    ("evaluate -o {out} --scenes 9999999999", "--scenes: must be"),
    ("evaluate -o {out} --batch_size 1000000000", "--batch_size: must be"),
    # where things are written
    ("generate --prompt x -o {in}", "give a file that ends in .png"),
    ("generate --prompt x -o {in}/text/a.png", "cannot write to {in}/text"),
    ("generate --prompt x -o {out}/a.gif", "give a file that ends in .png, .jpg, .jpeg, .webp"),
    ("generate --prompt x --count 600 --size 32x32 -o {out}/a.webp", "a .webp has at most 16383 on a side"),
    ("generate --prompt x --count 3000 --size 32x32 -o {out}/a.jpg", "a .jpg has at most 65500 on a side"),
    ("doctor --json {in}", "{in} is a folder; give the name of a file"),
    ("doctor --json {in}/text/a.json", "cannot write to {in}/text"),
    ("doctor --json /dev/null", "is a device, not a file"),
    ("evaluate -o {out} --json {in}", "{in} is a folder"),
    ("check-dataset {in} --json {in}", "{in} is a folder"),
    ("check-dataset {in} --sheet {in}", "{in} is a folder"),
    ("inspect-lora {in}/text --json {in}", "{in} is a folder"),
    ("merge-lora x -o {in}/text/new", "cannot write to {in}/text"),
    ("extract-lora {in} {in} -o {out}/a.ckpt", "give a file that ends in .safetensors"),
    ("combine-lora a b -o {out}/a.png", "give a file that ends in .safetensors"),
    ("convert-lora {in}/text {out}/a.png --to kohya", "give a file that ends in .safetensors, .ckpt"),
    (
        "comfyui run {in}/config.json --server http://127.0.0.1:1 --source git",
        "--source has no effect with --server",
    ),
    ("comfyui run {in}/config.json -o {in}/text", "cannot write to {in}/text"),
    ("comfyui start --port 70000", "--port: must be a whole number from 1,024 to 65,535"),
    # models
    (
        "generate --prompt x --model {in}/model -o {out}/a.png",
        "'layers_per_block' is 1000000, which no Kolors has",
    ),
)


@pytest.fixture
def inputs(tmp_path):
    folder = tmp_path / "in"
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        (folder / "model" / part).mkdir(parents=True)
    (folder / "model" / "tokenizer" / "tokenizer.model").touch()
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "latin.yaml").write_bytes(b"title_zh: a\ntitle_en: \xff\n")
    (folder / "model" / "unet" / "config.json").write_text(FILES["config.json"], encoding="utf-8")
    return folder


@pytest.mark.parametrize(("line", "said"), CASES, ids=[line for line, _ in CASES])
def test_a_bad_command_line_is_one_line_and_leaves_nothing(capsys, inputs, line, said):
    places = {"in": inputs, "out": inputs.parent / "out"}
    before = tree(inputs.parent)
    error = refused(capsys, *(word.format(**places) for word in shlex.split(line)))
    assert said.format(**places) in error
    assert len(error) < 300 + 2 * len(str(inputs))
    assert tree(inputs.parent) == before


def _flags(kind: str) -> list[tuple[str, str]]:
    """(command, flag) of every flag whose type comes from the module `kind` of the flags."""
    found = []
    for name in COMMANDS:
        for action in subparser(name)._actions:
            if (
                getattr(action.type, "__module__", "") == f"kolors_course.cli.flags.{kind}"
                and action.option_strings
            ):
                found.append((name, action.option_strings[-1]))
    return found


@pytest.mark.parametrize(("command", "flag"), _flags("numbers"))
def test_every_number_is_refused_where_it_is_none(capsys, command, flag):
    for value in ("nan", "inf", "-inf", "1e999", "many", "", "9" * 5000):
        error = refused(capsys, command, f"{flag}={value}")
        assert flag in error
        assert len(error) < 300


@pytest.mark.parametrize(("command", "flag"), _flags("outputs"))
def test_every_output_is_refused_where_it_cannot_be_written(capsys, inputs, command, flag):
    error = refused(capsys, command, f"{flag}={inputs / 'text' / 'a.safetensors'}")
    assert flag in error


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_no_number_goes_without_a_range(name):
    """A bare int or float lets nan, infinity and 10**18 through to the work."""
    assert not [action.dest for action in subparser(name)._actions if action.type in (int, float)]
