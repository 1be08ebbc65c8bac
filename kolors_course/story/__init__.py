"""Stories in eight pictures: a storyboard is read, its panels drawn, and everything set on one page.

`read_storyboard` is strict and stops with one clear line; `draw_story` asks the model for the panels;
`story_page` sets them with captions in two languages; `write_story` keeps the result.
"""

from kolors_course.story.draw import draw_story, write_story
from kolors_course.story.page import lay_out_page, story_page
from kolors_course.story.storyboard import MAX_PANELS, Panel, Storyboard, parse_storyboard, read_storyboard

__all__ = [
    "MAX_PANELS",
    "Panel",
    "Storyboard",
    "draw_story",
    "lay_out_page",
    "parse_storyboard",
    "read_storyboard",
    "story_page",
    "write_story",
]
