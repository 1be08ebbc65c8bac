"""Measure a model on held-out prompts in both languages: does it draw what was asked, and in which style?

    kolors-course evaluate -o outputs/evaluation                      # base model
    kolors-course evaluate --lora data/loras/pixel.safetensors --style pixel -o outputs/pixel
    kolors-course evaluate --suite -o outputs/suite                   # tasks as in GenEval
    kolors-course evaluate --report outputs/ink --lora data/loras/ink.safetensors --style ink --against none

Without --suite and --report it writes scores.json, scores.md, sheet.png and worst.png. Two judges look: the probe
network of data/probes, trained on rendered scenes, says what it recognises; shape fidelity says how like its true
drawing each subject is (1: the world itself), beside what the VAE alone reaches. With --style the subjects are the
40 that no style data set contains, and the true drawings are the style's.

--suite draws a fixed benchmark after GenEval (arXiv 2310.11513): one object, two, counting, size, style and
position, each in both languages; shares with 95 % intervals, their mean, and how often all facts are right. It
writes scores.json, scores.md and a sheet of right and wrong pictures of each task.

--report DIR writes DIR/report.html, one page that needs nothing else, and report.json: facts with intervals,
distances from the world's own pictures (KID, FID, coverage, Vendi score), nearest training pictures, strengths of
one --lora, the pictures that the probe finds worst, and where all comes from. --against compares with another LoRA
on the same prompts and noise.

Both keep what they have drawn in pictures/ of their folder: the same command again draws only what is missing.
"""

import argparse
from pathlib import Path

from kolors_course.art.choices import BASE_STYLE, STYLES
from kolors_course.cli.flags import shared
from kolors_course.cli.flags.numbers import number
from kolors_course.cli.flags.outputs import output_folder
from kolors_course.ranges import whole

# Held-out scenes where --scenes says nothing; of --suite for each task.
SCENES, SUITE_SCENES, REPORT_SCENES = 200, 50, 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scenes",
        type=number(whole(1, 100_000)),
        help=f"held-out scenes, two prompts each (default {SCENES}; of each task with --suite {SUITE_SCENES}; with "
        f"--report {REPORT_SCENES})",
    )
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--suite", action="store_true", help="draw the prompt benchmark instead")
    kinds.add_argument(
        "--report", type=output_folder, metavar="DIR", help="write a page about a model or LoRA instead"
    )
    parser.add_argument(
        "--against", metavar="FILE[:STRENGTH]", help="with --report: another LoRA, or none, to compare with"
    )
    parser.add_argument(
        "--training",
        type=Path,
        metavar="DIR",
        help="with --report: the pictures it was trained on (default: those of data/datasets/STYLE, for a --lora)",
    )
    parser.add_argument(
        "--style", default=BASE_STYLE, choices=STYLES, help="style that is wanted (default %(default)s)"
    )
    parser.add_argument(
        "-o", "--output", type=output_folder, help="default outputs/evaluation, outputs/suite with --suite"
    )
    shared.add_sampling(parser)
    shared.add_lora_files(parser)
    shared.add_model(parser)
    shared.add_json(parser)
