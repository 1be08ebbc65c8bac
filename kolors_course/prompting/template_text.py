r"""How a template is written: `{a cat|two dogs} __place__, {1-2$$ and $$at night|in the snow}`.

    template = { letter | choice | words }
    choice   = "{" [ number "$$" [ joiner "$$" ] ] option { "|" option } "}"
    number   = how many are taken: 2, 1-3 or -3 (none to three); one, where it says nothing
    joiner   = what stands between them; ", " where it says nothing
    option   = [ odds "::" ] template          odds compare options: 2::cat is twice as likely as dog
    words    = "__" name "__"                  one line of the words called so
    letter   = "\" and one of { } | $ _        that sign itself
             | any other sign

Options may hold choices and words, and may be empty. Blanks in them stay. None is taken twice, and they stand in the
order in which they are written. A line of words is an option, too; empty lines and those that begin with # are left
out. This is part of what the extension Dynamic Prompts reads; variables, patterns in names, parameters and samplers
are not. Weights, (word:1.3), are letters here: they are read in the prompts that come out.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from kolors_course.errors import CourseError, brief
from kolors_course.files import read_text
from kolors_course.prompting.templates import Chain, Choice, Letters, Template
from kolors_course.ranges import POSITIVE

LONGEST = 2000  # characters of a prompt; ChatGLM reads 256 tokens
DEEPEST = 24  # choices and words within one another
MOST_TAKEN = 16
MOST_LINES = 20_000
_LARGEST = 1 << 20  # bytes of a file of words
_SHOWN = 24
_TOO_DEEP = f"more than {DEEPEST} choices and words within one another"
_NAME = re.compile(r"__([\w-]+?)__")
_TAKEN = re.compile(r"(?:(\d{1,9})(-(\d{1,9}))?|-(\d{1,9}))\$\$(?:([^{}|$]*)\$\$)?")
_ODDS = re.compile(r"\s*(\d+\.?\d*|\.\d+)::")

Lookup = Callable[[str], Sequence[str]]


def words_in(folder: str | Path) -> Lookup:
    """The lines of `folder`/NAME.txt, for `read_template`.

    Raises:
        CourseError: there is no such folder; from the function it gives, no such file or one that cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CourseError(f"{folder} is no folder; give one that holds words, such as place.txt, a line each")

    def lines(name: str) -> list[str]:
        return read_text(folder / f"{name}.txt", _LARGEST, "words, a line each").splitlines()

    return lines


def no_words(name: str) -> Sequence[str]:
    """The lookup of a template that may use none.

    Raises:
        CourseError: always.
    """
    raise CourseError(f"there are no words for __{brief(name, _SHOWN)}__; say where they are")


def read_template(text: str, words: Lookup = no_words) -> Template:
    """A template from its text; the module has the grammar.

    Args:
        words: gives the lines for a name; it is asked once for each.

    Raises:
        CourseError: signs that do not go together (the message names the place), words that are not there or run in a
            circle, too many of them, too deep, or prompts that would be too long.
    """
    template = _Words(words).read(text, "the template")
    if template.longest > LONGEST:
        raise CourseError(
            f"a prompt of the template could have {_number(template.longest)} characters, and at most {LONGEST} are "
            "read; take fewer words"
        )
    return template


def all_prompts(template: Template, most: int) -> list[str]:
    """Every prompt of a template, in order.

    Raises:
        CourseError: they are more than `most`; none is made then.
    """
    if template.count > most:
        raise CourseError(
            f"the template makes {_number(template.count)} prompts, and at most {most:,} are made at once; draw some"
        )
    return [template.at(place) for place in range(template.count)]


def _number(count: int) -> str:
    return f"{count:,}" if count < 10**15 else "more than 10^15"


