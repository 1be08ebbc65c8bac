"""Rebuild data/fonts/ from Noto Sans SC: one small font that draws the course's Chinese on any machine.

    npm pack @expo-google-fonts/noto-sans-sc@0.4.3 && tar xzf expo-google-fonts-noto-sans-sc-0.4.3.tgz
    python scripts/build_font.py package/400Regular/NotoSansSC_400Regular.ttf \
        --licence package/LICENSE_FONT                      # needs: pip install fonttools

Keeps Latin-1, the punctuation, letters and symbols of GB 2312, its 3755 most used characters (level 1), and
every character of the --text files. Writes NotoSansSC-subset.ttf and the licence beside it as OFL.txt. The
family is renamed to "Noto Sans SC Subset", so that it never hides a complete Noto Sans SC on the machine, and the
space is made wider. The same input always gives the same bytes.
"""

import argparse
import shutil
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont, TTLibError

from kolors_course.files import atomic_path

DATA = Path(__file__).resolve().parents[1] / "data"
TEXTS = (DATA / "fonts" / "extra_characters.txt", DATA / "art" / "subjects.csv")
FAMILY = "Noto Sans SC Subset"
# GB 2312 lays its characters out in rows of 94 cells: 1-9 symbols and alphabets, 16-55 hanzi of level 1.
GB2312_ROWS = (*range(1, 10), *range(16, 56))
TYPOGRAPHY = (
    "\N{MINUS SIGN}\N{EN DASH}\N{EM DASH}\N{BULLET}\N{EURO SIGN}"  # used by figures, absent from GB 2312
)
# Of the em, as in other fonts for screens. Noto's own 0.224 is two pixels in small type, where letters are set on
# whole pixels and may stand as far from one another: words ran together.
SPACE = 0.32
DROPPED_TABLES = ("BASE", "GDEF", "GPOS", "GSUB", "STAT", "vhea", "vmtx")


def gb2312_characters() -> set[str]:
    """The assigned characters of `GB2312_ROWS`."""
    cells = (bytes([0xA0 + row, 0xA0 + cell]) for row in GB2312_ROWS for cell in range(1, 95))
    return set("".join(cell.decode("gb2312", errors="ignore") for cell in cells))


def wanted_characters(texts: Iterable[Path]) -> set[str]:
    """Everything the small font must draw, the characters of `texts` among it."""
    latin = {chr(code) for code in (*range(0x20, 0x7F), *range(0xA0, 0x100))}
    found = {character for text in texts for character in text.read_text(encoding="utf-8")}
    # Letters, numbers and punctuation only: the subject table also holds emoji, which no text font draws.
    drawn = {character for character in found if unicodedata.category(character)[0] in "LNP"}
    return latin | set(TYPOGRAPHY) | gb2312_characters() | drawn


def open_font(path: Path, options: subset.Options) -> TTFont:
    try:
        return subset.load_font(path, options)
    except (OSError, TTLibError) as error:
        raise SystemExit(f"cannot read {path} as a font: {error}") from error
    except ImportError as error:
        raise SystemExit(f"{path} is compressed as WOFF2: pip install brotli ({error})") from error


def rename(font: TTFont) -> None:
    compact = FAMILY.replace(" ", "")
    for name_id, text in ((1, FAMILY), (3, f"{compact}-Regular"), (4, FAMILY), (6, f"{compact}-Regular")):
        font["name"].setName(text, name_id, 3, 1, 0x409)


def widen_space(font: TTFont) -> None:
    names = font.getBestCmap()
    for character in " \N{NO-BREAK SPACE}":
        font["hmtx"][names[ord(character)]] = (round(SPACE * font["head"].unitsPerEm), 0)


def build(source: Path, characters: set[str], target: Path) -> None:
    options = subset.Options(hinting=False, layout_features=[], name_IDs=[0, 1, 2, 3, 4, 5, 6, 8, 11, 13, 14])
    options.drop_tables = [*options.drop_tables, *DROPPED_TABLES]
    font = open_font(source, options)
    missing = sorted(c for c in characters if ord(c) not in font.getBestCmap())
    if missing:
        raise SystemExit(f"{source} lacks {len(missing)} wanted characters: {''.join(missing)}")
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=[ord(c) for c in characters])
    subsetter.subset(font)
    rename(font)
    widen_space(font)
    with atomic_path(target) as temporary:
        subset.save_font(font, temporary, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, help="the complete font, TTF or WOFF2, weight 400")
    parser.add_argument("--licence", type=Path, required=True, help="the font's OFL-1.1 text")
    parser.add_argument("--text", type=Path, nargs="*", default=TEXTS, help="files whose characters to keep")
    parser.add_argument("--output", type=Path, default=DATA / "fonts")
    arguments = parser.parse_args()
    target = arguments.output / "NotoSansSC-subset.ttf"
    characters = wanted_characters(arguments.text)
    build(arguments.source, characters, target)
    with atomic_path(arguments.output / "OFL.txt") as temporary:
        shutil.copyfile(arguments.licence, temporary)
    print(f"{target}: {len(characters)} characters, {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
