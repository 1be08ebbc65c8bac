from .edges import canny
from .world import HINTS, scene_boxes, scene_depth, scene_hint, scene_lines

__all__ = ["HINTS", "canny", "scene_boxes", "scene_depth", "scene_hint", "scene_lines"]
