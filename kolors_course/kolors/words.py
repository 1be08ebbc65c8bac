"""Saying beforehand which words of a prompt Kolors-mini cannot draw, because no caption of its training had them."""

from collections.abc import Iterable, Sequence

from kolors_course.art.unknown import unknown_words
from kolors_course.errors import brief
from kolors_course.kolors.model import KolorsModel
from kolors_course.platform.paths import data_path
from kolors_course.prompting import texts_of

# Kolors-mini's own tokenizer has 1,600 pieces, made from its captions; that of Kolors 64,789, made from the web.
MOST_PIECES_OF_MINI = 5000
SHOWN = 8


def unknown_note(model: KolorsModel, prompts: Iterable[str], known: Sequence[str] = ()) -> str:
    """One line that names the words of `prompts` that `model` has never read, or "".

    Only ever said of Kolors-mini and what was trained further from it: other models have read the web. Nothing is
    said where the course's data, which holds the words, is not there.

    Args:
        known: other words that are known, such as the trigger words of LoRAs.

    Raises:
        CourseError: switches or weights in a prompt are wrong, see `texts_of`.
    """
    if model.text_encoder.config.padded_vocab_size > MOST_PIECES_OF_MINI or not data_path().is_dir():
        return ""
    texts = [text for prompt in prompts for text in texts_of(prompt)]
    words = list(dict.fromkeys(word for text in texts for word in unknown_words(text, known)))
    if not words:
        return ""
    shown = ", ".join(brief(word, 24) for word in words[:SHOWN])
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return f"Kolors-mini does not know: {shown}{more}; see kolors-course words"
