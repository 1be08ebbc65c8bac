"""The picture-book world: subjects -> scenes -> styles -> captions.

Real, openly licensed emoji drawings are composed into seeded scenes, so every picture comes with its truth.
"""

from kolors_course.art.backdrop import PLACES, TIMELESS, TIMES
from kolors_course.art.captions import LANGUAGES, LENGTHS, caption, random_caption
from kolors_course.art.scene import POSITIONS, SIZES, Scene, lay_out, random_scene
from kolors_course.art.splits import draw_scene, is_held_out, style_test_subjects, style_train_subjects
from kolors_course.art.styles import BASE_MODEL_STYLES, BASE_STYLE, STYLE_ZH, STYLES, render
from kolors_course.art.subjects import Subject, find_subject, subject_index, subjects

__all__ = [
    "BASE_MODEL_STYLES",
    "BASE_STYLE",
    "LANGUAGES",
    "LENGTHS",
    "PLACES",
    "POSITIONS",
    "SIZES",
    "STYLES",
    "STYLE_ZH",
    "TIMELESS",
    "TIMES",
    "Scene",
    "Subject",
    "caption",
    "draw_scene",
    "find_subject",
    "is_held_out",
    "lay_out",
    "random_caption",
    "random_scene",
    "render",
    "style_test_subjects",
    "style_train_subjects",
    "subject_index",
    "subjects",
]
