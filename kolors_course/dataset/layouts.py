"""The four ways in which folders of pictures say what is in them.

1. `metadata.csv` with the columns file_name,text: the camp's.
2. `metadata.jsonl` with the same two keys: Hugging Face's imagefolder, and what data-juicer users have.
3. A `.txt` file beside each picture: kohya's, and Kolors' own dreambooth example.
4. Pictures in folders whose names are the captions: imagefolder without metadata.

Each may lie in the folder that is given, or in `train/` below it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kolors_course.dataset.metadata import (
    COLUMNS,
    JSONL_NAME,
    METADATA_NAME,
    TRAIN_FOLDER,
    Row,
    read_csv,
    read_jsonl,
)
from kolors_course.dataset.text import Decode, read_utf8
from kolors_course.errors import CourseError

CAPTION_FILES, CLASS_FOLDERS = "caption files", "class folders"
# Some Pillow cannot read everywhere (.avif), or at all (.heic): better one clear error than a picture passed over.
PICTURE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".avif", ".heic", ".heif"),
)
MASK_SUFFIX = "-masklabel.png"  # loss masks, by the name that OneTrainer uses
READERS = {METADATA_NAME: read_csv, JSONL_NAME: read_jsonl}


@dataclass(frozen=True)
class Listing:
    """Everything a dataset says about its pictures.

    Attributes:
        folder: what file names are relative to.
        source: the metadata file, or the folder if there is none.
        layout: "metadata.csv", "metadata.jsonl", "caption files" or "class folders".
        rows: one for each picture.
        notes: what was forgiven or looks strange, one line each.
        ignored: what lies there too and is not read, one line each.
    """

    folder: Path
    source: Path
    layout: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    ignored: tuple[str, ...] = ()


def find_listing(path: str | Path, decode: Decode = read_utf8) -> Listing:
    """Find out how the dataset in `path` or `path/train` is laid out, and read its rows.

    A metadata file comes before caption files, these before class folders; `train/` before `path` itself.

    Raises:
        CourseError: `path` is missing or not a folder, its pictures have no captions, it is not clear which
            metadata file is meant, or the metadata file cannot be used at all.
    """
    path = Path(path)
    if not path.is_dir():
        fault = "is a file, not a folder" if path.exists() else "does not exist"
        raise CourseError(
            f"dataset folder {path} {fault}; give the folder that holds {TRAIN_FOLDER}/{METADATA_NAME}"
        )
    listing = _choose(path, decode)
    pictures = picture_files(listing.folder)
    shared = [*_shared(pictures, mask_file)]
    if listing.layout == CAPTION_FILES:
        shared += _shared(pictures, _caption_file)
    ignored = (*listing.ignored, *_passed_over(path, listing.folder))
    return replace(listing, notes=(*listing.notes, *shared), ignored=ignored)


def _choose(path: Path, decode: Decode) -> Listing:
    train = path / TRAIN_FOLDER
    for folder in (train, path):
        if listing := _from_metadata(folder, decode):
            return listing
    folder = train if picture_files(train) else path
    pictures = picture_files(folder)
    if any(_caption_file(picture).is_file() for picture in pictures):
        rows = tuple(_caption_rows(folder, pictures, decode))
        lost = tuple(_captions_without_picture(folder, pictures))
        return Listing(folder, folder, CAPTION_FILES, rows, (), lost)
    classes = {picture.parent.name for picture in pictures}
    # One folder, or pictures beside folders, are no classes: that is how imagefolder has it, too.
    if len(classes) > 1 and all(picture.parent != folder for picture in pictures):
        return Listing(folder, folder, CLASS_FOLDERS, _class_rows(folder, pictures), (_class_note(classes),))
    raise CourseError(
        f"{METADATA_NAME} is missing: neither {train / METADATA_NAME} nor {path / METADATA_NAME} exists, nor a "
        f"{JSONL_NAME}, nor a .txt file beside any picture; write a {METADATA_NAME} with the columns "
        f"{','.join(COLUMNS)}"
    )


def picture_files(folder: Path) -> list[Path]:
    """The pictures in a folder and below it, sorted; without masks, hidden files and hidden folders."""
    files = (file for file in _visible_files(folder) if file.suffix.lower() in PICTURE_SUFFIXES)
    return [file for file in files if not file.name.endswith(MASK_SUFFIX)]


def mask_file(picture: Path) -> Path:
    """Where the loss mask of a picture lies if it has one: cat-masklabel.png beside cat.jpg."""
    return picture.with_name(picture.stem + MASK_SUFFIX)


def _visible_files(folder: Path) -> list[Path]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted(f for f in files if not any(p.startswith(".") for p in f.relative_to(folder).parts))


def _from_metadata(folder: Path, decode: Decode) -> Listing | None:
    found = [name for name in READERS if (folder / name).is_file()]
    if len(found) > 1:
        raise CourseError(f"{folder} holds both {' and '.join(found)}; keep the one to train on")
    if not found:
        return None
    (name,) = found
    table = READERS[name](folder / name, decode)
    return Listing(folder, folder / name, name, table.rows, table.notes)


def _caption_file(picture: Path) -> Path:
    return picture.with_suffix(".txt")


def _caption_rows(folder: Path, pictures: Sequence[Path], decode: Decode) -> Iterator[Row]:
    for picture in pictures:
        file, name = _caption_file(picture), picture.relative_to(folder).as_posix()
        if not file.is_file():
            yield Row(picture, 0, fault=f"has no caption; describe it in {file.name} beside it")
            continue
        try:
            yield Row(file, 0, name, decode(file))
        except CourseError as error:
            yield Row(file, 0, fault=str(error).removeprefix(f"{file} "))


def _captions_without_picture(folder: Path, pictures: Sequence[Path]) -> Iterator[str]:
    used = {_caption_file(picture) for picture in pictures}
    lost = [file for file in _visible_files(folder) if file.suffix == ".txt" and file not in used]
    if lost:
        files = "1 .txt file has" if len(lost) == 1 else f"{len(lost)} .txt files have"
        yield f"{files} no picture of the same name in {folder}, the first is {lost[0].relative_to(folder)}"


def _passed_over(path: Path, chosen: Path) -> Iterator[str]:
    """What says captions in the one of `path` and `path/train` that was not chosen."""
    train = path / TRAIN_FOLDER
    other = path if chosen == train else train
    pictures = [picture for picture in picture_files(other) if other == train or train not in picture.parents]
    captions = [file for picture in pictures if (file := _caption_file(picture)).is_file()]
    found = [other / name for name in READERS if (other / name).is_file()] + captions[:1]
    if found:
        yield (
            f"captions in {other} are not read, only those of {chosen} are (the first is "
            f"{found[0].relative_to(other)}); put everything into one of the two folders"
        )


def _shared(pictures: Sequence[Path], companion: Callable[[Path], Path]) -> Iterator[str]:
    """What belongs to two pictures, because their names differ in the ending only."""
    owners = Counter(companion(picture) for picture in pictures)
    shared = [file for file, count in owners.items() if count > 1 and file.is_file()]
    if shared:
        files = "1 file belongs" if len(shared) == 1 else f"{len(shared)} files belong"
        yield (
            f"{files} to several pictures whose names differ in the ending only, the first is {shared[0]}; give each "
            "picture a name of its own"
        )


def _class_rows(folder: Path, pictures: Sequence[Path]) -> tuple[Row, ...]:
    return tuple(
        Row(picture, 0, picture.relative_to(folder).as_posix(), picture.parent.name.replace("_", " "))
        for picture in pictures
    )


def _class_note(classes: set[str]) -> str:
    return (
        f"the captions are the names of {len(classes)} folders, which say little about a single picture; "
        f"write a {METADATA_NAME} that describes each one"
    )
