"""Axes of a sweep, as they are written on the command line."""

import pytest

from kolors_course.errors import CourseError
from kolors_course.sweep import AXES, parse_axis


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("steps=6", (6,)),
        ("steps=2,4..8:2,25", (2, 4, 6, 8, 25)),
        ("steps=1..3", (1, 2, 3)),
        ("steps=2..7:2", (2, 4, 6)),
        ("guidance=-1..1", (-1.0, 0.0, 1.0)),
        ("guidance=1..1.3:0.1", (1.0, 1.1, 1.2, 1.3)),
        ("guidance=.5..1:.25", (0.5, 0.75, 1.0)),
        ("denoise= 0.25 , 1", (0.25, 1.0)),
        ("seed=0,4294967295", (0, 4294967295)),
        ("strength=-0.5,1", (-0.5, 1.0)),
        ("sampler=euler,dpm++2m,lcm", ("euler", "dpm++2m", "lcm")),
        ("spacing=leading, trailing", ("leading", "trailing")),
        ("lora=none,a/ink.safetensors:0.5", ("none", "a/ink.safetensors:0.5")),
        ('word=cat,"a big, red dog",it said ""', ("cat", "a big, red dog", 'it said ""')),
        ("word=猫,一只狗，很大的,a=b", ("猫", "一只狗，很大的", "a=b")),
        ('word="say ""hi""",猫', ('say "hi"', "猫")),
    ],
)
def test_what_is_read(text, values):
    axis = parse_axis(text)
    assert (axis.name, axis.values) == (text.split("=")[0], values)
    kinds = {type(value) for value in axis.values}
    assert kinds == {type(values[0])}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("speed=1", "there is no axis 'speed'; choose one of steps, guidance, sampler"),
        ("", "there is no axis ''"),
        ("steps", "steps needs values; write steps=VALUE,VALUE"),
        ("steps= ", "steps needs values"),
        ("steps=0..3", "steps must be a whole number from 1 to 1,000, not 0"),
        ("steps=1.5", "steps must be a whole number from 1 to 1,000, not 1.5"),
        ("steps=1..2:0.5", "not 1.5"),
        ("steps=2，4", "not 2，4"),
        ("steps=1..1000", "steps: more than 64 values"),
        ("steps=4..2", "4..2 is no range; write FIRST..LAST or FIRST..LAST:STEP, rising"),
        ("steps=1..3:0", "is no range"),
        ("steps=1..3:-1", "is no range"),
        ("guidance=nan..3", "is no range"),
        ("guidance=1..2..3", "is no range"),
        ("guidance=1..inf", "more than 64 values"),
        ("guidance=0..1e300:1e-300", "more than 64 values"),
        ("guidance=inf", "guidance must be a number from -1,000 to 1,000"),
        ("guidance=1:2", "not 1:2"),
        ("guidance=1,1.0", "guidance: 1.0 stands twice"),
        ("steps=2,,3", "a value is empty"),
        ("steps=2,", "a value is empty"),
        ("denoise=1.1", "denoise must be a number from 0 to 1"),
        ("seed=-1", "seed must be a whole number"),
        ("sampler=magic", "sampler 'magic' is not one of euler, heun"),
        ("spacing=Leading", "spacing 'Leading' is not one of leading, trailing, linspace"),
        ('word="cat', "a value in double quotes ends with one"),
        ('word="cat"s,dog', "a value in double quotes ends with one"),
        ("word=cat\ndog", "word"),
        ("word=cat,\udcb9", "not UTF-8"),
        ("guidance=" + "9" * 5000, "guidance must be"),
        ("x" * 5000 + "=1", "there is no axis"),
    ],
)
def test_what_is_refused(text, said):
    with pytest.raises(CourseError) as caught:
        parse_axis(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_labels_and_titles():
    lora = parse_axis("lora=none,data/loras/ink.safetensors:0.5,C:\\pixel.safetensors,x.ckpt")
    assert [lora.label(value) for value in lora.values] == ["none", "ink:0.5", "pixel", "x.ckpt"]
    guidance = parse_axis("guidance=1..2:0.5")
    assert [guidance.label(value) for value in guidance.values] == ["1", "1.5", "2"]
    assert parse_axis("steps=2").title == "steps 步数"
    assert parse_axis("word=猫,狗").heading == "word 猫"
    assert all(kind.zh for kind in AXES.values())
