"""Which facts of a scene a prompt states, by its words: the reverse of `kolors_course.art.caption`."""

import re
from functools import cache

from kolors_course.art import Subject, subjects

# The words of the captions that Kolors-mini was trained on, without their grammar, and a few close relatives.
WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "place": {
        "meadow": ("grass", "meadow", "草地", "草原"),
        "snow": ("snowy field", "snowy", "snow", "雪地", "雪原"),
        "desert": ("desert", "sand dune", "dune", "沙漠", "沙丘"),
        "beach": ("beach", "沙滩", "海边", "海滩"),
        "sea": ("sea", "ocean", "海面", "大海", "海上"),
        "city": ("city", "street", "城市", "街道"),
        "forest": ("forest", "wood", "森林", "树林"),
        "mountain": ("mountain", "群山", "山"),
        "space": ("outer space", "space", "among the stars", "太空", "宇宙"),
        "room": ("room", "home", "房间", "家里", "家中"),
    },
    "time": {
        "day": ("daytime", "day", "sunny", "白天", "晴天"),
        "night": ("night", "moon", "夜晚", "夜里", "晚上", "月亮", "夜"),
        "dusk": ("dusk", "sunset", "黄昏", "傍晚", "日落"),
    },
    "size": {
        "small": ("small", "little", "tiny", "小小的", "很小的"),
        "big": ("big", "large", "huge", "大大的", "巨大的"),
    },
    "position": {
        "left": ("left", "左边", "左侧"),
        "middle": ("middle", "centre", "center", "中间", "中央"),
        "right": ("right", "右边", "右侧"),
    },
}


def read_facts(prompt: str) -> dict[str, set[str]]:
    """The facts that `prompt` states: "subject" (English names), "place", "time", "size", "position".

    Every set may be empty, or hold several values where the prompt says several. Longer words are read first and
    struck out, so that a teddy bear is not also a bear, nor 雪人 (a snowman) snow.
    """
    found: dict[str, set[str]] = {kind: set() for kind in ("subject", *WORDS)}
    text = prompt.lower()
    for word, kind, value in _vocabulary():
        pattern = rf"\b{re.escape(word)}(?:s|es)?\b" if word.isascii() else re.escape(word)
        text, count = re.subn(pattern, " | ", text)
        if count:
            found[kind].add(value)
    return found


@cache
def _vocabulary() -> tuple[tuple[str, str, str], ...]:
    """(word in lower case, kind, value), longest word first; names of subjects before other words as long."""
    rows = [(name, "subject", subject.en) for subject in subjects() for name in _names(subject)]
    for kind, values in WORDS.items():
        rows += [(word, kind, value) for value, words in values.items() for word in words]
    return tuple(sorted(rows, key=lambda row: -len(row[0])))


def _names(subject: Subject) -> list[str]:
    names = (subject.en, subject.en_synonym, subject.zh, subject.zh_synonym)
    return [name.lower() for name in names if name]