class _Words:
    """Words that were read, and those that are being read: a name within itself would never end."""

    def __init__(self, find: Lookup):
        self.find = find
        self.known: dict[str, Template] = {}
        self.names: list[str] = []
        self.depth = 0  # of what is being read

    def read(self, text: str, where: str) -> Template:
        return _Reader(text, where, self).row(())

    def called(self, name: str) -> Template:
        if name in self.names:
            circle = " → ".join([*self.names[self.names.index(name) :], name])
            raise CourseError(f"the words run in a circle: {brief(circle, 200)}; take one of them out")
        if name not in self.known:
            self.names.append(name)
            choice = self._choice(name)
            # Words that were read before may stand in these, and these in others: each is deep by itself.
            if choice.depth > DEEPEST:
                raise CourseError(f"__{brief(name, _SHOWN)}__: {_TOO_DEEP}")
            self.known[name] = choice
            self.names.pop()
        return self.known[name]

    def _choice(self, name: str) -> Template:
        lines = [line.strip() for line in self.find(name)]
        numbered = [(n, line) for n, line in enumerate(lines, 1) if line and not line.startswith("#")]
        where = f"__{brief(name, _SHOWN)}__"
        if not 1 <= len(numbered) <= MOST_LINES:
            raise CourseError(f"{where} has {len(numbered)} words; give 1 to {MOST_LINES:,}, a line each")
        options, odds = [], []
        for number, line in numbered:
            reader = _Reader(line, f"{where} line {number}", self)
            odds.append(reader.odds())
            options.append(reader.row(()))
        return Choice(tuple(options), tuple(odds))


class _Reader:
    def __init__(self, text: str, where: str, words: _Words):
        self.text, self.where, self.words, self.place = text, where, words, 0

    def row(self, ends: Sequence[str]) -> Template:
        """Up to one of the signs `ends`, or to the end of the text."""
        parts: list[Template] = []
        letters = ""
        while self.place < len(self.text) and self.text[self.place] not in ends:
            sign = self.text[self.place]
            if sign == "\\" and self.text[self.place + 1 : self.place + 2] in tuple("{}|$_"):
                letters += self.text[self.place + 1]
                self.place += 2
            elif sign == "{" or (sign == "_" and _NAME.match(self.text, self.place)):
                parts += [Letters(letters), self._choice() if sign == "{" else self._named()]
                letters = ""
            elif sign == "}":
                self._fail(self.place, "'}' closes no '{'; write \\} for the sign itself")
            else:
                letters += sign
                self.place += 1
        return Chain((*parts, Letters(letters)))

    def odds(self) -> float:
        found = _ODDS.match(self.text, self.place)
        if not found:
            return 1.0
        try:
            odds = POSITIVE.read(found[1])
        except CourseError as error:
            self._fail(self.place, f"odds {error}")
        self.place = found.end()
        return odds

    def _named(self) -> Template:
        found = _NAME.match(self.text, self.place)
        assert found
        self._deeper()
        self.place = found.end()
        template = self.words.called(found[1])
        self.words.depth -= 1
        return template

    def _choice(self) -> Template:
        start = self.place
        self._deeper()
        self.place += 1
        least, most, joiner = self._taken()
        options, odds = [], []
        while True:
            odds.append(self.odds())
            options.append(self.row(("|", "}")))
            if self.place == len(self.text):
                self._fail(start, "'{' is never closed; close it, or write \\{ for the sign itself")
            self.place += 1
            if self.text[self.place - 1] == "}":
                break
        if most > len(options):
            self._fail(start, f"takes {most} of {len(options)} options; give more, or take fewer")
        self.words.depth -= 1
        return Choice(tuple(options), tuple(odds), least, most, joiner)

    def _deeper(self) -> None:
        self.words.depth += 1
        if self.words.depth > DEEPEST:
            self._fail(self.place, _TOO_DEEP)

    def _taken(self) -> tuple[int, int, str]:
        """How many options are taken, at least and at most, and what stands between them."""
        found = _TAKEN.match(self.text, self.place)
        if not found:
            return 1, 1, ", "
        low, span, high, up_to, joiner = found.groups()
        least = int(low or 0)
        most = int(up_to or (high if span else low))
        if not least <= most <= MOST_TAKEN or most == 0:
            self._fail(self.place, f"give how many to take as 2 or 1-3, at most {MOST_TAKEN}")
        self.place = found.end()
        return least, most, ", " if joiner is None else joiner

    def _fail(self, place: int, fault: str) -> NoReturn:
        shown = brief(self.text[place:], _SHOWN)
        raise CourseError(f"{self.where} at character {place + 1}, '{shown}': {fault}")
