from .schedule import Stage, check_prompts, read_stages, texts_of
from .template_text import all_prompts, no_words, read_template, words_in
from .templates import Template
from .weights import WeightedText, looks_weighted, read_weights, without_weights

__all__ = [
    "Stage",
    "Template",
    "WeightedText",
    "all_prompts",
    "check_prompts",
    "looks_weighted",
    "no_words",
    "read_stages",
    "read_template",
    "read_weights",
    "texts_of",
    "without_weights",
    "words_in",
]
