r"""Weights in a prompt: `a (rabbit:1.3) in a [forest]`.

    prompt = { letter | group }
    group  = "(" prompt ":" number ")"     its words weigh so much: from 0, which takes them away, to 10
           | "(" prompt ")"                1.1
           | "[" prompt "]"                1 / 1.1
    letter = "\" and one of ( ) [ ] : \    that sign itself
           | any other sign

Groups may stand in groups, and their weights are multiplied. Full-width （ ） ［ ］ ： are the same signs, as Chinese
input methods type them, and may be mixed with the others; 【 】 and 《 》 are letters. A colon without a digit behind
it, or outside of groups, is a letter.

This is the grammar that other programs have made usual, so plain brackets weigh too: a prompt that means the signs
themselves has backslashes. Captions that something is trained on are not prompts: their brackets are letters.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from kolors_course.errors import CourseError, brief
from kolors_course.ranges import Range

STRONGER = 1.1  # what brackets without a number do
WEIGHT = Range(0, 10)
DEEPEST = 16  # groups within one another
_SIGNS = str.maketrans("（）［］：", "()[]:")
_PARTNERS = {")": "(", "]": "["}
_ESCAPABLE = tuple("()[]:\\")
_TAIL = re.compile(r"[^()\[\]:（）［］：]*")  # of a group, behind its colon
_DIGIT = re.compile(r"\s*[-+]?[.．]?\d")
_WEIGHTED = re.compile(r"[(（][^()（）]*[:：]\s*(?:\d+(?:[.．]\d*)?|[.．]\d+)\s*[)）]")
_SHOWN = 24  # letters of a prompt in a message about it


@dataclass(frozen=True)
class WeightedText:
    """A prompt without its brackets, as the tokenizer reads it, and what each of its characters weighs."""

    text: str
    weights: tuple[float, ...]

    @property
    def is_plain(self) -> bool:
        """Whether everything weighs 1."""
        return all(weight == 1 for weight in self.weights)

    def mean(self, start: int, stop: int) -> float:
        """What characters `start` to `stop` weigh on the average; blanks count only where nothing else stands, and
        nothing at all weighs 1."""
        inked = [i for i in range(start, stop) if not self.text[i].isspace()]
        weights = [self.weights[i] for i in inked or range(start, stop)] or [1.0]
        # Not added up where they are equal, so that 1.3 stays 1.3.
        return weights[0] if len(set(weights)) == 1 else sum(weights) / len(weights)


def read_weights(prompt: str) -> WeightedText:
    """What `prompt` says, and how much each word of it counts; the module has the grammar.

    Raises:
        CourseError: a bracket without its partner or with nothing in it, too many within one another, or a weight
            that is none; the message names the place.
    """
    return _Reader(prompt).read()


def sign_at(text: str, place: int) -> str:
    """The sign at a place of a prompt, half-width; "" behind its end."""
    return text[place : place + 1].translate(_SIGNS)


def without_weights(text: str) -> str:
    """A prompt that says `text` letter by letter, whatever brackets it has."""
    return re.sub(r"[()\[\]（）［］]|\\(?=[()\[\]:\\（）［］：])", r"\\\g<0>", text)


def looks_weighted(text: str) -> bool:
    """Whether a text that is not read as a prompt has a weight in it: (word:1.3)."""
    return bool(_WEIGHTED.search(text))


class _Group(NamedTuple):
    sign: str
    place: int  # of its bracket in the prompt
    start: int  # of its first letter


class _Reader:
    def __init__(self, prompt: str):
        self.prompt, self.place = prompt, 0
        self.letters: list[str] = []
        self.weights: list[float] = []
        self.groups: list[_Group] = []

    def read(self) -> WeightedText:
        while self.place < len(self.prompt):
            sign = sign_at(self.prompt, self.place)
            if sign == "\\" and sign_at(self.prompt, self.place + 1) in _ESCAPABLE:
                self.place += 1
                self._letter()
            elif sign in ("(", "["):
                self._open(sign)
            elif sign in (")", "]"):
                self._close(sign, STRONGER if sign == ")" else 1 / STRONGER)
            elif sign == ":" and self.groups and self._has_number():
                self._close(")", self._number())
            else:
                self._letter()
        if self.groups:
            left = self.groups[-1]
            self._fail(
                left.place, f"'{left.sign}' is never closed; close it, or write \\{left.sign} for the sign"
            )
        return WeightedText("".join(self.letters), tuple(self.weights))

    def _letter(self) -> None:
        self.letters.append(self.prompt[self.place])
        self.weights.append(1.0)
        self.place += 1

    def _open(self, sign: str) -> None:
        if len(self.groups) == DEEPEST:
            self._fail(self.place, f"more than {DEEPEST} brackets within one another; write (word:1.5)")
        self.groups.append(_Group(sign, self.place, len(self.letters)))
        self.place += 1

    def _close(self, sign: str, weight: float) -> None:
        if not self.groups or self.groups[-1].sign != _PARTNERS[sign]:
            self._fail(
                self.place, f"'{sign}' closes no '{_PARTNERS[sign]}'; write \\{sign} for the sign itself"
            )
        group = self.groups.pop()
        if not "".join(self.letters[group.start :]).strip():
            self._fail(
                group.place, "brackets with nothing in them; write \\( and \\) for the signs themselves"
            )
        self.weights[group.start :] = [weight * each for each in self.weights[group.start :]]
        self.place += 1

    def _has_number(self) -> bool:
        """Whether the colon here is that of a weight; one with nothing behind it was meant to be."""
        return bool(_DIGIT.match(self.prompt, self.place + 1)) or sign_at(self.prompt, self.place + 1) == ")"

    def _number(self) -> float:
        """The weight behind the colon here; afterwards the place is that of the closing bracket."""
        colon = self.place
        if self.groups[-1].sign == "[":
            self._fail(
                colon,
                "a weight stands in round brackets, (word:0.8), and a prompt that changes, [a:b:0.5], has two colons "
                "and cannot stand everywhere; write \\: for the sign itself",
            )
        tail = _TAIL.match(self.prompt, colon + 1)
        assert tail  # it matches nothing, too
        self.place = tail.end()
        if sign_at(self.prompt, self.place) != ")":
            self._fail(
                colon, "a weight stands last in its brackets, (word:1.3); write \\: for the sign itself"
            )
        try:
            return WEIGHT.read(unicodedata.normalize("NFKC", tail[0]).strip())
        except CourseError as error:
            self._fail(colon, f"a weight {error}; write \\: for the sign itself")

    def _fail(self, place: int, fault: str) -> NoReturn:
        shown = brief(self.prompt[place:], _SHOWN)
        raise CourseError(f"the prompt at character {place + 1}, '{shown}': {fault}")
