"""The command `kolors-course`: for each subcommand its flags, `add_arguments` in flags/, and its work, `run` here."""

import argparse
import importlib
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kolors_course import __version__
from kolors_course.cli.parsing import Parser
from kolors_course.errors import CourseError, enough_memory, for_terminal, printable
from kolors_course.libraries import present_torch, remedy, require_fit

# name -> (module, one line of help)
COMMANDS = {
    "doctor": ("doctor", "what this machine can run, and what is missing"),
    "generate": ("generate", "draw a picture from a prompt"),
    "words": ("words", "the words that Kolors-mini knows"),
    "progress": ("progress", "which exercises you have passed; a text to share, and a certificate"),
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
    "sweep": ("sweep", "draw over a grid of settings, measure, and recommend the cheapest that do"),
    "demo": ("demo", "the main job: train a style LoRA and draw a story before and after"),
    "train-mini": ("train_mini", "train Kolors-mini from scratch (resumable)"),
}
# What the same command does after it was interrupted.
RESUMABLE = {
    "train-lora": "goes on from the last checkpoint",
    "train-mini": "goes on from the last checkpoint",
    "evaluate": "draws only the pictures that are missing, with --suite or --report",
    "sweep": "draws only the cells that are missing",
}
MEMORY_FLAGS = ("batch_size", "size", "height", "width", "count", "scale", "lora_rank", "rank")


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


def subparser(name: str) -> argparse.ArgumentParser:
    """The parser of one subcommand, by the name it has in `COMMANDS`."""
    flags = importlib.import_module(f"kolors_course.cli.flags.{COMMANDS[name][0]}")
    parser = getattr(flags, "PARSER", Parser)(
        prog=f"kolors-course {name}",
        description=flags.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_arguments(parser)
    parser.add_argument("--debug", action="store_true", help="show the full traceback of an error")
    return parser


def _quiet_libraries() -> None:
    """Keep other libraries' advice, warnings and progress bars out of our output."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
    if not sys.warnoptions:  # python -W shows them
        warnings.simplefilter("ignore")


def _print_anything() -> None:
    """Let no character end a command: where the console's encoding lacks one (Windows, pipes), ? stands for it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # notebooks replace them with what has no encoding
            stream.reconfigure(errors="replace")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 is success, 2 a mistake in the input (or a full disk), told in one line."""
    argv = list(sys.argv[1:] if argv is None else argv)
    _print_anything()
    try:
        return _run(argv)
    except (CourseError, OSError) as error:
        if "--debug" in argv:
            raise
        print("error:", " ".join(for_terminal(str(error)).splitlines()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        resumes = RESUMABLE.get(argv[0]) if argv else None
        print(f"stopped; the same command {resumes}" if resumes else "stopped", file=sys.stderr)
        return 130


def _run(argv: list[str]) -> int:
    name = build_parser().parse_args(argv[:1] or ["--help"]).command
    with _missing_modules_explained():
        arguments = subparser(name).parse_args(argv[1:])
    arguments.command_line = printable(shlex.join(["kolors-course", *argv]))
    if name == "doctor":
        present_torch()  # what else is wrong, it reports
    else:
        require_fit()
    _quiet_libraries()
    with _missing_modules_explained():
        module = importlib.import_module(f"kolors_course.cli.{COMMANDS[name][0]}")
    with enough_memory(_memory_advice(arguments)):
        return module.run(arguments) or 0


@contextmanager
def _missing_modules_explained() -> Iterator[None]:
    """Name the remedy where a library is missing that came after this checkout was installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise CourseError(f"{error}: {remedy([str(error.name)])}") from error


def _memory_advice(arguments: argparse.Namespace) -> str:
    """What to lower: those of the flags that memory grows with which this command has."""
    flags = [f"--{name}" for name in MEMORY_FLAGS if name in vars(arguments)]
    return f"lower {' or '.join(flags)}" if flags else "take a machine with more memory"
