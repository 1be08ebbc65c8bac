"""Describe the pictures of a folder, as captions to train on: metadata.csv with file_name and text.

    kolors-course caption outputs/pictures --language zh --length detailed
    kolors-course caption photos --language en --vlm models/Qwen2.5-VL-3B-Instruct --json captions.json

The course's own captioner knows the picture-book world of Kolors-mini and takes everything for a part of it; it runs
on a CPU. Of photographs ask a vision-language model, a local folder, on a GPU (--vlm): it is asked for JSON, and an
answer that is none, or in the other language, empty, too long or a refusal, is sent back to it.

Captions that are there are kept unless --overwrite says otherwise. Interrupted, the same command goes on with the
pictures that are missing; the metadata file appears in the end, whole.
"""

import argparse
from pathlib import Path

from kolors_course.captioner.choices import CAPTION_LANGUAGES, CAPTION_LENGTHS, METADATA_FORMATS
from kolors_course.cli.flags import shared
from kolors_course.cli.flags.numbers import number
from kolors_course.ranges import whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="the pictures, in it or in train/ in it")
    parser.add_argument(
        "--language", choices=CAPTION_LANGUAGES, required=True, help="zh is Chinese, en English"
    )
    parser.add_argument(
        "--length",
        choices=CAPTION_LENGTHS,
        default="sentence",
        help="words, a sentence, or the layout too (default %(default)s)",
    )
    parser.add_argument(
        "--format",
        choices=METADATA_FORMATS,
        default="csv",
        help="metadata.csv or .jsonl (default %(default)s)",
    )
    parser.add_argument(
        "--style", default="", metavar="WORDS", help="put behind every caption, such as 剪纸风格"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace captions that are there by new ones"
    )
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--captioner", type=Path, metavar="DIR", help="another captioner of `train-mini`")
    who.add_argument("--vlm", type=Path, metavar="DIR", help="a vision-language model for transformers")
    parser.add_argument(
        "--tries",
        type=number(whole(1, 10)),
        help="how often --vlm is asked about a picture at most (default 3)",
    )
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    shared.add_json(parser)
