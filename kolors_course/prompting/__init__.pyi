from .template_text import all_prompts, no_words, read_template, words_in
from .templates import Template
from .weights import WeightedText, check_prompts, looks_weighted, read_weights, without_weights

__all__ = [
    "Template",
    "WeightedText",
    "all_prompts",
    "check_prompts",
    "looks_weighted",
    "no_words",
    "read_template",
    "read_weights",
    "without_weights",
    "words_in",
]
