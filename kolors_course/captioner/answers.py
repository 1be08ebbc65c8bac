"""What a large vision-language model is asked, and what of its answers can be used.

Such models answer in prose, in fences, in the other language, or with an apology. Every fault has one line that is
sent back to the model, which most often mends it.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from kolors_course.captioner.choices import CAPTION_LANGUAGES, CAPTION_LENGTHS
from kolors_course.errors import CourseError, brief

MOST_ANSWER = 20_000  # characters that are looked at
MOST_TOKENS = 254  # of a caption; Kolors reads 256, two of which are the prefix [gMASK] sop
KEYS = ("subjects", "place", "caption")

_TASKS = {
    "label": "only the words for what is in it, separated by commas, no sentence",
    "sentence": "one short sentence: who or what, how it looks, where, when",
    "detailed": "two or three sentences: every subject and where in the picture it is, its colours, what it does, "
    "the place, the time of day and the light",
}
_LANGUAGES = {"zh": "Simplified Chinese", "en": "English"}
_CHINESE = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_LETTER = re.compile(r"[^\W\d_]")
_REFUSAL = re.compile(
    r"\s*(?:i(?:'|’)?m sorry|i am sorry|sorry,|i can(?:'|’)?t|i cannot|i(?:'|’)?m (?:not able|unable)|i am "
    r"(?:not able|unable)|as an ai|unable to|很?抱歉|对不起|我?无法|我?不能|作为(?:一个)?(?:ai|人工智能))",
    re.IGNORECASE,
)
_FENCE = re.compile(r"```[a-zA-Z]*\s*(.*?)(?:```|\Z)", re.DOTALL)


class BadAnswer(ValueError):
    """An answer that holds no usable caption; its text says why, for the model and for people."""


def question(language: str, length: str) -> str:
    """What the model is asked.

    Raises:
        CourseError: unknown language or length.
    """
    if language not in CAPTION_LANGUAGES or length not in CAPTION_LENGTHS:
        raise CourseError(
            f"no caption of length '{length}' in language '{language}'; "
            f"languages: {', '.join(CAPTION_LANGUAGES)}; lengths: {', '.join(CAPTION_LENGTHS)}"
        )
    return (
        "Describe this picture for training an image model. Tell only what can be seen; do not guess names, do not "
        "praise, do not name the style of the picture. Answer with one JSON object and nothing else: "
        '{"subjects": ["..."], "place": "...", "caption": "..."} where "subjects" lists what stands in the '
        f'foreground, "place" is the surroundings ("" if there are none), and "caption" is {_TASKS[length]}. '
        f"Write all values in {_LANGUAGES[language]}."
    )


def ask_again(fault: str, language: str) -> str:
    """What the model is told about an answer that cannot be used."""
    return (
        f"That answer cannot be used: {fault}. Answer again with one JSON object with the keys "
        f"{', '.join(KEYS)} and nothing else, in {_LANGUAGES[language]}."
    )


def read_answer(text: str, language: str, count_tokens: Callable[[str], int]) -> str:
    """The caption in an answer, on one line.

    Thoughts before it, a fence around it and words beside the JSON object are forgiven.

    Args:
        count_tokens: how many tokens the diffusion model's tokenizer makes of a caption.

    Raises:
        BadAnswer: a refusal, no JSON, not all of the keys, or a caption that is empty, in another language, a refusal
            or too long.
    """
    found = _json_object(text.rpartition("</think>")[2])
    missing = [key for key in KEYS if key not in found]
    if missing:
        raise BadAnswer(f"the JSON object lacks {', '.join(missing)}")
    subjects, caption = found["subjects"], found["caption"]
    if not isinstance(subjects, list) or not subjects or not all(_says_something(name) for name in subjects):
        raise BadAnswer('"subjects" must be a list of words, with at least one')
    if not isinstance(found["place"], str):
        raise BadAnswer('"place" must be a text')
    if not _says_something(caption):
        raise BadAnswer('"caption" is empty or no text')
    caption = " ".join(caption.split())
    _check_caption(caption, language, count_tokens)
    return caption


def _check_caption(caption: str, language: str, count_tokens: Callable[[str], int]) -> None:
    if _REFUSAL.match(caption):
        raise BadAnswer(f"it is a refusal: '{brief(caption)}'")
    letters = _LETTER.findall(caption)
    share = sum(map(bool, map(_CHINESE.match, letters))) / max(1, len(letters))
    if not letters or (share < 0.5 if language == "zh" else share > 0.1):
        raise BadAnswer(f'"caption" is not in {_LANGUAGES[language]}')
    if (tokens := count_tokens(caption)) > MOST_TOKENS:
        raise BadAnswer(
            f'"caption" takes {tokens} tokens, and at most {MOST_TOKENS} are read; make it shorter'
        )


def _says_something(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _json_object(text: str) -> dict[str, Any]:
    """The first JSON object in a text, in a fence or not."""
    text = text[:MOST_ANSWER]
    fence = _FENCE.search(text)
    body = fence[1] if fence else text
    start = body.find("{")
    if not body.strip():
        raise BadAnswer("it is empty")
    if start < 0:
        raise BadAnswer(
            f"it is a refusal: '{brief(text.strip())}'" if _REFUSAL.match(text) else "it holds no JSON object"
        )
    try:
        value, _ = json.JSONDecoder().raw_decode(body[start:])
    except (ValueError, RecursionError) as error:
        raise BadAnswer("its JSON is damaged or cut short") from error
    return value
