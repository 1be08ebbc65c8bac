"""Workflows inside pictures, written as ComfyUI's nodes and those of other packs write them."""

import json
import struct
import zlib

import pytest
from pages import good_api, good_page
from PIL import ExifTags, Image, features
from PIL.PngImagePlugin import PngInfo

from kolors_course.comfyui.graph import read_workflow
from kolors_course.errors import CourseError

SMALL = Image.new("RGB", (2, 2), (200, 30, 30))
OTHER = Image.new("RGB", (2, 2))
UI, API = json.dumps(good_page()), json.dumps(good_api())


def exif(**texts):
    """As Save Animated WEBP does: texts with their names, in tags that mean something else."""
    data = Image.Exif()
    for tag, (name, text) in zip((0x0110, 0x010F, 0x010E)[: len(texts)], texts.items(), strict=True):
        data[tag] = f"{name}:{text}"
    return data


def comment(data, mark=b"ASCII\0\0\0"):
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = mark + data
    return exif


def animated_png(path):
    info = PngInfo()
    for name, text in (("prompt", API), ("workflow", UI)):
        info.add(b"comf", name.encode() + b"\0" + text.encode(), after_idat=True)
    SMALL.save(path, pnginfo=info, save_all=True, append_images=[OTHER], duration=100)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*chunks, size=(1, 1)):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def text_chunk(text, packed=False):
    content = zlib.compress(text) if packed else text
    return chunk(b"iTXt", b"workflow\0" + (b"\1\0" if packed else b"\0\0") + b"zh\0\0" + content)


def save(name, **options):
    return lambda folder: SMALL.save(folder / name, **options)


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


CARRIERS = {
    "animated.webp": save(
        "a.webp", exif=exif(prompt=API, workflow=UI), save_all=True, append_images=[OTHER], duration=100
    ),
    "still.webp": save("a.webp", exif=exif(Prompt=API, Workflow=UI)),
    "animated.png": lambda folder: animated_png(folder / "a.png"),
    "exif.png": save("a.png", exif=exif(workflow=UI)),
    "packed.png": write("a.png", png(chunk(b"zTXt", b"workflow\0\0" + zlib.compress(UI.encode())))),
    "utf-8.png": write("a.png", png(text_chunk(json.dumps(good_page(), ensure_ascii=False).encode()))),
    "packed-utf-8.png": write("a.png", png(text_chunk(UI.encode(), packed=True))),
    "cut-off.png": write("a.png", png(text_chunk(UI.encode()), chunk(b"IDAT", b"damage"))[:-14]),
    "named.jpg": save("a.jpg", exif=exif(workflow=UI)),
    "comment.jpg": save("a.jpg", exif=comment(f'{{"workflow": {UI}, "prompt": {API}}}'.encode())),
    "utf-16.jpg": save(
        "a.jpg", exif=comment(json.dumps({"workflow": UI}).encode("utf-16-be"), mark=b"UNICODE\0")
    ),
    "drawing.svg": write(
        "a.svg",
        f'<svg xmlns="x">\n  <metadata>\n <![CDATA[\n {{"prompt": {API}, "workflow": {UI}}}\n ]]>\n</metadata>'
        "<path/></svg>".encode(),
    ),
    "renamed.json": save("a.json", format="PNG", pnginfo=None, exif=exif(workflow=UI)),
    "renamed.png": write("a.png", b" " + UI.encode()),
}


@pytest.mark.parametrize("name", CARRIERS)
def test_the_page_of_a_picture_is_read(tmp_path, name):
    CARRIERS[name](tmp_path)
    (path,) = tmp_path.iterdir()
    assert read_workflow(path) == good_page()


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow cannot write AVIF")
def test_avif_is_read_too(tmp_path):
    SMALL.save(tmp_path / "a.avif", exif=exif(workflow=UI))
    assert read_workflow(tmp_path / "a.avif") == good_page()


def test_without_a_page_the_prompt_is_read(tmp_path):
    SMALL.save(tmp_path / "a.webp", exif=exif(prompt=API))
    assert read_workflow(tmp_path / "a.webp") == good_api()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", png(size=(100_000, 100_000)), "100000 x 100000 pixels"),
        ("a.png", png(text_chunk(b"[" * 100_000)), "nested"),
        ("a.png", png(text_chunk(b" " * 20_000_000, packed=True)), "longer than 16 MiB"),
        ("a.png", png(chunk(b"zTXt", b"workflow\0\0damage")), "is damaged"),
        ("a.png", png(text_chunk(b"5")), "no ComfyUI workflow"),
        ("a.png", png(), "carries no workflow"),
        ("a.png", png()[:12], "carries no workflow"),
        ("a.webp", b"RIFF\x00\x00\x00\x00WEBPdamage", "is not a picture"),
        ("a.jpg", b"\xff\xd8\xff\xe1damage", "is not a picture|carries no workflow"),
        ("a.svg", b"<svg></svg>", "carries no workflow"),
        ("a.svg", b"<svg><metadata><![CDATA[{]]></metadata></svg>", "not JSON"),
        ("a.avif", b"\0\0\0\x1cftypavif", "is not a picture"),
    ],
)
def test_other_pictures_are_refused_in_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CourseError, match=message) as caught:
        read_workflow(tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1


def test_pictures_are_read_where_pillow_has_no_limit(tmp_path, monkeypatch):
    info = PngInfo()
    info.add_text("workflow", UI)
    SMALL.save(tmp_path / "a.png", pnginfo=info)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    read_workflow(tmp_path / "a.png")
