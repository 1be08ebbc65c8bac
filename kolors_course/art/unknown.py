"""Which words of a prompt Kolors-mini has never read in a caption, in English and Chinese."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby

from kolors_course.art.subject import subjects
from kolors_course.art.vocabulary import vocabulary

# Words without a meaning of their own, or with one that the picture does not depend on.
_GRAMMAR_EN = (
    "a an the and or of in on at to from by for with as is are was were be it its this that these those there "
    "here one some under over into onto above below near beside behind between front next up down out s picture style"
)
_GRAMMAR_ZH = (
    "的 了 着 和 与 跟 及 在 是 有 也 都 还 很 从 到 向 被 把 并 而 或 它 他 她 这 那 一 小 大 "
    "一幅画 画 幅 张 画面 画面里 画里 图 图片 图画 插画 照片 旁边 附近 上面 下面 里面 后面 前面 外面 之间 风格"
)
_AFTER_A_NOUN = frozenset("上下里中内外前后旁边间")
_IRREGULAR = {"mice": "mouse", "snowmen": "snowman", "leaves": "leaf", "geese": "goose", "oxen": "ox"}
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_PIECES = re.compile(rf"(?P<han>[{_HAN}〇々]+)|(?P<word>(?:(?![{_HAN}〇々])[^\W_])+)")


def unknown_words(prompt: str, known: Sequence[str] = ()) -> tuple[str, ...]:
    """The words of `prompt` that no caption of Kolors-mini's training holds, each once, in order.

    English words may be in the plural, in any letter case and joined by hyphens. Chinese is cut into known words so
    that as few characters as possible are left over; what is left over together is one word.

    Args:
        known: other words that are known, such as the trigger words of a LoRA; commas separate them.
    """
    text = unicodedata.normalize("NFKC", prompt)
    for phrase in sorted(
        (part.strip() for words in known for part in words.split(",")), key=len, reverse=True
    ):
        if phrase:
            bounds = r"\b" if phrase.isascii() else ""
            text = re.sub(f"{bounds}{re.escape(phrase)}{bounds}", " , ", text, flags=re.IGNORECASE)
    return tuple(dict.fromkeys(_unknown(text)))


def _unknown(text: str) -> Iterator[str]:
    """English words may be one name if nothing but spaces, hyphens and apostrophes part them."""
    run: list[str] = []
    end = 0
    for piece in _PIECES.finditer(text):
        if run and (piece["han"] or text[end : piece.start()].strip(" -'’")):
            yield from _unknown_english(run)
            run = []
        if piece["han"]:
            yield from _unknown_chinese(piece["han"])
        else:
            run.append(piece["word"])
        end = piece.end()
    yield from _unknown_english(run)


def _unknown_english(words: Sequence[str]) -> Iterator[str]:
    phrases, longest = _english()
    start = 0
    while start < len(words):
        for length in range(min(longest, len(words) - start), 0, -1):
            if any(form in phrases for form in _forms(words[start : start + length])):
                break
        else:
            length = 1
            yield words[start]
        start += length


def _forms(words: Sequence[str]) -> list[tuple[str, ...]]:
    """A phrase as it is, with its last word in the singular, and with its first."""
    low = tuple(word.lower() for word in words)
    last = [(*low[:-1], one) for one in _singulars(low[-1])]
    return [low, *last, *((one, *low[1:]) for one in _singulars(low[0]))]


def _singulars(word: str) -> list[str]:
    endings = (("ies", "y"), ("ves", "f"), ("es", ""), ("s", ""))
    regular = [word.removesuffix(end) + instead for end, instead in endings if word.endswith(end)]
    return [_IRREGULAR[word]] if word in _IRREGULAR else regular


@cache
def _english() -> tuple[frozenset[tuple[str, ...]], int]:
    """Known phrases, and the most words that one has. Sentences are known by their words, names only as a whole."""
    phrases: set[tuple[str, ...]] = {(word,) for word in _GRAMMAR_EN.split()}
    for section in vocabulary():
        for words in (word for entry in section.entries for word in entry.en):
            parts = tuple(piece["word"].lower() for piece in _PIECES.finditer(words))
            phrases.add(parts)
            if section.name in ("places", "times", "positions"):
                phrases |= {(part,) for part in parts}
            if section.name == "styles":
                phrases.add(parts[:-1])
    return frozenset(phrases), max(map(len, phrases))


def _unknown_chinese(text: str) -> Iterator[str]:
    """Neighbouring characters that the best cut into known words leaves over."""
    left = _cut(text)
    for unknown, characters in groupby(zip(left, text, strict=True), key=lambda pair: pair[0]):
        if unknown:
            yield "".join(character for _, character in characters)


def _cut(text: str) -> list[bool]:
    """For each character whether it is left over, in the cut that leaves the fewest over and has the fewest words."""
    words, grammar, longest = _chinese()
    # For each length of the beginning: (characters left over, words) of its best cut, where the last piece of it
    # starts, whether that is left over, and whether it is a noun.
    best: list[tuple[tuple[int, int], int, bool, bool]] = [((0, 0), 0, False, False)]
    for end in range(1, len(text) + 1):
        left, count = best[end - 1][0]
        choices = [((left + 1, count + 1), end - 1, True, False)]
        for start in range(max(0, end - longest), end):
            (left, count), *_, noun = best[start]
            word = text[start:end]
            if word in words or word in grammar or (noun and word in _AFTER_A_NOUN):
                choices.append(((left, count + 1), start, False, word in words))
        best.append(min(choices, key=lambda choice: choice[0]))
    left_over, end = [False] * len(text), len(text)
    while end:
        _, start, is_left_over, _ = best[end]
        left_over[start] = is_left_over
        end = start
    return left_over


@cache
def _chinese() -> tuple[frozenset[str], frozenset[str], int]:
    """Known words with a meaning, those of grammar, and the most characters that one has."""
    words = {word for section in vocabulary() for entry in section.entries for word in entry.zh}
    words |= {word.removesuffix("风格") for word in words} - {""}
    words |= {word.rstrip("上里中前") for word in words} - {""}
    classifiers = {subject.classifier for subject in subjects()}
    counted = (first + each for first in "一这那每" for each in classifiers)
    grammar = {*_GRAMMAR_ZH.split(), *classifiers, *counted}
    return frozenset(words), frozenset(grammar), max(map(len, words | grammar))
