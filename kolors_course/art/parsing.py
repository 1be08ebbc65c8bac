"""The exact inverse of `kolors_course.art.caption`: a caption, in the grammar of its length, back into facts.

`art.facts` reads what people write and forgives; this reads what a captioner writes and forgives nothing: a caption
with a word too many is no caption. So a captioner can be judged by facts: those that it tells rightly, wrongly, or
not at all.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from kolors_course.art.backdrop import TIMELESS
from kolors_course.art.captions import (
    LABEL_PLACE_EN,
    LABEL_PLACE_ZH,
    LANGUAGES,
    LENGTHS,
    PLACE_EN,
    PLACE_ZH,
    SIDE_ZH,
    SIZE_EN,
    SIZE_ZH,
    TIME_EN,
    TIME_ZH,
    with_article,
)
from kolors_course.art.scene import Scene
from kolors_course.art.subject import subjects
from kolors_course.errors import CourseError


@dataclass(frozen=True)
class Told:
    """What a caption says. Of a pair, size and side say nothing: the first stands on the left.

    Attributes:
        subjects: English names, the left one first.
        place: None where the caption leaves it out; so with `time`, whose "timeless" is what space has.
        size, position: "normal" and "middle" where a caption is silent, as captions are.
    """

    subjects: tuple[str, ...]
    place: str | None
    time: str | None
    size: str = "normal"
    position: str = "middle"


def true_facts(scene: Scene) -> Told:
    """What a true caption of `scene` says."""
    names = tuple(subject.en for subject in scene.subjects)
    return Told(names, scene.place, scene.time, scene.size, scene.position)


def parse_caption(text: str, language: str, length: str) -> Told | None:
    """The facts in a caption as `caption` writes it, with either synonym of each word; None for anything else.

    A label in which two words are one place or time, two subjects that are the same, or a pair with a size are
    nothing that `caption` writes, and None.

    Raises:
        CourseError: unknown language or length.
    """
    if language not in LANGUAGES or length not in LENGTHS:
        raise CourseError(
            f"no caption of length '{length}' in language '{language}'; "
            f"languages: {', '.join(LANGUAGES)}; lengths: {', '.join(LENGTHS)}"
        )
    match = _pattern(language, length).fullmatch(text)
    if match is None:
        return None
    found = {key: value for key, value in match.groupdict().items() if value is not None}
    nouns, sides = _tables(language)
    read = [nouns[found[key]] for key in ("first", "second", "left", "right") if key in found]
    names = tuple(name for name, _ in read)
    if len(read) == 2 and (names[0] == names[1] or read[0][1] != "normal" or read[1][1] != "normal"):
        return None
    if len(read) == 2 and "side" in found:
        return None
    words = _words(language, length)
    place, time = words["place"][found["place"]], words["time"].get(found.get("time", ""), TIMELESS)
    if (place == "space") != (time == TIMELESS):
        return None
    return Told(names, place, time, read[0][1], sides[found["side"]] if "side" in found else "middle")


def _inverse(table: Mapping[str, tuple[str, ...] | str]) -> dict[str, str]:
    """Every word of a table -> what it stands for."""
    pairs = (
        (word, key)
        for key, words in table.items()
        for word in ((words,) if isinstance(words, str) else words)
    )
    return {word: key for word, key in pairs if word}


@cache
def _tables(language: str) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """Noun with its size, article or classifier -> (subject, size); and side words -> positions."""
    nouns: dict[str, tuple[str, str]] = {}
    for subject in subjects():
        names = (subject.zh, subject.zh_synonym) if language == "zh" else (subject.en, subject.en_synonym)
        for name in filter(None, names):
            for size, words in (SIZE_ZH if language == "zh" else SIZE_EN).items():
                for word in dict.fromkeys(words):
                    plain = word + name if language == "zh" else f"{word} {name}".strip()
                    article = f"一{subject.classifier}{plain}" if language == "zh" else with_article(plain)
                    nouns |= dict.fromkeys((plain, article), (subject.en, size))
    sides = _inverse(SIDE_ZH) if language == "zh" else {side: side for side in SIDE_ZH}
    return nouns, sides


@cache
def _words(language: str, length: str) -> dict[str, dict[str, str]]:
    """ "place" and "time" -> word -> value, as captions of this length have them."""
    if language == "en":
        label_places = {place: LABEL_PLACE_EN.get(place, place) for place in PLACE_EN}
        label_times = {time: time for time in TIME_EN if time != TIMELESS}
        places, times = PLACE_EN, TIME_EN
    else:
        label_places, label_times = LABEL_PLACE_ZH, {time: words[0] for time, words in TIME_ZH.items()}
        places, times = PLACE_ZH, TIME_ZH
    if length == "label":
        return {"place": _inverse(label_places), "time": _inverse(label_times)}
    return {"place": _inverse(places), "time": _inverse(times)}


def _any_of(words: Mapping[str, object]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))


@cache
def _pattern(language: str, length: str) -> re.Pattern[str]:
    """The grammar of a length: what `art.captions` writes, with a group for each fact."""
    nouns, sides = _tables(language)
    words = _words(language, length)
    plain = [noun for noun in nouns if not _has_article(noun, language)]
    full = [noun for noun in nouns if _has_article(noun, language)]
    noun = _any_of(dict.fromkeys(plain if length == "label" else full))

    def group(name: str, choices: str) -> str:
        return f"(?P<{name}>{choices})"

    place, time = group("place", _any_of(words["place"])), group("time", _any_of(words["time"]))
    side = group("side", _any_of(sides))
    outer = group("side", _any_of({word: None for word, value in sides.items() if value != "middle"}))
    joined = "和" if language == "zh" else " and "
    pair = f"{group('first', noun)}(?:{joined}{group('second', noun)})?"
    grammars = {
        ("en", "label"): f"{pair}, {place}(?:, {time})?(?:, {outer})?",
        ("zh", "label"): f"{pair}，{place}(?:，{time})?(?:，{outer})?",
        ("en", "sentence"): f"{pair} {place}(?: {time})?(?:, on the {outer})?",
        ("zh", "sentence"): f"(?:{time})?{place}的{pair}(?:，在{outer})?",
        ("en", "detailed"): "a picture of (?:"
        f"{group('left', noun)} on the left and {group('right', noun)} on the right|"
        f"{group('first', noun)} (?:in the (?P<middle>middle)|on the {outer})), {place}(?: {time})?",
        ("zh", "detailed"): f"一幅画：(?:{time}的)?{place}，(?:"
        f"左边是{group('left', noun)}，右边是{group('right', noun)}|{side}是{group('first', noun)})",
    }
    return re.compile(grammars[language, length])


def _has_article(noun: str, language: str) -> bool:
    return noun.startswith("一") if language == "zh" else noun.startswith(("a ", "an "))
