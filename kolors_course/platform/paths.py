"""Where the course's own files lie."""

import os
from pathlib import Path

from kolors_course.errors import CourseError
from kolors_course.files import ensure_folder

REPOSITORY = Path(__file__).resolve().parents[2]


def data_path() -> Path:
    """Where the folder `data/` should be: $KOLORS_COURSE_DATA, or in this checkout."""
    return Path(os.environ.get("KOLORS_COURSE_DATA") or REPOSITORY / "data")


def data_dir() -> Path:
    """The folder `data/`.

    Raises:
        CourseError: it does not exist, as where the library was installed without its checkout.
    """
    folder = data_path()
    if (folder / "data" / "art").is_dir():
        raise CourseError(f"{folder} is the checkout: set KOLORS_COURSE_DATA to {folder / 'data'}")
    if not folder.is_dir():
        named = (
            "KOLORS_COURSE_DATA names it" if os.environ.get("KOLORS_COURSE_DATA") else "not in the package"
        )
        raise CourseError(
            f"no folder {folder} ({named}), where the course's data should be: get its repository with git clone "
            "--depth 1, and set KOLORS_COURSE_DATA to the data/ folder in it"
        )
    return folder


def kolors_folder() -> Path:
    """Where full Kolors is kept: `models/Kolors-diffusers` where Python was started or in this checkout.

    Notebooks start in `notebooks/`, commands in the checkout: both find the same download.
    """
    here = Path("models") / "Kolors-diffusers"
    return here if here.is_dir() or not (REPOSITORY / here).is_dir() else REPOSITORY / here


def outputs_dir() -> Path:
    """The folder for results, made when needed: `outputs/` of this checkout.

    A library that was installed without its checkout has none; there it is `outputs/` where Python was
    started.

    Raises:
        CourseError: it cannot be made or written to.
    """
    checkout = (REPOSITORY / "pyproject.toml").is_file()
    return ensure_folder((REPOSITORY if checkout else Path.cwd()) / "outputs")
