"""Draw pictures from a prompt.

kolors-course generate --prompt 夜晚雪地上的一只兔子 -o rabbit.png
kolors-course generate --prompt "a cat in the city at night" --lora data/loras/pixel.safetensors:0.8 -o cat.png
kolors-course generate --prompt 夜晚雪地上的一只猫 --image rabbit.png --denoise 0.7 -o cat.png
kolors-course generate --prompt "a cat on a snowy field at night" --image rabbit.png --mask hole.png -o cat.png
kolors-course generate --prompt "a cat in the city" --control drawing:mine.png:0.8 -o cat.png

--control shows a ControlNet the edges of a picture (canny), a line drawing (drawing), boxes for the subjects (boxes:
left,top,right,bottom in parts of the side, `;` between several), or a finished hint (hint). A number behind it is its
scale, 1 if left out; 0-0.8 behind that is the share of the steps in which it counts.

In --prompt and --negative, (word:1.3) counts 1.3 times in the attention to the text, (word) 1.1 times, [word]
1/1.1 times, (word:0) not at all; full-width （word：1.3） is the same. \\( \\) \\[ \\] are the signs themselves.
[cat:dog:0.4] is a cat for 0.4 of the steps and then a dog; --negative "[:fox:0.3]" begins at 0.3 of them.

In --template, {a|b} is a or b, {3::a|b} mostly a, {2$$a|b|c} two of them (or {1-2$$ and $$a|b|c}), and __place__
a line of place.txt in --words. The seed of a picture decides its prompt, too:

kolors-course generate --template "a {cat|fox} in the {city|forest} at night" --count 4 -o four.png
"""

import argparse
from pathlib import Path

from kolors_course.cli.flags import shared
from kolors_course.cli.flags.numbers import number, size
from kolors_course.cli.flags.outputs import output_file
from kolors_course.hints.choices import HINT_KINDS
from kolors_course.ranges import SEED, SHARE, whole

PICTURES = 10_000  # at most
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--prompt", help="what to draw, in Chinese or English")
    wanted.add_argument("--template", help="what to draw, another prompt for each seed")
    parser.add_argument(
        "--words", type=Path, metavar="DIR", help="where __place__ finds place.txt, a line each"
    )
    parser.add_argument(
        "--each", action="store_true", help="every prompt of --template once, instead of --count"
    )
    parser.add_argument("--negative", default="", help="what to keep away from")
    parser.add_argument("--image", type=Path, metavar="FILE", help="picture to start from")
    parser.add_argument(
        "--mask",
        type=Path,
        metavar="FILE",
        help="picture of the shape of --image: only what is white in it is drawn anew, grey mixes",
    )
    parser.add_argument(
        "--denoise",
        type=number(SHARE),
        default=1.0,
        help="how much of --image is drawn anew (default %(default)s, all)",
    )
    parser.add_argument(
        "--control",
        action="append",
        default=[],
        metavar="KIND:FILE[:SCALE[:START-END]]",
        help=f"a hint for a ControlNet, KIND one of {', '.join(HINT_KINDS)}; may be given again",
    )
    parser.add_argument(
        "--controlnet",
        metavar="DIR",
        help="the ControlNet of --control, in diffusers layout (default: kolors-mini-control among the data)",
    )
    parser.add_argument(
        "--seed", type=number(SEED), default=0, help="seed of the noise (default %(default)s)"
    )
    parser.add_argument(
        "--count",
        type=number(whole(1, PICTURES)),
        default=1,
        help="pictures, side by side, with seeds counting up",
    )
    parser.add_argument("--size", type=size, metavar="WxH", help="picture size (default: the model's own)")
    parser.add_argument(
        "--scale", type=number(whole(1, 256)), default=1, help="enlarge the saved picture this many times"
    )
    parser.add_argument(
        "-o", "--output", type=output_file(*SUFFIXES), default="picture.png", help="default %(default)s"
    )
    shared.add_sampling(parser)
    shared.add_lora_files(parser)
    shared.add_model(parser)
