"""Draw one prompt, or held-out prompts, over a grid of settings: an X/Y/Z plot with measurements.

    kolors-course sweep --prompt "a cat in the city at night" --x steps=2,4,8,25 --y guidance=1..3
    kolors-course sweep --prompt 夜晚城市里的一只猫 --x word=猫,狗,兔子 --y word=夜晚,白天 --z seed=0..2
    kolors-course sweep --scenes 16 --x steps=2..8:2 --y guidance=1,2,5 --z spacing=leading,trailing
    kolors-course sweep --recommend --lora data/loras/ink.safetensors --style ink -o outputs/ink-sweep
    kolors-course sweep --recommend --over steps=4,8 --scenes 50 --adopt

An axis is NAME=VALUE,VALUE,...

    steps, guidance, seed, denoise, strength    numbers; FIRST..LAST or FIRST..LAST:STEP is a range
    sampler, spacing                            names, as --sampler and --spacing take them
    lora                                        FILE or FILE:STRENGTH; "none" is without
    word                                        a word of the prompt, then what takes its place

A value with a comma stands in double quotes: --x 'word=cat,"big, red dog"'. `denoise` needs --image, `strength` a
LoRA. --x runs from left to right, --y downwards, --z makes blocks; `word` may stand on several.

Writes sheet.png, sweep.md and sweep.json. What the probe sees and shape fidelity are measured of held-out prompts,
and of a prompt that names subject, place and time in words of the world (kolors-course words). Finished cells are
kept in cells/ of the output folder: the same command again draws only what is missing, and other axes share them.

--recommend sweeps steps, guidance, sampler and spacing together and names the cheapest settings that are not worse
than the best: in no fact, nor in style or shape fidelity, below the 95 % interval of the grid's best value. Of these
the fewest network calls win. Beside the grid stand what holds for the model today, and what is published for full
Kolors. It writes recommendation.md and recommendation.json, which say how they were made; with --adopt also
sampling.json of the model's folder, or, with one --lora, that file's metadata: all that draws follows them. It may
take hours; interrupt it when you like.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from kolors_course.art.choices import BASE_STYLE, STYLES
from kolors_course.cli.flags import shared
from kolors_course.cli.flags.numbers import number, size
from kolors_course.cli.flags.outputs import output_folder
from kolors_course.errors import CourseError
from kolors_course.ranges import SEED, SHARE, whole
from kolors_course.sweep.axes import Axis, parse_axis

# What --recommend draws where nothing else is asked for.
SCENES = 100
GRID = (
    "steps=2,4,6,8",
    "guidance=1,2,3,5",
    "sampler=euler,dpm++2m",
    "spacing=leading,trailing",
)


def axis(text: str) -> Axis:
    """A type for an axis.

    Raises:
        argparse.ArgumentTypeError: see `parse_axis`.
    """
    try:
        return parse_axis(text)
    except CourseError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add: Callable = parser.add_argument
    add("--x", type=axis, metavar="AXIS", help="what changes from column to column")
    add("--y", type=axis, metavar="AXIS", help="what changes from row to row")
    add("--z", type=axis, metavar="AXIS", help="what changes from block to block")
    add("--recommend", action="store_true", help="choose steps, guidance, sampler and spacing by measuring")
    add(
        "--adopt",
        action="store_true",
        help="with --recommend: put it in force for the model, or for one --lora",
    )
    add(
        "--over",
        type=axis,
        action="append",
        default=[],
        metavar="AXIS",
        help=f"values for --recommend to try instead of {' '.join(GRID)}; may be given again",
    )
    add("--prompt", help="what to draw, in Chinese or English")
    add(
        "--scenes",
        type=number(whole(1, 100_000)),
        help=f"instead of --prompt: held-out scenes, two prompts each (with --recommend {SCENES})",
    )
    add("--negative", default="", help="what to keep away from")
    add("--image", type=Path, metavar="FILE", help="picture to start from")
    add(
        "--denoise",
        type=number(SHARE),
        default=1.0,
        help="how much of --image is drawn anew (default %(default)s)",
    )
    add("--seed", type=number(SEED), help="seed of the noise, with --prompt (default 0)")
    add("--size", type=size, metavar="WxH", help="picture size (default: the model's own)")
    add("--style", default=BASE_STYLE, choices=STYLES, help="style that is wanted (default %(default)s)")
    add("-o", "--output", type=output_folder, default="outputs/sweep", help="default %(default)s")
    shared.add_sampling(parser)
    shared.add_lora_files(parser)
    shared.add_model(parser)
    shared.add_json(parser)
