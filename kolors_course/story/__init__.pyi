from .answers import StoryAnswer, check_answer, read_answer, story_request
from .choices import LAYOUTS
from .draw import draw_story, write_story
from .layouts import save_sheets, story_sheets
from .page import lay_out_page, story_page
from .storyboard import MAX_PANELS, Character, Storyboard, StoryPanel, parse_storyboard, read_storyboard

__all__ = [
    "LAYOUTS",
    "MAX_PANELS",
    "Character",
    "StoryAnswer",
    "StoryPanel",
    "Storyboard",
    "check_answer",
    "draw_story",
    "lay_out_page",
    "parse_storyboard",
    "read_answer",
    "read_storyboard",
    "save_sheets",
    "story_page",
    "story_request",
    "story_sheets",
    "write_story",
]
