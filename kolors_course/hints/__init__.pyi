from .asked import AskedHint, parse_hint
from .boxes import draw_boxes, read_boxes
from .choices import HINT_KINDS
from .edges import canny, drawing
from .world import HINTS, scene_boxes, scene_depth, scene_hint, scene_lines

__all__ = [
    "HINTS",
    "HINT_KINDS",
    "AskedHint",
    "canny",
    "draw_boxes",
    "drawing",
    "parse_hint",
    "read_boxes",
    "scene_boxes",
    "scene_depth",
    "scene_hint",
    "scene_lines",
]
