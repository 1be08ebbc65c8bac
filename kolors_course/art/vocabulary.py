"""The words that Kolors-mini knows: those of the captions it was trained on, in both languages, by what they say."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from kolors_course.art.captions import (
    LABEL_PLACE_EN,
    LABEL_PLACE_ZH,
    PLACE_EN,
    PLACE_ZH,
    SIDE_ZH,
    SIZE_EN,
    SIZE_ZH,
    TIME_EN,
    TIME_ZH,
)
from kolors_course.art.choices import BASE_MODEL_STYLES, STYLE_ZH
from kolors_course.art.subject import subjects

GROUP_ZH = {
    "animals": "动物",
    "plants": "植物",
    "food": "食物",
    "vehicles": "交通工具",
    "buildings": "建筑",
    "figures": "人物",
    "things": "物品",
}


@dataclass(frozen=True)
class Entry:
    """Something that can be asked for: its name in our tables, and the words for it, the usual one first."""

    name: str
    en: tuple[str, ...]
    zh: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """Entries of one kind: "animals", "places", …"""

    name: str
    zh: str
    entries: tuple[Entry, ...]


@cache
def vocabulary() -> tuple[Section, ...]:
    """All that Kolors-mini knows by a word: subjects by group, then places, times, sizes, positions, styles."""
    groups = [
        Section(
            group,
            zh,
            tuple(
                Entry(each.en, _words(each.en, each.en_synonym), _words(each.zh, each.zh_synonym))
                for each in subjects()
                if each.group == group
            ),
        )
        for group, zh in GROUP_ZH.items()
    ]
    places = {place: (*PLACE_EN[place], LABEL_PLACE_EN.get(place, place)) for place in PLACE_EN}
    places_zh = {place: (*PLACE_ZH[place], LABEL_PLACE_ZH[place]) for place in PLACE_ZH}
    times = {time: (*words, time) for time, words in TIME_EN.items() if any(words)}
    sides = {side: (f"on the {side}" if side != "middle" else "in the middle",) for side in SIDE_ZH}
    styles = {style: (f"{style.replace('-', ' ')} style",) for style in BASE_MODEL_STYLES}
    styles_zh = {style: (f"{STYLE_ZH[style]}风格",) for style in BASE_MODEL_STYLES}
    return (
        *groups,
        _section("places", "地点", places, places_zh),
        _section("times", "时间", times, TIME_ZH),
        _section("sizes", "大小", SIZE_EN, SIZE_ZH),
        _section("positions", "位置", sides, {side: (word,) for side, word in SIDE_ZH.items()}),
        _section("styles", "风格", styles, styles_zh),
    )


def _section(
    name: str, zh: str, english: Mapping[str, tuple[str, ...]], chinese: Mapping[str, tuple[str, ...]]
) -> Section:
    entries = (Entry(value, _words(*words), _words(*chinese[value])) for value, words in english.items())
    return Section(name, zh, tuple(entry for entry in entries if entry.en))


def _words(*words: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, words)))
