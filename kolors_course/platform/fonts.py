"""Fonts that can draw Chinese, for figures and story pages.

matplotlib's own font, DejaVu Sans, shows Chinese as boxes. The course ships a small subset of Noto Sans SC;
a complete font installed on the machine serves characters that the subset lacks.
"""

import re
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from kolors_course.errors import CourseError
from kolors_course.platform.paths import data_dir

BUNDLED_FONT = "fonts/NotoSansSC-subset.ttf"
# Beginnings of font file names, letters and digits only; sans-serif and simplified Chinese first.
INSTALLED_FONTS = (
    "notosanssc",
    "notosanscjk",
    "sourcehansans",
    "wqymicrohei",
    "wqyzenhei",
    "pingfang",
    "hiraginosansgb",
    "stheiti",
    "msyh",
    "microsoftyahei",
    "simhei",
    "deng",
    "lxgwwenkai",
    "droidsansfallback",
    "notoserifsc",
    "notoserifcjk",
    "simsun",
    "uming",
    "ukai",
    "arialunicode",
)
SAMPLE = "中文"


def cjk_fonts() -> list[Path]:
    """Font files that draw Chinese: the course's own first, then the machine's, best first."""
    bundled = _bundled_font()
    found = [Path(file) for file in font_manager.findSystemFonts()]
    installed = sorted((file for file in found if _rank(file) < len(INSTALLED_FONTS)), key=_preference)
    fonts = [bundled, *installed] if bundled else installed
    return [file for file in fonts if not missing_characters(file, SAMPLE)]


def cjk_font_path(text: str = SAMPLE) -> Path | None:
    """The font that can draw most of `text`, the course's own on a tie; None where no font draws Chinese."""
    return min(cjk_fonts(), key=lambda file: len(missing_characters(file, text)), default=None)


def missing_characters(font: str | Path, text: str) -> str:
    """The characters of `text`, each once, that `font` cannot draw: all of them if it is no readable font."""
    wanted = dict.fromkeys(character for character in text if character.isprintable())
    try:
        drawn = FT2Font(str(font)).get_charmap()
    except (OSError, RuntimeError):
        drawn = {}
    return "".join(character for character in wanted if ord(character) not in drawn)


def use_cjk_font() -> str:
    """Make matplotlib draw Chinese, and return one sentence about it for the reader.

    The first font found comes first; the second and matplotlib's own stand in, glyph by glyph, for
    characters that it lacks. Where no font draws Chinese nothing is changed, and the sentence says so.
    """
    families = [_register(file) for file in cjk_fonts()[:2]]
    if not families:
        return (
            "No font with Chinese characters found: figures show them as boxes. Restore the course's "
            "data/fonts folder, or install a font (Debian, Ubuntu: apt install fonts-noto-cjk)."
        )
    # Not as font.sans-serif: of the fonts that a generic family stands for, only the first is taken.
    matplotlib.rcParams["font.family"] = list(dict.fromkeys([*families, "DejaVu Sans"]))
    return f"Figures draw Chinese with {families[0]}."


def _bundled_font() -> Path | None:
    try:
        return data_dir() / BUNDLED_FONT
    except CourseError:  # no data folder: the doctor reports that; an installed font may still do
        return None


def _rank(file: Path) -> int:
    """Place of `file` in `INSTALLED_FONTS`; beyond the end if it is none of them."""
    name = re.sub("[^a-z0-9]", "", file.stem.lower())
    matches = (place for place, start in enumerate(INSTALLED_FONTS) if name.startswith(start))
    return next(matches, len(INSTALLED_FONTS))


def _preference(file: Path) -> tuple[int, bool, str]:
    """Sorts by `INSTALLED_FONTS`, the regular weight first, then by name: the order is always the same."""
    other_weight = re.search("bold|black|thin|light|medium|heavy|bd$", file.stem.lower()) is not None
    return _rank(file), other_weight, str(file)


def _register(file: Path) -> str:
    """Make `file` known to matplotlib and return its family name."""
    family = font_manager.FontProperties(fname=str(file)).get_name()
    if family not in font_manager.fontManager.get_font_names():
        font_manager.fontManager.addfont(str(file))
    return family
