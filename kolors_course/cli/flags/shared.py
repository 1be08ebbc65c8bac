"""Flags that several commands share."""

import argparse

from kolors_course.cli.flags.numbers import COUNT, number
from kolors_course.cli.flags.outputs import output_file
from kolors_course.diffusion.choices import SAMPLERS, SPACINGS, STOCHASTIC_SAMPLERS
from kolors_course.ranges import GUIDANCE, POSITIVE, STEPS


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", metavar="DIR", help="model in diffusers layout (default: that of KOLORS_PROFILE)"
    )
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """How to sample; what is not given is the model's own, which `--lora` may change."""
    own = "(default: the model's own)"
    parser.add_argument("--steps", type=number(STEPS), help=f"sampling steps {own}")
    parser.add_argument("--guidance", type=number(GUIDANCE), help=f"guidance scale; 1 is none {own}")
    parser.add_argument(
        "--sampler",
        choices=(*SAMPLERS, *STOCHASTIC_SAMPLERS),
        metavar="NAME",
        help=f"{', '.join(SAMPLERS)}; drawing noise on the way: {', '.join(STOCHASTIC_SAMPLERS)} {own}",
    )
    parser.add_argument("--spacing", choices=SPACINGS, help=f"timesteps to visit {own}")
    parser.add_argument(
        "--batch_size", type=number(COUNT), default=8, help="pictures at a time (default %(default)s)"
    )


def add_lora_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lora",
        action="append",
        default=[],
        metavar="FILE[:STRENGTH]",
        help="LoRA to apply; may be given again",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", metavar="FILE", type=output_file(), help="also write the report as JSON")


def add_unet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="DIR",
        help="base model in diffusers layout, of which only unet/config.json is read (default: that of "
        "KOLORS_PROFILE, or full Kolors, whichever has the layers of the file)",
    )


def add_alpha(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--alpha",
        type=number(POSITIVE),
        help="alpha of training, for a file that does not say it; the camp's command used --lora_alpha 4.0; it is "
        "the rank where the program multiplied alpha into the tensors (OneTrainer's diffusers format, ai-toolkit)",
    )


def add_lora_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        type=output_file(".safetensors"),
        required=True,
        help="the .safetensors file to write",
    )
