"""Train Kolors-mini from scratch: tokenizer, pictures, VAE, probe, then U-Net and ChatGLM together.

Every stage logs, keeps checkpoints and resumes; run the same command again after an interruption. Finished stages
are skipped. The result goes to OUTPUT/kolors-mini and OUTPUT/probe-run; copy them to data/ to use them.

    kolors-course train-mini                                                   # hours on a CPU, minutes on a GPU
    kolors-course train-mini --from data/kolors-mini --base-steps 3500 --learning-rate 5e-4   # go on from there
    kolors-course train-mini --from data/kolors-mini --stage decoder                          # sharper pictures
    kolors-course train-mini --from data/kolors-mini --stage foreign                  # learns other people's pictures
    kolors-course train-mini --from data/kolors-mini --stage control             # a ControlNet: lines, boxes, depth
    kolors-course train-mini --from data/kolors-mini --stage vae --stage base                 # both, encoder too

Kolors-mini 2, in lines of three to twelve minutes on a GPU. Run a line again if it was cut short, in the same folder:
it goes on from its last checkpoint. While one line trains, --stage pictures can draw for the next beside it.

    kolors-course train-mini --recipe gpu2 -o outputs/mini2 --stage vae
    kolors-course train-mini --recipe gpu2 -o outputs/mini2 --stage base
    kolors-course train-mini --recipe gpu2 -o outputs/mini2 --from outputs/mini2/kolors-mini --stage decoder
    kolors-course train-mini --recipe gpu2 -o outputs/mini2 --from outputs/mini2/kolors-mini \\
        --base-steps 4500 --learning-rate 7e-4
"""

import argparse
from pathlib import Path

from kolors_course.cli.flags.numbers import number
from kolors_course.mini.choices import FURTHER_STAGES, LATENT_CHANNELS, MINI_RECIPES, MINI_STAGES
from kolors_course.ranges import whole
from kolors_course.training.limits import LEARNING_RATE, MANY, SHARE, STEPS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, default=Path("outputs/mini"), help="default %(default)s")
    parser.add_argument(
        "--recipe",
        choices=MINI_RECIPES,
        help="how large batches and networks, and how many steps; by default gpu where there is one, else cpu, which "
        "make the same networks. gpu2 makes Kolors-mini 2",
    )
    parser.add_argument(
        "--stage",
        choices=(*MINI_STAGES, *FURTHER_STAGES),
        action="append",
        help="only this stage; may be repeated. Of the model given by --from, decoder sharpens the decoder, and "
        "foreign teaches the VAE pictures that are not of its world, while its latents of the world stay; control "
        "trains a ControlNet that reads lines, boxes and depth",
    )
    parser.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="DIR",
        help="train this Kolors-mini further: its base model, unless stages are named",
    )
    parser.add_argument(
        "--learning-rate", type=number(LEARNING_RATE), help="of the base model; default: the recipe's"
    )
    parser.add_argument(
        "--pictures", type=number(whole(100, MANY)), help="of the base model; default: the recipe's"
    )
    parser.add_argument("--vae-learning-rate", type=number(LEARNING_RATE), help="default: the recipe's")
    parser.add_argument(
        "--latent-channels",
        type=number(whole(1, 64)),
        choices=LATENT_CHANNELS,
        help="numbers in each cell of a new VAE's latents; default: the recipe's",
    )
    parser.add_argument("--vae-steps", type=number(STEPS), help="default: the recipe's")
    parser.add_argument("--base-steps", type=number(STEPS), help="default: the recipe's")
    parser.add_argument("--probe-steps", type=number(STEPS), help="default: the recipe's")
    parser.add_argument(
        "--styled-share",
        type=number(SHARE),
        help="part of each batch drawn in a style; default: the recipe's",
    )
