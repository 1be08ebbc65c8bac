"""What lies in a data set's folder: pictures, their captions and masks, whatever the writing of their names."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from kolors_course.errors import CourseError, is_whole

# Some Pillow cannot read everywhere (.avif), or at all (.heic): better one clear error than a picture passed over.
PICTURE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".avif", ".heic", ".heif"),
)
CAPTION_SUFFIXES = (".txt", ".caption")  # the first that is there is read
MASK_SUFFIX = "-masklabel.png"  # loss masks, by the name that OneTrainer uses
ARCHIVE_LEFTOVERS = "__MACOSX"
_KOHYA = re.compile(r"(\d{1,3})_(.*)", re.DOTALL)


def visible_files(folder: Path) -> list[Path]:
    """The files in a folder and below it, sorted; without hidden ones and what macOS puts into archives.

    Raises:
        CourseError: a folder may not be looked into.
    """
    found = []
    for place, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        found += [Path(place, name) for name in names if not _is_hidden(name)]
    return sorted(filter(os.path.isfile, found))


def _refuse(error: OSError) -> None:
    if isinstance(error, PermissionError):  # others mean that it is not there
        raise CourseError(
            f"cannot look into {error.filename}: {error.strerror}; mend its permissions"
        ) from error


def picture_files(folder: Path) -> list[Path]:
    """The pictures among `visible_files`, without masks."""
    files = (file for file in visible_files(folder) if file.suffix.lower() in PICTURE_SUFFIXES)
    return [file for file in files if not file.name.lower().endswith(MASK_SUFFIX)]


def mask_file(picture: Path) -> Path:
    """Where the loss mask of a picture lies if it has one: cat-masklabel.png beside cat.jpg."""
    usual = picture.with_name(picture.stem + MASK_SUFFIX)
    shouted = usual.with_suffix(usual.suffix.upper())
    # Unlike Path.is_file, this is also False for names that are too long.
    return shouted if os.path.isfile(shouted) and not os.path.isfile(usual) else usual


def repeats_of(folder: str) -> tuple[int, str]:
    """How often kohya's trainers show a folder's pictures in each pass, and what they show: 10_cat is (10, "cat")."""
    match = _KOHYA.fullmatch(folder)
    return (int(match[1]), match[2]) if match else (1, folder)


def plain_name(name: str) -> str:
    """Equal for names that a person takes for the same: with composed characters, small letters, and bytes as GBK.

    macOS decomposes characters, Windows does not tell letter cases apart, and its archives may hold names in GBK.
    """
    if not is_whole(name):
        name = _as_gbk(name)
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class NameIndex:
    """Finds files whose names differ from what is asked for only as `plain_name` forgives."""

    def __init__(self, folder: Path, files: Iterable[Path]):
        self._files = defaultdict(list)
        for file in files:
            name = file.relative_to(folder).as_posix()
            for written in {plain_name(name), plain_name(_as_gbk(name))}:
                self._files[written].append(file)

    def find(self, name: str) -> list[Path]:
        """The files that may be meant by `name`, which is relative to the folder and has forward slashes."""
        return self._files.get(plain_name(name), [])


class Captions:
    """The caption files in a folder and below it, by the pictures that they belong to."""

    def __init__(self, folder: Path):
        self.files = [file for file in visible_files(folder) if file.suffix.lower() in CAPTION_SUFFIXES]
        self._by_stem = defaultdict(list)
        for file in self.files:
            self._by_stem[file.parent, plain_name(file.stem)].append(file)

    def of(self, picture: Path) -> list[Path]:
        """The caption files of `picture`, that which is read first; those with exactly its name before others."""
        found = self._by_stem.get((picture.parent, plain_name(picture.stem)), [])
        exact = [file for file in found if file.stem == picture.stem]
        return sorted(exact or found, key=lambda file: CAPTION_SUFFIXES.index(file.suffix.lower()))


def _as_gbk(name: str) -> str:
    """What the bytes of a name on the disk say in GBK, of which some are valid UTF-8 by chance: 猫 is è."""
    return os.fsencode(name).decode("gb18030", "surrogateescape")


def _is_hidden(part: str) -> bool:
    return part.startswith(".") or part == ARCHIVE_LEFTOVERS
