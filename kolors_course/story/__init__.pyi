from .draw import draw_story, write_story
from .page import lay_out_page, story_page
from .storyboard import MAX_PANELS, Storyboard, StoryPanel, parse_storyboard, read_storyboard

__all__ = [
    "MAX_PANELS",
    "StoryPanel",
    "Storyboard",
    "draw_story",
    "lay_out_page",
    "parse_storyboard",
    "read_storyboard",
    "story_page",
    "write_story",
]
