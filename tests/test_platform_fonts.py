import shutil
from pathlib import Path

import build_font
import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from kolors_course.platform import fonts
from kolors_course.platform.paths import data_dir

BUNDLED = data_dir() / fonts.BUNDLED_FONT
DEJAVU = Path(font_manager.findfont("DejaVu Sans"))


@pytest.fixture
def installed(monkeypatch):
    """Pretend that exactly these font files are installed."""

    def pretend(*files):
        monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(file) for file in files])

    pretend()
    return pretend


@pytest.fixture
def nothing_bundled(monkeypatch, tmp_path):
    monkeypatch.setenv("KOLORS_COURSE_DATA", str(tmp_path))


def copy_of(font, folder, name):
    return Path(shutil.copy(font, folder / name))


def test_bundled_font_covers_the_course():
    texts = [*build_font.TEXTS, *data_dir().rglob("*.yaml"), *data_dir().rglob("*.jsonl")]
    wanted = "".join(sorted(build_font.wanted_characters(texts)))
    assert len(wanted) > 3755 + 94
    advice = "add them to data/fonts/extra_characters.txt and run scripts/build_font.py again"
    assert fonts.missing_characters(BUNDLED, wanted) == "", advice


def test_bundled_font_is_small_and_licensed():
    assert BUNDLED.stat().st_size < 1_500_000
    licence = BUNDLED.with_name("OFL.txt").read_text(encoding="utf-8")
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence
    assert "Adobe" in licence
    assert font_manager.FontProperties(fname=str(BUNDLED)).get_name() == build_font.FAMILY


def test_words_stand_apart_in_small_type():
    """In type of 9 to 12 px the space is wider than the room that letters on whole pixels may get between them."""
    for size in range(9, 13):
        font = ImageFont.truetype(str(BUNDLED), size, layout_engine=ImageFont.Layout.BASIC)
        assert font.getlength(" ") >= 3
    assert ImageFont.truetype(str(BUNDLED), 1000).getlength("\N{NO-BREAK SPACE}") == 1000 * build_font.SPACE


def test_gb2312_level_1_is_complete():
    hanzi = [c for c in build_font.gb2312_characters() if "\u4e00" <= c <= "\u9fff"]
    assert len(hanzi) == 3755


def test_missing_characters_are_told_once_and_in_order():
    assert fonts.missing_characters(DEJAVU, "a兔b子兔\n") == "兔子"


def test_a_broken_font_draws_nothing(tmp_path):
    broken = tmp_path / "NotoSansSC.ttf"
    broken.write_bytes(b"no font")
    assert fonts.missing_characters(broken, "ab") == "ab"


def test_bundled_font_comes_first(installed, tmp_path):
    installed(copy_of(BUNDLED, tmp_path, "NotoSansSC-Regular.ttf"))
    assert fonts.cjk_fonts() == [BUNDLED, tmp_path / "NotoSansSC-Regular.ttf"]
    assert fonts.cjk_font_path() == BUNDLED


def test_a_font_that_draws_more_of_the_text_wins(installed, monkeypatch, tmp_path):
    other = copy_of(BUNDLED, tmp_path, "simhei.ttf")
    installed(other)
    real = fonts.missing_characters
    # The bundled font has no 龘; let the other one have it.
    monkeypatch.setattr(fonts, "missing_characters", lambda f, t: "" if f == other else real(f, t))
    assert fonts.cjk_font_path("龘") == other
    assert fonts.cjk_font_path("兔") == BUNDLED


def test_installed_fonts_in_order_of_preference(installed, nothing_bundled, tmp_path):
    names = ["simhei.ttf", "NotoSansCJK-Bold.ttc", "NotoSansCJK-Regular.ttc", "wqy-microhei.ttc"]
    installed(*(copy_of(BUNDLED, tmp_path, name) for name in names), DEJAVU)
    best = ["NotoSansCJK-Regular.ttc", "NotoSansCJK-Bold.ttc", "wqy-microhei.ttc", "simhei.ttf"]
    assert [font.name for font in fonts.cjk_fonts()] == best


def test_a_font_is_believed_only_if_it_draws_chinese(installed, nothing_bundled, tmp_path):
    installed(copy_of(DEJAVU, tmp_path, "simhei.ttf"))
    assert fonts.cjk_font_path() is None


def test_no_font_is_said_honestly_and_changes_nothing(installed, nothing_bundled):
    with matplotlib.rc_context():
        before = dict(matplotlib.rcParams)
        assert "No font with Chinese characters found" in fonts.use_cjk_font()
        assert dict(matplotlib.rcParams) == before


@pytest.mark.filterwarnings("error:Glyph")
def test_matplotlib_draws_chinese(installed):
    with matplotlib.rc_context():
        assert build_font.FAMILY in fonts.use_cjk_font()
        fonts.use_cjk_font()
        assert matplotlib.rcParams["font.family"] == [build_font.FAMILY, "DejaVu Sans"]
        figure = Figure(figsize=(2, 1), dpi=50)
        figure.text(0.1, 0.5, "夜晚的兔子 −1 α ḁ")  # the last only in DejaVu Sans
        figure.canvas.draw()


def test_pillow_draws_different_characters():
    font = ImageFont.truetype(str(fonts.cjk_font_path()), 24)
    pictures = []
    for character in "兔狐":
        picture = Image.new("L", (32, 40))
        ImageDraw.Draw(picture).text((2, 2), character, font=font, fill=255)
        pictures.append(np.asarray(picture, dtype=float))
    # Boxes for missing glyphs would be equal.
    assert np.abs(pictures[0] - pictures[1]).mean() > 5
