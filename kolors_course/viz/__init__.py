"""Figures: sheets of labelled pictures, and the picture-book world at a glance."""

from kolors_course.viz.figures import picture_grid, stack
from kolors_course.viz.world import style_figure, styled_scenes, world_figure, world_scenes

__all__ = ["picture_grid", "stack", "style_figure", "styled_scenes", "world_figure", "world_scenes"]
