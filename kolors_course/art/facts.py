"""Which facts of a scene a prompt states, by its words: the reverse of `kolors_course.art.caption`."""

import re
from functools import cache
from typing import Any

from kolors_course.art.backdrop import TIMELESS
from kolors_course.art.everyday import BARE_SIZES, FILLERS, RELATIVES
from kolors_course.art.scene import Scene
from kolors_course.art.subject import Subject, find_subject, subjects
from kolors_course.art.unknown import unknown_words
from kolors_course.art.vocabulary import Section, vocabulary

# What stands in a prompt in place of words that were read, so that all others keep their places.
_SUBJECT, _OTHER = "§", "|"
_GRAMMAR = re.compile(r"^(?:(?:in|on|at|of|under|front|an?|the) )+|(?<=..)[上里中]$|前$")


def _words_of(section: Section) -> dict[str, tuple[str, ...]]:
    return {
        entry.name: tuple(
            dict.fromkeys(
                _GRAMMAR.sub("", word)
                for word in (*entry.en, entry.name, *entry.zh, *RELATIVES.get(entry.name, ()))
            )
        )
        for entry in section.entries
    }


@cache
def fact_words() -> dict[str, dict[str, tuple[str, ...]]]:
    """Kind of fact -> value -> the words for it, English ones first.

    They are those of the captions that Kolors-mini was trained on, without their grammar, and `RELATIVES`.
    """
    return {
        kind: _words_of(section)
        for section in vocabulary()
        if (kind := section.name.removesuffix("s")) in ("place", "time", "size", "position")
    }


def read_facts(prompt: str) -> dict[str, set[str]]:
    """The facts that `prompt` states: "subject" (English names), "place", "time", "size", "position".

    Every set may be empty, or hold several values where the prompt says several. Longer words are read first and
    struck out, so that a teddy bear is not also a bear, nor 雪人 (a snowman) snow.
    """
    found: dict[str, set[str]] = {kind: set() for kind in ("subject", *fact_words())}
    for _, kind, value in _mentions(prompt):
        found[kind].add(value)
    return found


def scene_of(prompt: str) -> Scene | None:
    """The scene that `prompt` asks for, with seed 0; None where it leaves open what a scene consists of.

    It must name one or two subjects, a place and, but for space, a time. As in captions, what is said of neither size
    nor side is of normal size and in the middle, and of a pair the first stands on the left.
    """
    said: dict[str, list[str]] = {kind: [] for kind in ("subject", *fact_words())}
    for _, kind, value in sorted(_mentions(prompt)):
        if value not in said[kind]:
            said[kind].append(value)
    names = said.pop("subject")
    if said["place"] == ["space"]:
        said["time"] = [TIMELESS]
    if len(names) == 2:  # sides are theirs already
        said |= {"size": [], "position": []}
    if len(names) not in (1, 2) or any(len(values) > 1 for values in said.values()):
        return None
    if not (said["place"] and said["time"]):
        return None
    facts: dict[str, Any] = {kind: values[0] for kind, values in said.items() if values}
    return Scene(tuple(map(find_subject, names)), **facts)


def unread_words(prompt: str) -> tuple[str, ...]:
    """The words of `prompt` that state no fact of `read_facts` and may state another: a hat, a colour, a style."""
    _, rest = _read(prompt)
    rest = re.sub(f"[{_SUBJECT}{_OTHER}]+", " , ", rest)
    styles = next(section.entries for section in vocabulary() if section.name == "styles")
    words = (word.removesuffix(" style") for entry in styles for word in (*entry.en, *entry.zh))
    return (*(word for word in words if word in rest), *unknown_words(rest, FILLERS.split()))


def _mentions(prompt: str) -> list[tuple[int, str, str]]:
    """(where in the prompt, kind, value) of every word found."""
    return _read(prompt)[0]


def _read(prompt: str) -> tuple[list[tuple[int, str, str]], str]:
    """The mentions in a prompt, and the prompt with these words struck out."""
    found = []
    text = prompt.lower()
    for word, kind, value in _vocabulary():
        pattern = rf"\b{re.escape(word)}(?:s|es)?\b" if word.isascii() else re.escape(word)
        if word in BARE_SIZES:
            pattern += f"(?={_SUBJECT})"
        mark = _SUBJECT if kind == "subject" else _OTHER
        for match in re.finditer(pattern, text):
            found.append((match.start(), kind, value))
            text = text[: match.start()] + mark * len(match[0]) + text[match.end() :]
    return found, text


@cache
def _vocabulary() -> tuple[tuple[str, str, str], ...]:
    """(word in lower case, kind, value), longest word first; names of subjects before other words as long."""
    rows = [(name, "subject", subject.en) for subject in subjects() for name in _names(subject)]
    for kind, values in fact_words().items():
        rows += [(word, kind, value) for value, names in values.items() for word in names]
    rows += [(word, "size", value) for word, value in BARE_SIZES.items()]
    return tuple(sorted(rows, key=lambda row: -len(row[0])))


def _names(subject: Subject) -> list[str]:
    names = (subject.en, subject.en_synonym, subject.zh, subject.zh_synonym)
    return [name.lower() for name in names if name]
