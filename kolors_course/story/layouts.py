"""The ways in which a story is set, by name; see `LAYOUTS`."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from kolors_course.errors import CourseError
from kolors_course.files import atomic_path
from kolors_course.story.choices import LAYOUTS
from kolors_course.story.comic import lay_out_comic, paint_comic
from kolors_course.story.leaves import lay_out_leaves, paint_leaves, stacked
from kolors_course.story.page import check_pictures, story_page
from kolors_course.story.storyboard import Storyboard
from kolors_course.story.typeset import font_file

MILLISECONDS = 3000  # of a picture in a film
PRINT_DPI = 150


def story_font(storyboard: Storyboard, *more: str) -> Path:
    """A font that draws every text of a story, and `more`.

    Raises:
        CourseError: there is none.
    """
    texts = [storyboard.title_zh, storyboard.title_en, *(each.name for each in storyboard.characters), *more]
    for panel in storyboard.panels:
        texts += [panel.caption_zh, panel.caption_en, panel.say_zh, panel.say_en]
    return font_file("".join(texts) + "“”0123456789·")


def story_sheets(
    layout: str,
    storyboard: Storyboard,
    panels: Sequence[Image.Image],
    base_panels: Sequence[Image.Image] | None = None,
    footer: str = "",
) -> list[Image.Image]:
    """The story in one of `LAYOUTS`: one page; in a film and a book, cover and a leaf for each panel.

    Args:
        base_panels: see `story_page`; only a grid shows them.

    Raises:
        CourseError: an unknown layout, pictures that do not fit the storyboard, or a character that no font draws.
    """
    if layout not in LAYOUTS:
        raise CourseError(f"unknown layout '{layout}'; the layouts are {', '.join(LAYOUTS)}")
    if layout == "grid":
        return [story_page(storyboard, panels, base_panels, footer=footer)]
    check_pictures(storyboard, panels)
    font = story_font(storyboard, footer)
    aspect = panels[0].height / panels[0].width
    if layout == "comic":
        return [paint_comic(lay_out_comic(storyboard, font, aspect, footer), panels)]
    leaves = paint_leaves(lay_out_leaves(storyboard, font, aspect, footer), [panels[0], *panels])
    return [stacked(leaves)] if layout == "scroll" else leaves


def save_sheets(sheets: Sequence[Image.Image], path: str | Path) -> None:
    """Write a page (.png, .webp), a film (.webp of several sheets) or a book (.pdf); the same bytes each time, but
    for a PDF's random id.

    Raises:
        CourseError: it cannot be written.
    """
    path, rest = Path(path), list(sheets[1:])
    with atomic_path(path) as temporary:
        if path.suffix == ".pdf":
            sheets[0].save(
                temporary,
                save_all=True,
                append_images=rest,
                resolution=PRINT_DPI,
                creationDate=None,
                modDate=None,
            )
        elif rest:
            sheets[0].save(
                temporary, save_all=True, append_images=rest, duration=MILLISECONDS, loop=0, quality=80
            )
        else:
            sheets[0].save(temporary)
