"""A comic page: panels of uneven width in rows, captions below them, and speech in bubbles that keep off the subject.

All panels of a row are equally high. A tall panel beside a stack of two is read in the wrong order by many
(Neil Cohn, "Navigating comics", 2013), so there is none: rows are read one after the other, each from left to right.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image, ImageDraw

from kolors_course.art import Scene, lay_out
from kolors_course.story.paint import CARD, INK, PAPER, SOFT_INK, Box, fill_box
from kolors_course.story.storyboard import Storyboard, StoryPanel
from kolors_course.story.typeset import TextBox, load_font, wrap

WIDTH, MARGIN, GUTTER, ROW_GUTTER = 1400, 50, 20, 28  # px, as all lengths here
CONTENT = WIDTH - 2 * MARGIN
# Widths of the panels of a row of so many, by turns.
SHARES = {1: ((1,),), 2: ((5, 4), (4, 5)), 3: ((4, 5, 4), (5, 4, 4))}
ASPECT = 0.95  # height of a row by the mean width of its panels
BUBBLE, PAD, OFF_EDGE = 0.46, 12, 14  # a bubble's width in parts of its panel
AIR = 0.08  # kept free around a subject, in parts of the picture's side

Window = tuple[float, float, float, float]  # left, top, right, bottom in parts of the picture


@dataclass(frozen=True)
class Bubble:
    """What somebody says: the balloon, its text, and the point on the page that its tail points to."""

    box: Box
    texts: tuple[TextBox, ...]
    points_to: tuple[int, int]


@dataclass(frozen=True)
class ComicPanel:
    """A panel: its frame, the part of the picture that it shows (in parts of the picture), caption and bubble."""

    frame: Box
    shows: Window
    texts: tuple[TextBox, ...]
    bubble: Bubble | None = None


@dataclass
class ComicPage:
    """A page from top to bottom; `bottom` is how far it reaches."""

    titles: tuple[TextBox, ...] = ()
    panels: list[ComicPanel] = field(default_factory=list)
    bottom: int = MARGIN


def rows_of(count: int) -> list[int]:
    """How many panels stand in each row: threes, and as many twos as it takes, the page's middle being wide."""
    if count == 1:
        return [1]
    rows = -(-count // 3)
    twos = 3 * rows - count
    order = sorted(range(rows), key=lambda row: abs(row - (rows - 1) / 2))
    return [2 if row in order[:twos] else 3 for row in range(rows)]


def subject_region(scene: Scene | None) -> Window:
    """Where the subjects of a scene stand, with some air; the middle where nothing is known."""
    if scene is None:
        return (0.2, 0.25, 0.8, 0.95)
    places = lay_out(scene).placements
    left = min(place.x - place.side / 2 for place in places) - AIR
    right = max(place.x + place.side / 2 for place in places) + AIR
    top = min(place.bottom - place.side for place in places) - AIR
    bottom = max(place.bottom for place in places) + AIR
    return max(left, 0), max(top, 0), min(right, 1), min(bottom, 1)


def lay_out_comic(storyboard: Storyboard, font: Path, aspect: float = 1.0, footer: str = "") -> ComicPage:
    """Give every panel, text and bubble its place. `aspect` is height by width of the pictures."""
    page = ComicPage()
    titles = ((storyboard.title_zh, 60, INK), (storyboard.title_en, 28, SOFT_INK))
    page.titles = _column(titles, font, MARGIN, page.bottom - 10, CONTENT)
    page.bottom = page.titles[-1].bottom + 24
    start = 0
    for row, count in enumerate(rows_of(len(storyboard.panels))):
        _lay_out_row(page, storyboard.panels[start : start + count], row, font, aspect)
        start += count
    if footer:
        page.titles += _column(((footer, 18, SOFT_INK),), font, MARGIN, page.bottom, CONTENT)
        page.bottom = page.titles[-1].bottom
    page.bottom += MARGIN - ROW_GUTTER
    return page


def _lay_out_row(page: ComicPage, panels: Sequence[StoryPanel], row: int, font: Path, aspect: float) -> None:
    kinds = SHARES[len(panels)]
    shares = kinds[row % len(kinds)]
    room = CONTENT - GUTTER * (len(panels) - 1)
    height = round(ASPECT * aspect * room / len(panels))
    left, made = MARGIN, []
    for i, panel in enumerate(panels):
        last = i == len(panels) - 1
        width = WIDTH - MARGIN - left if last else round(room * shares[i] / sum(shares))
        made.append(_lay_out_panel(panel, Box(left, page.bottom, width, height), font, aspect))
        left += width + GUTTER
    page.panels += made
    page.bottom = max(text.bottom for panel in made for text in panel.texts) + ROW_GUTTER


def _lay_out_panel(panel: StoryPanel, frame: Box, font: Path, aspect: float) -> ComicPanel:
    subject = subject_region(panel.scene)
    shows = _window(subject, frame.height / frame.width / aspect)
    lines = [(panel.caption_zh, 26, INK), (panel.caption_en, 19, SOFT_INK)]
    said = [text for text in (panel.say_zh, panel.say_en) if text]
    bubble = _bubble(said, frame, shows, subject, font) if said else None
    if said and not bubble:  # no corner is free: then it is told below
        lines += [(f"“{text}”", 19, INK) for text in said]
    texts = _column(lines, font, frame.left, frame.bottom + 8, frame.width)
    return ComicPanel(frame, shows, texts, bubble)


def _window(subject: Window, aspect: float) -> Window:
    """The largest part of a picture with this aspect that has the subject as near to its middle as it can."""
    width, height = min(1.0, 1 / aspect), min(1.0, aspect)
    left = min(max((subject[0] + subject[2] - width) / 2, 0), 1 - width)
    top = min(max((subject[1] + subject[3] - height) / 2, 0), 1 - height)
    return left, top, left + width, top + height


def _bubble(said: Sequence[str], frame: Box, shows: Window, subject: Window, font: Path) -> Bubble | None:
    """A bubble in a corner where it covers nothing of the subject, above before below, left before right."""
    body = _on_page(subject, frame, shows)
    middle = (body.left + body.width // 2, body.top + body.height // 4)
    widest = round(BUBBLE * frame.width)
    sizes = [(24, INK), (18, SOFT_INK)]
    lines = [(text, *size) for text, size in zip(said, sizes[: len(said)], strict=True)]
    texts = _column(lines, font, 0, 0, widest - 2 * PAD)
    width = 2 * PAD + 2 + round(max(text.font.getlength(line) for text in texts for line in text.lines))
    height = texts[-1].bottom + 2 * PAD
    for top in (frame.top + OFF_EDGE, frame.bottom - OFF_EDGE - height):
        for left in (frame.left + OFF_EDGE, frame.right - OFF_EDGE - width):
            box = Box(left, top, width, height)
            if top >= frame.top and box.bottom <= frame.bottom and not _overlap(box, body):
                inside = tuple(
                    replace(text, left=left + PAD, top=top + PAD + text.top, width=width - 2 * PAD)
                    for text in texts
                )
                return Bubble(box, inside, middle)
    return None


def _on_page(region: Window, frame: Box, shows: Window) -> Box:
    """The part of the page where a region of the picture is seen."""
    across, down = frame.width / (shows[2] - shows[0]), frame.height / (shows[3] - shows[1])
    left, right = (frame.left + round((x - shows[0]) * across) for x in (region[0], region[2]))
    top, bottom = (frame.top + round((y - shows[1]) * down) for y in (region[1], region[3]))
    return Box(left, top, right - left, bottom - top)


def _overlap(a: Box, b: Box) -> bool:
    return a.left < b.right and b.left < a.right and a.top < b.bottom and b.top < a.bottom


def _column(
    lines: Sequence[tuple[str, int, str]], font: Path, left: int, top: int, width: int
) -> tuple[TextBox, ...]:
    texts = []
    for text, size, colour in lines:
        face = load_font(font, size)
        texts.append(TextBox(wrap(text, face, width), face, colour, left, top, width))
        top = texts[-1].bottom
    return tuple(texts)


def paint_comic(page: ComicPage, pictures: Sequence[Image.Image]) -> Image.Image:
    """The page as one RGB picture."""
    sheet = Image.new("RGB", (WIDTH, page.bottom), PAPER)
    draw = ImageDraw.Draw(sheet)
    for panel, picture in zip(page.panels, pictures, strict=True):
        frame = panel.frame
        left, top, right, bottom = (x * side for x, side in zip(panel.shows, picture.size * 2, strict=True))
        shown = picture.convert("RGB").resize(
            (frame.width, frame.height), Image.Resampling.LANCZOS, (left, top, right, bottom)
        )
        draw.rectangle((frame.left - 3, frame.top - 3, frame.right + 2, frame.bottom + 2), fill=INK)
        sheet.paste(shown, (frame.left, frame.top))
        if panel.bubble:
            _paint_bubble(sheet, panel.bubble)
        for text in (*panel.texts, *(panel.bubble.texts if panel.bubble else ())):
            text.draw(draw)
    for text in page.titles:
        text.draw(draw)
    return sheet


def _paint_bubble(sheet: Image.Image, bubble: Bubble) -> None:
    """A rounded balloon with a rim and a short tail towards the speaker."""
    box, (x, y) = bubble.box, bubble.points_to
    middle = (box.left + box.width / 2, box.top + box.height / 2)
    foot = (middle[0], box.bottom - 4 if y > middle[1] else box.top + 4)
    reach = 22 / max(1.0, ((x - foot[0]) ** 2 + (y - foot[1]) ** 2) ** 0.5)
    tip = (foot[0] + (x - foot[0]) * reach, foot[1] + (y - foot[1]) * reach)
    draw = ImageDraw.Draw(sheet)
    radius = min(box.height // 2, 26)
    for grow, colour in ((2, INK), (0, CARD)):
        draw.polygon([(foot[0] - 9 - grow, foot[1]), (foot[0] + 9 + grow, foot[1]), tip], fill=colour)
        fill_box(
            sheet,
            Box(box.left - grow, box.top - grow, box.width + 2 * grow, box.height + 2 * grow),
            colour,
            radius,
        )
