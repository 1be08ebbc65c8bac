"""Types of flags that name what is written: whether it can be written is told before any work."""

import argparse
from collections.abc import Callable
from pathlib import Path

from kolors_course.errors import CourseError
from kolors_course.files import check_output


def output_file(*suffixes: str) -> Callable[[str], Path]:
    """A type for a file to write, whose name ends in one of `suffixes`; in anything, where none is given.

    Raises (the function it gives):
        argparse.ArgumentTypeError: another ending, or it cannot be written.
    """

    def parse(text: str) -> Path:
        path = Path(text)
        if suffixes and path.suffix.lower() not in suffixes:
            raise argparse.ArgumentTypeError(f"{text}: give a file that ends in {', '.join(suffixes)}")
        return _checked(path, path)

    return parse


def output_folder(text: str) -> Path:
    """A type for a folder to write into.

    Raises:
        argparse.ArgumentTypeError: it cannot be made or written to.
    """
    return _checked(Path(text), Path(text) / "x")


def _checked(path: Path, probe: Path) -> Path:
    try:
        check_output(probe)
    except CourseError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return path
