"""The command `kolors-course`: one module for each subcommand, with `add_arguments` and `run`."""

import argparse
import importlib
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

from kolors_course import __version__
from kolors_course.errors import CourseError

# name -> (module, one line of help)
COMMANDS = {
    "doctor": ("doctor", "what this machine can run, and what is missing"),
    "generate": ("generate", "draw a picture from a prompt"),
    "check-dataset": ("check_dataset", "check a folder of pictures and captions"),
    "train-lora": ("train_lora", "train a LoRA, with the flags of the camp's trainer"),
    "inspect-lora": ("inspect_lora", "what is in a LoRA file, and where it works at the right strength"),
    "convert-lora": ("convert_lora", "write a LoRA in the layout of diffusers, kohya or DiffSynth-Studio"),
    "merge-lora": ("merge_lora", "bake LoRAs into a copy of a model"),
    "extract-lora": ("extract_lora", "make a LoRA out of two full models"),
    "combine-lora": ("combine_lora", "make one LoRA of several"),
    "story": ("story", "draw a storyboard as a page of pictures"),
    "comfyui": ("comfyui", "install, start and stop ComfyUI, and run workflows in it"),
    "evaluate": ("evaluate", "measure prompt following and style on held-out prompts"),
    "demo": ("demo", "the main job: train a style LoRA and draw a story before and after"),
    "train-mini": ("train_mini", "train Kolors-mini from scratch (resumable)"),
}


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, like all other errors of the command."""

    def error(self, message: str) -> NoReturn:
        raise CourseError(f"{message}; see {self.prog} --help")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands; importing their modules is left to the one that runs."""
    parser = Parser(
        prog="kolors-course",
        description="Learn, train and ship Kolors LoRAs; KOLORS_PROFILE=kolors for full Kolors.",
    )
    parser.add_argument("--version", action="version", version=f"kolors-course {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, text) in COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser


def _subparser(name: str, module) -> argparse.ArgumentParser:
    parser = Parser(
        prog=f"kolors-course {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    parser.add_argument("--debug", action="store_true", help="show the full traceback of an error")
    return parser


def _quiet_libraries() -> None:
    """Keep other libraries' advice and progress bars out of our output."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 is success, 2 a mistake in the input (or a full disk), told in one line."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(argv)
    except (CourseError, OSError) as error:
        if "--debug" in argv:
            raise
        print("error:", " ".join(str(error).splitlines()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; trainings resume from their last checkpoint when run again", file=sys.stderr)
        return 130


def _run(argv: list[str]) -> int:
    name = build_parser().parse_args(argv[:1] or ["--help"]).command
    _quiet_libraries()
    module = importlib.import_module(f"kolors_course.cli.{COMMANDS[name][0]}")
    arguments = _subparser(name, module).parse_args(argv[1:])
    arguments.command_line = shlex.join(["kolors-course", *argv])
    return module.run(arguments) or 0
