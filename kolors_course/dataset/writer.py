"""Writing the camp's layout: `<folder>/train/metadata.csv` with `000.png`, `001.png`, … beside it."""

import csv
import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from kolors_course.dataset.folders import mask_file
from kolors_course.dataset.metadata import COLUMNS, METADATA_NAME, TRAIN_FOLDER
from kolors_course.dataset.pixels import upright_rgb
from kolors_course.dataset.text import is_blank
from kolors_course.errors import CourseError
from kolors_course.files import ensure_folder

ENCODINGS = ("utf-8", "utf-8-sig")


def picture_name(index: int) -> str:
    """The file name of the picture of item `index`, counted from 0."""
    return f"{index:03d}.png"


def write_dataset(
    folder: str | Path,
    items: Iterable[tuple[Image.Image, str] | tuple[Image.Image, str, Image.Image | None]],
    encoding: str = "utf-8-sig",
) -> Path:
    """Write pictures and captions as a dataset that `read_dataset` accepts; return the folder.

    Pictures are stored as RGB PNG, upright, on white. The dataset is made under a temporary name beside
    `folder` and renamed when complete, so that `folder` is never half a dataset.

    Args:
        folder: a new or empty folder.
        items: (picture, caption), or (picture, caption, loss mask or None); may be a generator, one picture is held
            at a time.
        encoding: "utf-8-sig" (the camp's; Excel then shows Chinese rightly) or "utf-8".

    Raises:
        CourseError: `folder` is in use or cannot be written to, the encoding is another, there are no
            items, a caption is empty, or a picture's pixel format is refused by `upright_rgb`.
    """
    if encoding not in ENCODINGS:
        raise CourseError(f"encoding {encoding} is not one of {', '.join(ENCODINGS)}: use one of these")
    target = Path(folder).resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CourseError(f"{folder} exists and is not an empty folder; choose another, or remove it first")
    ensure_folder(target.parent)
    temporary = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
    try:
        _write_train(temporary / TRAIN_FOLDER, items, encoding)
        if target.exists():
            target.rmdir()  # renaming onto an empty folder is not possible on Windows
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Path(folder)


def _write_train(folder: Path, items: Iterable[tuple], encoding: str) -> None:
    folder.mkdir(parents=True)
    count = 0
    with (folder / METADATA_NAME).open("w", encoding=encoding, newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(COLUMNS)
        for count, (image, text, *masks) in enumerate(items, start=1):
            if is_blank(text):
                raise CourseError(f"the caption of item {count} is empty; describe the picture")
            name = picture_name(count - 1)
            try:
                picture = upright_rgb(image)
            except CourseError as error:
                raise CourseError(f"the picture of item {count}: {error}") from error
            picture.save(folder / name)
            for mask in filter(None, masks):
                mask.save(mask_file(folder / name))
            table.writerow((name, text.strip()))
    if not count:
        raise CourseError("a dataset needs at least one picture; none was given")
