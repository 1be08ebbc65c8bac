from .backdrop import PLACES, TIMELESS, TIMES
from .captions import LANGUAGES, LENGTHS, caption, random_caption
from .character import (
    Heroine,
    accessory_mask,
    character_cutout,
    character_pictures,
    kumquat,
    portrait,
    render_character,
)
from .choices import BASE_MODEL_STYLES, BASE_STYLE, LORA_STYLES, STYLE_ZH, STYLES
from .cutout import Cutout, cutouts
from .scene import POSITIONS, SIZES, Scene, lay_out, random_scene
from .splits import draw_scene, is_held_out, style_test_subjects, style_train_subjects
from .style_set import style_pictures
from .styles import render
from .subject import Subject, find_subject, subject_index, subjects

__all__ = [
    "BASE_MODEL_STYLES",
    "BASE_STYLE",
    "LANGUAGES",
    "LENGTHS",
    "LORA_STYLES",
    "PLACES",
    "POSITIONS",
    "SIZES",
    "STYLES",
    "STYLE_ZH",
    "TIMELESS",
    "TIMES",
    "Cutout",
    "Heroine",
    "Scene",
    "Subject",
    "accessory_mask",
    "caption",
    "character_cutout",
    "character_pictures",
    "cutouts",
    "draw_scene",
    "find_subject",
    "is_held_out",
    "kumquat",
    "lay_out",
    "portrait",
    "random_caption",
    "random_scene",
    "render",
    "render_character",
    "style_pictures",
    "style_test_subjects",
    "style_train_subjects",
    "subject_index",
    "subjects",
]
