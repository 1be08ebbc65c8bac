"""The committed artwork."""

import gzip
import json
from xml.etree import ElementTree

import pytest

from kolors_course.art import subjects
from kolors_course.art.subject import PACKS
from kolors_course.platform.paths import data_dir

MEGABYTE = 1e6
SVG = "{http://www.w3.org/2000/svg}"
SHAPES = {"svg", "g", "defs", "use", "path", "circle", "ellipse", "clipPath", "mask"}
SHAPES |= {"linearGradient", "radialGradient", "stop"}


@pytest.fixture(scope="module")
def drawings() -> dict[str, dict[str, str]]:
    return json.loads(gzip.decompress((data_dir() / "art" / "subjects.svg.json.gz").read_bytes()))


def test_the_table_and_the_drawings_name_the_same_subjects(drawings):
    codes = [subject.hex for subject in subjects()]
    assert len(codes) == len(set(codes))
    assert set(codes) == set(drawings)


def test_each_subject_has_every_pack_as_self_contained_svg(drawings):
    for code, packs in drawings.items():
        assert set(packs) == set(PACKS), code
        for pack, svg in packs.items():
            elements = list(ElementTree.fromstring(svg).iter())
            assert elements[0].tag == f"{SVG}svg"
            assert "viewBox" in elements[0].attrib
            # Shapes and paints only: no text, no scripts, nothing that is fetched from elsewhere.
            assert {element.tag.removeprefix(SVG) for element in elements} <= SHAPES, (code, pack)
            links = [value for e in elements for key, value in e.attrib.items() if key.endswith("href")]
            assert all(link.startswith("#") for link in links), (code, pack)


def test_the_table_is_plain_utf8_with_unix_lines():
    data = (data_dir() / "art" / "subjects.csv").read_bytes()
    assert not data.startswith(b"\xef\xbb\xbf")
    assert b"\r" not in data
    assert data.endswith(b"\n")


def test_the_committed_data_stays_small():
    def size(folder):
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    captioner = size(data_dir() / "captioner")
    assert captioner < 10 * MEGABYTE
    assert size(data_dir()) - captioner < 90 * MEGABYTE
    assert (data_dir() / "art" / "subjects.svg.json.gz").stat().st_size < MEGABYTE
