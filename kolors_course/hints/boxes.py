"""Boxes as a hint: where subjects are to stand. Red on black; which subject is which, the prompt says."""

from PIL import Image, ImageDraw

from kolors_course.errors import CourseError, brief

RED = (255, 0, 0)
SIDE = 1024  # pixels, to be scaled down

Corners = tuple[float, float, float, float]


def draw_boxes(boxes: list[Corners], px: int = SIDE) -> Image.Image:
    """Boxes (left, top, right, bottom) in parts of the side, from its upper left corner, px x px."""
    picture = Image.new("RGB", (px, px))
    draw = ImageDraw.Draw(picture)
    for left, top, right, bottom in boxes:
        draw.rectangle(
            (round(left * px), round(top * px), round(right * px) - 1, round(bottom * px) - 1), RED
        )
    return picture


def read_boxes(text: str) -> Image.Image:
    """Boxes as they are written: `0.1,0.4,0.5,0.9` is left, top, right and bottom; `;` stands between boxes.

    Raises:
        CourseError: they are written in another way, or a box is empty or outside.
    """
    boxes = []
    for part in text.split(";"):
        try:
            left, top, right, bottom = (float(number) for number in part.split(","))
        except ValueError:
            raise CourseError(
                f"box {brief(part)}: write left,top,right,bottom in parts of the side, as in 0.1,0.4,0.5,0.9"
            ) from None
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise CourseError(f"box {brief(part)}: its sides must rise, and lie between 0 and 1")
        boxes.append((left, top, right, bottom))
    return draw_boxes(boxes)
