"""Workflows inside pictures, where ComfyUI's own nodes and the save nodes in use put them.

| file | where | written by |
|---|---|---|
| PNG | text chunks named "workflow" and "prompt" | Save Image |
| animated PNG | chunks "comf", of the same form | Save Animated PNG |
| WebP | EXIF texts "workflow:…" and "prompt:…", in whatever tags | Save Animated WEBP |
| JPEG, AVIF, TIFF, PNG | the same EXIF texts, or one JSON as EXIF user comment | save nodes of other packs |
| SVG | one JSON in <metadata> | Save SVG |

Pixels are never decoded, so damage among them does not matter.
"""

import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from PIL import ExifTags, Image

from kolors_course.errors import CourseError
from kolors_course.untrusted import MAX_BYTES, parse_json

PICTURES = (".png", ".apng", ".webp", ".jpg", ".jpeg", ".avif", ".tif", ".tiff", ".svg")
PNG = b"\x89PNG\r\n\x1a\n"
NAMES = ("workflow", "prompt")  # what the page saves, and what the server ran
SVG_METADATA = re.compile(rb"<metadata>\s*<!\[CDATA\[(.*?)\]\]>", re.DOTALL)


def workflow_in(path: Path) -> Any:
    """The workflow in a picture, as its JSON says it, in the page's format where it has both.

    Raises:
        CourseError: the file is not a picture, damaged before the workflow, or carries none.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(64)
        file.seek(0)
        if head.startswith(PNG):
            found = dict(_texts_of_png(file, path))
        elif head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            found = _parts(b"".join(SVG_METADATA.findall(file.read(MAX_BYTES))[:1]), path)
        else:
            found = _texts_of_exif(_exif_of(file, path), path)
    value = next((found[name] for name in NAMES if found.get(name)), None)
    if value is None:
        raise CourseError(f"{path} carries no workflow: only pictures that ComfyUI itself saved do")
    while isinstance(value, str | bytes):  # some nodes write JSON inside JSON
        value = parse_json(value, f"the workflow in {path}")
    return value


def _texts_of_png(file: BinaryIO, path: Path) -> Iterator[tuple[str, Any]]:
    file.seek(len(PNG))
    while len(head := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        if kind == b"IHDR":
            width, height = struct.unpack(">II", file.read(8).ljust(8, b"\0"))
            _require_sane(width, height, path)
            size -= 8
        if kind not in (b"tEXt", b"zTXt", b"iTXt", b"comf", b"eXIf"):
            file.seek(size + 4, 1)
            continue
        if size > MAX_BYTES:
            raise CourseError(f"{path}: a text of {size} bytes in it; no workflow is that long")
        content = file.read(size)
        file.seek(4, 1)
        if kind == b"eXIf":
            yield from _texts_of_exif(_exif_of(content, path), path).items()
            continue
        name, _, text = content.partition(b"\0")
        if (key := name.decode("latin-1").lower()) in NAMES:
            yield key, _plain(kind, text, path)


def _require_sane(width: int, height: int, path: Path) -> None:
    """Refuse the sizes that Pillow refuses in other formats."""
    most = Image.MAX_IMAGE_PIXELS  # None: a program has lifted Pillow's limit
    if most is not None and width * height > 2 * most:
        raise CourseError(
            f"{path} says that it has {width} x {height} pixels: it is damaged, or no picture of ComfyUI"
        )


def _plain(kind: bytes, text: bytes, path: Path) -> bytes:
    """What a text chunk says after its name."""
    packed = kind == b"zTXt" or (kind == b"iTXt" and text[:1] == b"\1")
    if kind == b"zTXt":
        text = text[1:]  # the way it is packed: there is only one
    if kind == b"iTXt":  # whether and how it is packed, a language, and a translated name
        text = text[2:].split(b"\0", 2)[-1]
    if not packed:
        return text
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(text, MAX_BYTES)
    except zlib.error as error:
        raise CourseError(f"{path} is damaged ({error}); save it again from ComfyUI") from error
    if unpacker.unconsumed_tail:
        raise CourseError(
            f"{path}: a text in it is longer than {MAX_BYTES >> 20} MiB; no workflow is that long"
        )
    return plain


def _exif_of(source: BinaryIO | bytes, path: Path) -> Image.Exif:
    exif = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of many pixels, which nobody decodes here, and of damaged EXIF
            if isinstance(source, bytes):
                exif.load(source)
                return exif
            return Image.open(source).getexif()
    except Exception as error:  # on a damaged file Pillow raises almost anything
        raise CourseError(
            f"{path} is not a picture that can be read; export the workflow as JSON in ComfyUI"
        ) from error


def _texts_of_exif(exif: Image.Exif, path: Path) -> dict[str, Any]:
    try:
        values = list(exif.values())
        comment = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    except Exception as error:  # as above
        raise CourseError(f"{path} has damaged EXIF data; export the workflow as JSON in ComfyUI") from error
    texts = {}
    for value in values:
        name, found, text = value.partition(":") if isinstance(value, str) else ("", "", "")
        if found and name.lower() in NAMES:
            texts[name.lower()] = _as_written(text.rstrip("\0"))
    if not texts and isinstance(comment, bytes):
        mark = comment[:8] if comment[:8] in (b"ASCII\0\0\0", b"UNICODE\0", b"\0" * 8) else b""
        texts = _parts(comment.removeprefix(mark), path)
    return texts


def _as_written(text: str) -> str | bytes:
    """Pillow reads EXIF texts letter by letter as Latin-1; who writes more than ASCII there writes UTF-8."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text


def _parts(text: bytes, path: Path) -> dict[str, Any]:
    """One JSON that holds both formats by name; other texts hold none."""
    if b"{" not in text.lstrip()[:4]:
        return {}
    value = parse_json(text, f"the workflow in {path}")
    return value if isinstance(value, dict) else {}
