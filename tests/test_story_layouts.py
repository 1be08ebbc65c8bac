"""Comic pages, scrolls, films and books: in reading order, nothing cut, no bubble upon its speaker."""

from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from PIL import Image, ImageDraw

from kolors_course.art import Scene, find_subject, render
from kolors_course.errors import CourseError
from kolors_course.platform.paths import data_dir
from kolors_course.story import LAYOUTS, MAX_PANELS, read_storyboard, save_sheets, story_sheets
from kolors_course.story.comic import WIDTH, lay_out_comic, rows_of, subject_region
from kolors_course.story.layouts import story_font
from kolors_course.story.leaves import lay_out_leaves

LONG_ZH = "很久很久以前，（在遥远的森林深处）住着一只“非常非常”喜欢看月亮的小兔子，她每天晚上都不睡觉！"
LONG_EN = "Once, deep in the forest, lived Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch."


@pytest.fixture(scope="module")
def ghost():
    return read_storyboard(data_dir() / "stories" / "little_ghost.yaml")


def wordy(storyboard):
    said = {"caption_zh": LONG_ZH, "caption_en": LONG_EN, "say_zh": LONG_ZH, "say_en": LONG_EN}
    return replace(storyboard, panels=tuple(replace(panel, **said) for panel in storyboard.panels))


def ink_inside(text, width, bottom) -> bool:
    canvas = Image.new("L", (width, bottom + 50))
    replace(text, colour="#ffffff").draw(ImageDraw.Draw(canvas))
    left, top, right, low = canvas.getbbox()
    return text.left <= left and right <= text.left + text.width and text.top <= top and low <= text.bottom


def apart(a, b) -> bool:
    across = a.left + a.width <= b.left or b.left + b.width <= a.left
    return across or a.bottom <= b.top or b.bottom <= a.top


def test_rows_of_two_and_three():
    assert rows_of(8) == [3, 2, 3]
    for count in range(1, MAX_PANELS + 1):
        assert sum(rows_of(count)) == count
        assert set(rows_of(count)) <= {1, 2, 3}


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 16])
@pytest.mark.parametrize("aspect", [0.6, 1.0, 1.6])
@pytest.mark.parametrize("change", [lambda story: story, wordy], ids=["short", "long"])
def test_a_comic_page(ghost, count, aspect, change):
    story = change(replace(ghost, panels=(ghost.panels * 2)[:count]))
    page = lay_out_comic(story, story_font(story, "好"), aspect, "好")
    texts = [text for panel in page.panels for text in panel.texts if text.lines]
    boxes = [*(panel.frame for panel in page.panels), *texts, *(text for text in page.titles if text.lines)]
    assert all(apart(a, b) for a, b in combinations(boxes, 2))
    assert all(box.left >= 0 and box.left + box.width <= WIDTH and box.bottom <= page.bottom for box in boxes)
    assert all(ink_inside(text, WIDTH, page.bottom) for text in texts)
    for before, after in pairwise(page.panels):  # read from left to right, then down
        same_row = before.frame.top == after.frame.top
        assert before.frame.right < after.frame.left if same_row else before.frame.bottom < after.frame.top
        assert not same_row or before.frame.height == after.frame.height
    for panel in page.panels:
        left, top, right, bottom = panel.shows
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
        shown = aspect * (bottom - top) / (right - left)
        assert panel.frame.height / panel.frame.width == pytest.approx(shown, rel=0.01)


def test_bubbles_keep_inside_their_panel_and_off_the_subject(ghost):
    page = lay_out_comic(ghost, story_font(ghost))
    found = 0
    for panel, told in zip(page.panels, ghost.panels, strict=True):
        if not panel.bubble:
            spoken = "".join(line for text in panel.texts for line in text.lines)
            assert told.say_zh in spoken  # it is told below where no corner is free
            continue
        found += 1
        box, frame = panel.bubble.box, panel.frame
        assert frame.left <= box.left
        assert box.right <= frame.right
        assert frame.top <= box.top
        assert box.bottom <= frame.bottom
        left, top, right, bottom = subject_region(told.scene)
        x, y = (box.left + box.width / 2, box.top + box.height / 2)
        across = panel.shows[0] + (x - frame.left) / frame.width * (panel.shows[2] - panel.shows[0])
        down = panel.shows[1] + (y - frame.top) / frame.height * (panel.shows[3] - panel.shows[1])
        assert not (left < across < right and top < down < bottom)
        assert all(ink_inside(text, WIDTH, page.bottom) for text in panel.bubble.texts)
    assert found >= 2


def test_the_subjects_region_holds_the_subject():
    for name in ("rabbit", "castle"):
        scene = Scene((find_subject(name),), "meadow", "day", size="small", position="left", seed=3)
        left, top, right, bottom = subject_region(scene)
        assert left < 0.25 < right < 0.6
        assert 0 < top < bottom <= 1


@pytest.mark.parametrize("change", [lambda story: story, wordy], ids=["short", "long"])
def test_leaves_hold_all_their_text(ghost, change):
    story = change(ghost)
    leaves = lay_out_leaves(story, story_font(story), 1.0, "好")
    assert len(leaves) == len(story.panels) + 1
    for leaf, panel in zip(leaves[1:], story.panels, strict=True):
        texts = [text for text in leaf.texts if text.lines]
        assert all(text.top >= leaf.picture.bottom and text.bottom <= leaf.bottom for text in texts)
        assert all(ink_inside(text, 1000, leaf.bottom) for text in texts)
        written = "".join("".join(text.lines) for text in texts).replace(" ", "")
        assert panel.caption_zh.replace(" ", "") in written
        assert panel.caption_en.replace(" ", "") in written


def test_every_layout_is_written(ghost, tmp_path):
    pictures = [render(panel.scene, 64, "pixel") for panel in ghost.panels]
    for layout, suffix in LAYOUTS.items():
        path = tmp_path / f"{layout}{suffix}"
        sheets = story_sheets(layout, ghost, pictures)
        save_sheets(sheets, path)
        first = path.read_bytes()
        save_sheets(sheets, path)
        assert path.read_bytes() == first or suffix == ".pdf"  # which has a random id
    assert (tmp_path / "book.pdf").read_bytes().count(b"/Type /Page\n") == 9
    with Image.open(tmp_path / "film.webp") as film:
        assert film.n_frames == 9
    with pytest.raises(CourseError, match="unknown layout 'poster'; the layouts are grid, comic"):
        story_sheets("poster", ghost, pictures)
    with pytest.raises(CourseError, match="has 8 panels, but there are 7 panels"):
        story_sheets("comic", ghost, pictures[1:])


def test_one_language_is_enough(ghost):
    english = replace(
        ghost,
        title_zh="",
        panels=tuple(replace(panel, caption_zh="", say_zh="") for panel in ghost.panels),
    )
    pictures = [Image.new("RGB", (32, 32))] * 8
    for layout in ("grid", "comic", "scroll"):
        (page,) = story_sheets(layout, english, pictures)
        assert page.height < story_sheets(layout, ghost, pictures)[0].height
