"""Pictures that are damaged, lie about themselves or are bombs: one line, and little memory."""

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from kolors_course.dataset import fix_dataset, open_picture
from kolors_course.dataset.pixels import storage_quirks
from kolors_course.errors import CourseError

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
SCENE = Image.fromarray(PIXELS)
SAVED = {
    "a.png": {},
    "b.jpg": {},
    "c.webp": {"lossless": True},
    "d.webp": {"save_all": True, "append_images": [SCENE.rotate(180)]},
    "e.gif": {"save_all": True, "append_images": [SCENE.rotate(180)]},
    "f.tif": {"compression": "tiff_lzw"},
    "g.tif": {"compression": "jpeg"},
    "h.tif": {"compression": "tiff_deflate"},
    "i.bmp": {},
    "j.avif": {},
}
NAMES = [name for name in SAVED if not name.endswith("avif") or features.check("avif")]


def exif_with(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def saved(name: str) -> bytes:
    stream = io.BytesIO()
    extra = {} if name.endswith((".gif", ".bmp")) else {"exif": exif_with(6)}
    SCENE.save(stream, Image.registered_extensions()[Path(name).suffix], **SAVED[name], **extra)
    return stream.getvalue()


def complaint(path: Path) -> str:
    with pytest.raises(CourseError) as caught:
        open_picture(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 400
    return message


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0.3, 0.02])
def test_pictures_cut_short_are_one_line(tmp_path, capfd, name, share):
    data = saved(name)
    (tmp_path / name).write_bytes(data[: int(share * len(data))])
    complaint(tmp_path / name)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", NAMES)
def test_no_mutation_is_more_than_one_line(tmp_path, capfd, name):
    """A file with some bytes changed opens or is refused, and nothing is written past us to the screen."""
    rng, data = random.Random(name), saved(name)
    path, opened = tmp_path / name, 0
    for _ in range(60):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 2, 4, 16))):
            changed[rng.randrange(min(len(changed), rng.choice((40, 300, len(changed)))))] = rng.randrange(
                256
            )
        path.write_bytes(changed)
        try:
            open_picture(path)
        except CourseError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            opened += 1
            storage_quirks(path)
    assert opened < 60
    assert capfd.readouterr() == ("", "")


def png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("width", "height", "fault"),
    [
        (13_000, 13_000, "claims 169 million pixels in "),
        (100_000, 100_000, "has more than 179 million pixels; scale it down"),
        (2**31 - 1, 2**31 - 1, "scale it down"),
    ],
)
def test_bombs_are_refused_before_they_take_memory(tmp_path, width, height, fault):
    (tmp_path / "bomb.png").write_bytes(png(width, height, zlib.compress(bytes(100))))
    assert fault in complaint(tmp_path / "bomb.png")


def test_a_large_picture_of_one_colour_is_no_bomb(tmp_path):
    Image.new("L", (5000, 4000)).save(tmp_path / "wall.png")
    assert open_picture(tmp_path / "wall.png").size == (5000, 4000)


@pytest.mark.parametrize("orientation", [0, 1, 9, 99, 65535])
@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif"])
def test_an_orientation_outside_2_to_8_is_nothing_to_turn(tmp_path, orientation, ending):
    path = tmp_path / f"a.{ending}"
    SCENE.save(path, exif=exif_with(orientation))
    assert open_picture(path).size == (32, 24)
    assert storage_quirks(path) == ()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_orientations_that_mean_something_are_told(tmp_path, orientation):
    SCENE.save(tmp_path / "a.png", exif=exif_with(orientation))
    assert open_picture(tmp_path / "a.png").size == ((24, 32) if orientation > 4 else (32, 24))
    assert storage_quirks(tmp_path / "a.png") == ("to be turned (EXIF)",)


def test_damaged_exif_is_nothing_to_turn(tmp_path):
    SCENE.save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    assert open_picture(tmp_path / "a.jpg").size == (32, 24)
    assert "to be turned (EXIF)" not in storage_quirks(tmp_path / "a.jpg")


def test_damaged_pictures_are_left_out_when_mending(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for name in NAMES:
        data = saved(name)
        (folder / name).write_bytes(data[: len(data) // 3])
        (folder / name).with_suffix(".txt").write_text(name)
    SCENE.save(folder / "z.png")
    (folder / "z.txt").write_text("good")
    repair = fix_dataset(folder, tmp_path / "new")
    assert repair.pictures == 1
    assert sum(action.startswith("left out: ") for action in repair.actions) == len(NAMES)
