"""The four ways in which folders of pictures say what is in them.

1. `metadata.csv` with the columns file_name,text: the camp's.
2. `metadata.jsonl` with the same two keys: Hugging Face's imagefolder, and what data-juicer users have.
3. A `.txt` or `.caption` file beside each picture: kohya's, and Kolors' own dreambooth example.
4. Pictures in folders whose names are the captions: imagefolder without metadata.

Each may lie in the folder that is given, or in `train/` below it. In the last two, folders may have kohya's names:
the pictures in `10_cat/` come ten times in each pass.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from kolors_course.dataset.folders import (
    CAPTION_SUFFIXES,
    Captions,
    NameIndex,
    mask_file,
    picture_files,
    repeats_of,
    visible_files,
)
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
from kolors_course.errors import CourseError, brief, printable

CAPTION_FILES, CLASS_FOLDERS = "caption files", "class folders"
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
    if not os.path.isdir(path):  # unlike Path's own, also False for a name that is too long
        fault = "is a file, not a folder" if os.path.exists(path) else "does not exist"
        shown = brief(str(path), 200)
        raise CourseError(
            f"dataset folder {shown} {fault}; give the folder that holds {TRAIN_FOLDER}/{METADATA_NAME}"
        )
    listing = _choose(path, decode)
    pictures, captions = picture_files(listing.folder), Captions(listing.folder)
    shared = [*_shared(mask_file(picture) for picture in pictures)]
    if listing.layout == CAPTION_FILES:
        shared += _shared(files[0] for picture in pictures if (files := captions.of(picture)))
    ignored = (*listing.ignored, *_passed_over(path, listing.folder))
    return replace(listing, notes=(*listing.notes, *shared), ignored=ignored)


def _choose(path: Path, decode: Decode) -> Listing:
    train = path / TRAIN_FOLDER
    for folder in (train, path):
        if listing := _from_metadata(folder, decode):
            return listing
    folder = train if picture_files(train) else path
    pictures, captions = picture_files(folder), Captions(folder)
    if any(captions.of(picture) for picture in pictures):
        rows = tuple(_caption_rows(folder, pictures, captions, decode))
        lost = tuple(_captions_without_picture(folder, pictures, captions))
        listing = Listing(folder, folder, CAPTION_FILES, rows, tuple(_doubled(pictures, captions)), lost)
        return _repeated(listing)
    classes = {picture.parent.name for picture in pictures}
    # One folder, or pictures beside folders, are no classes: that is how imagefolder has it, too; kohya has one.
    many = len(classes) > 1 or any(repeats_of(name)[1] != name for name in classes)
    if many and all(picture.parent != folder for picture in pictures):
        rows = _class_rows(folder, pictures)
        return _repeated(Listing(folder, folder, CLASS_FOLDERS, rows, (_class_note(classes),)))
    raise CourseError(
        f"{METADATA_NAME} is missing: neither {train / METADATA_NAME} nor {path / METADATA_NAME} exists, nor a "
        f"{JSONL_NAME}, nor a {' or '.join(CAPTION_SUFFIXES)} file beside any picture; write a {METADATA_NAME} with "
        f"the columns {','.join(COLUMNS)}"
    )


def _from_metadata(folder: Path, decode: Decode) -> Listing | None:
    found = _tables(folder)
    if len(found) > 1:
        names = " and ".join(file.name for file in found)
        raise CourseError(f"{folder} holds both {names}; keep the one to train on")
    if not found:
        return None
    (file,) = found
    name = file.name.lower()
    table = READERS[name](file, decode)
    notes = table.notes
    if file.name != name:
        notes = (f"{file} is understood here, but other trainers want {name}", *notes)
    return _matched(Listing(folder, file, name, table.rows, notes))


def _tables(folder: Path) -> list[Path]:
    """The metadata files of a folder; Windows does not tell letter cases apart."""
    with suppress(OSError):  # where there is no such folder; one that is closed has no files to match either
        return sorted(
            file for file in folder.iterdir() if file.name.lower() in READERS and os.path.isfile(file)
        )
    return []


def _matched(listing: Listing) -> Listing:
    """With the names that the files have on the disk, where a table writes them only a little differently."""
    folder, rows, changed = listing.folder, [], []
    index = NameIndex(folder, visible_files(folder))
    for row in listing.rows:
        name = row.file_name.strip().replace("\\", "/")
        files = (
            []
            if row.fault or not name or os.path.isfile(folder / name)
            else index.find(os.path.normpath(name))
        )
        if len(files) > 1:
            fault = f"'{row.file_name}' may be any of {len(files)} files whose names differ only in letter case or "
            row = replace(row, fault=fault + "in how characters are composed; rename them")
        elif files:
            changed.append(row.file_name)
            row = replace(row, file_name=files[0].relative_to(folder).as_posix())
        rows.append(row)
    notes = listing.notes
    if changed:
        notes += (
            f"{_count(changed, 'file has its name', 'files have their names')} written otherwise on the disk than in "
            f"{listing.source} (letter case, composed characters, or bytes that are not UTF-8), the first is "
            f"'{changed[0]}'; found here, but perhaps not by other trainers",
        )
    return replace(listing, rows=tuple(rows), notes=notes)


def _caption_rows(
    folder: Path, pictures: Sequence[Path], captions: Captions, decode: Decode
) -> Iterator[Row]:
    for picture in pictures:
        files, name = captions.of(picture), picture.relative_to(folder).as_posix()
        if not files:
            wanted = picture.with_suffix(CAPTION_SUFFIXES[0]).name
            yield Row(picture, 0, fault=f"has no caption; describe it in {wanted} beside it")
            continue
        file = files[0]
        try:
            yield Row(file, 0, name, decode(file))
        except CourseError as error:
            yield Row(file, 0, fault=str(error).removeprefix(f"{printable(str(file))} "))


def _captions_without_picture(folder: Path, pictures: Sequence[Path], captions: Captions) -> Iterator[str]:
    used = {file for picture in pictures for file in captions.of(picture)}
    lost = [file for file in captions.files if file not in used]
    if lost:
        yield (
            f"{_count(lost, 'caption file has', 'caption files have')} no picture of the same name in {folder}, the "
            f"first is {lost[0].relative_to(folder)}"
        )


def _doubled(pictures: Sequence[Path], captions: Captions) -> Iterator[str]:
    double = [files for picture in pictures if len(files := captions.of(picture)) > 1]
    if double:
        read, other = double[0][:2]
        yield (
            f"{_count(double, 'picture has', 'pictures have')} two caption files; {read.name} is read and "
            f"{other.name} is not: remove the one that is not meant"
        )


def _passed_over(path: Path, chosen: Path) -> Iterator[str]:
    """What says captions in the one of `path` and `path/train` that was not chosen."""
    train = path / TRAIN_FOLDER
    other = path if chosen == train else train
    captions = Captions(other)
    pictures = [picture for picture in picture_files(other) if other == train or train not in picture.parents]
    files = [file for picture in pictures for file in captions.of(picture)]
    found = _tables(other) + files[:1]
    if found:
        yield (
            f"captions in {other} are not read, only those of {chosen} are (the first is "
            f"{found[0].relative_to(other)}); put everything into one of the two folders"
        )


def _shared(companions: Iterable[Path]) -> Iterator[str]:
    """What belongs to two pictures, because their names differ in the ending only."""
    shared = [file for file, count in Counter(companions).items() if count > 1 and os.path.isfile(file)]
    if shared:
        yield (
            f"{_count(shared, 'file belongs', 'files belong')} to several pictures whose names differ in the ending "
            f"only, the first is {shared[0]}; give each picture a name of its own"
        )


def _class_rows(folder: Path, pictures: Sequence[Path]) -> tuple[Row, ...]:
    return tuple(
        Row(
            picture,
            0,
            picture.relative_to(folder).as_posix(),
            repeats_of(picture.parent.name)[1].replace("_", " "),
        )
        for picture in pictures
    )


def _class_note(classes: set[str]) -> str:
    folders = (
        "name of 1 folder, which says" if len(classes) == 1 else f"names of {len(classes)} folders, which say"
    )
    return (
        f"the captions are the {folders} little about a single picture; "
        f"write a {METADATA_NAME} that describes each one"
    )


def _repeated(listing: Listing) -> Listing:
    """With the repeats that kohya's folder names say; kohya leaves out what comes 0 times, and so do we."""
    rows: list[Row] = []
    found: Counter[str] = Counter()
    unused: Counter[str] = Counter()
    for row in listing.rows:
        folder = (listing.folder / row.file_name if row.file_name else row.source).parent
        times, name = (1, "") if folder == listing.folder else repeats_of(folder.name)
        if times:
            rows.append(replace(row, repeats=times))
        if name != folder.name and folder != listing.folder:
            (found if times else unused)[folder.name] += 1
    notes, ignored = [], []
    if found:
        told = ", ".join(f"{name} ({count} x {repeats_of(name)[0]})" for name, count in found.items())
        notes.append(f"the number before a folder's name is how often its pictures come in each pass: {told}")
    if unused:
        ignored.append(f"the pictures in {', '.join(unused)} come 0 times, so they are not read")
    return replace(
        listing, rows=tuple(rows), notes=(*listing.notes, *notes), ignored=(*listing.ignored, *ignored)
    )


def _count(things: Sequence, one: str, many: str) -> str:
    return f"1 {one}" if len(things) == 1 else f"{len(things)} {many}"
