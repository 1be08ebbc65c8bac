"""Rebuild data/art/ from three openly licensed npm packages.

    npm pack @iconify-json/noto@1.2.9 @iconify-json/fluent-emoji-high-contrast@1.2.6 \
             @expo-google-fonts/noto-emoji@0.4.7
    for f in *.tgz; do mkdir -p "${f%.tgz}" && tar xzf "$f" -C "${f%.tgz}" --strip-components=1; done
    python scripts/build_art.py --packages .     # needs: pip install fonttools

Reads data/art/subjects.csv and writes data/art/subjects.svg.json.gz: for each subject the SVG text of four
packs. `colour` is Noto Emoji, `line300` and `line400` are the monochrome Noto Emoji font in two weights,
`bold` is Fluent Emoji High Contrast. The same input always gives the same bytes.
"""

import argparse
import csv
import gzip
import json
from pathlib import Path

from fontTools.pens.boundsPen import BoundsPen
from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.ttLib import TTFont

ART = Path(__file__).resolve().parents[1] / "data" / "art"
FONT_FILES = {"line300": "300Light/NotoEmoji_300Light.ttf", "line400": "400Regular/NotoEmoji_400Regular.ttf"}
FONT_MARGIN = 0.04


def package_folder(packages: Path, part: str) -> Path:
    found = sorted(p for p in packages.iterdir() if p.is_dir() and part in p.name)
    if len(found) != 1:
        raise SystemExit(
            f"expected one unpacked folder with '{part}' in its name in {packages}, found {found}"
        )
    return found[0]


class IconifyPack:
    """One iconify JSON pack, addressed by Unicode code point."""

    def __init__(self, folder: Path):
        self.data = json.loads((folder / "icons.json").read_text(encoding="utf-8"))
        self.names = json.loads((folder / "chars.json").read_text(encoding="utf-8"))

    def svg(self, code: str) -> str:
        name, flip = self.names[code.lower()], False
        while name not in self.data["icons"]:
            alias = self.data["aliases"][name]
            name, flip = alias["parent"], flip ^ bool(alias.get("hFlip"))
        icon = self.data["icons"][name]
        width = icon.get("width", self.data.get("width", 16))
        height = icon.get("height", self.data.get("height", 16))
        left, top = icon.get("left", 0), icon.get("top", 0)
        body = icon["body"]
        if flip:
            body = f'<g transform="translate({width} 0) scale(-1 1)">{body}</g>'
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{left} {top} {width} {height}">{body}</svg>'
        )


def glyph_svg(font: TTFont, code: str) -> str:
    """One glyph of the monochrome font, centred in a square with a small margin, y axis turned down."""
    glyphs = font.getGlyphSet()
    name = font.getBestCmap()[int(code, 16)]
    path, bounds = SVGPathPen(glyphs, ntos=lambda v: f"{v:g}"), BoundsPen(glyphs)
    glyphs[name].draw(path)
    glyphs[name].draw(bounds)
    x0, y0, x1, y1 = bounds.bounds
    side = max(x1 - x0, y1 - y0) * (1 + 2 * FONT_MARGIN)
    dx, dy = side / 2 - (x0 + x1) / 2, side / 2 + (y0 + y1) / 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side:g} {side:g}">'
        f'<path transform="translate({dx:g} {dy:g}) scale(1 -1)" d="{path.getCommands()}"/></svg>'
    )


def build(packages: Path) -> None:
    noto = IconifyPack(package_folder(packages, "iconify-json-noto"))
    bold = IconifyPack(package_folder(packages, "fluent-emoji-high-contrast"))
    font_folder = package_folder(packages, "google-fonts-noto-emoji")
    fonts = {pack: TTFont(font_folder / file) for pack, file in FONT_FILES.items()}
    with (ART / "subjects.csv").open(encoding="utf-8", newline="") as file:
        codes = [row["hex"] for row in csv.DictReader(file)]
    art = {
        code: {
            "colour": noto.svg(code),
            **{pack: glyph_svg(font, code) for pack, font in fonts.items()},
            "bold": bold.svg(code),
        }
        for code in codes
    }
    text = json.dumps(art, indent=0, sort_keys=True)
    target = ART / "subjects.svg.json.gz"
    target.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
    print(f"{target.name}: {len(art)} subjects x 4 packs, {target.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--packages", type=Path, required=True, help="folder with the three unpacked packages"
    )
    build(parser.parse_args().packages)
