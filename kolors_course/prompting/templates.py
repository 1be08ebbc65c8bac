"""Templates of prompts, once they are read: how many prompts there are, one at random, and the one at a place.

A template is a tree. How many prompts it makes is counted from the counts of its parts, and the prompt at a place is
found by division, as the digits of a number are; so nothing is ever listed, however many there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import nlargest
from math import prod
from typing import Protocol

import numpy as np


class Template(Protocol):
    """What makes prompts. Two ways that happen to give the same text are counted as two."""

    @property
    def count(self) -> int:
        """How many ways there are."""

    @property
    def longest(self) -> int:
        """No prompt has more characters."""

    @property
    def depth(self) -> int:
        """How many choices stand within one another."""

    def draw(self, rng: np.random.Generator) -> str:
        """A prompt at random, by the odds in the template."""

    def at(self, place: int) -> str:
        """The prompt at a place, 0 to `count` - 1; what stands last in the template changes fastest."""


@dataclass(frozen=True)
class Letters:
    """A text that is always the same."""

    text: str

    @property
    def count(self) -> int:
        return 1

    @property
    def longest(self) -> int:
        return len(self.text)

    @property
    def depth(self) -> int:
        return 0

    def draw(self, rng: np.random.Generator) -> str:
        return self.text

    def at(self, place: int) -> str:
        return self.text


@dataclass(frozen=True)
class Chain:
    """Parts, one behind the other."""

    parts: tuple[Template, ...]

    @cached_property
    def count(self) -> int:
        return prod(part.count for part in self.parts)

    @cached_property
    def longest(self) -> int:
        return sum(part.longest for part in self.parts)

    @cached_property
    def depth(self) -> int:
        return max(part.depth for part in self.parts)

    def draw(self, rng: np.random.Generator) -> str:
        return "".join([part.draw(rng) for part in self.parts])

    def at(self, place: int) -> str:
        texts = []
        for part in reversed(self.parts):
            place, digit = divmod(place, part.count)
            texts.append(part.at(digit))
        return "".join(reversed(texts))


@dataclass(frozen=True)
class Choice:
    """Some of several options, none of them twice, in the order in which they are written.

    Attributes:
        odds: of each option, above 0; only how they compare matters.
        least, most: how many are taken; at random, each number is as likely.
        joiner: stands between them.
    """

    options: tuple[Template, ...]
    odds: tuple[float, ...]
    least: int = 1
    most: int = 1
    joiner: str = ", "

    @cached_property
    def count(self) -> int:
        return sum(self._ways[0][self.least :])

    @cached_property
    def longest(self) -> int:
        texts = nlargest(self.most, (option.longest for option in self.options))
        return sum(texts) + len(self.joiner) * (self.most - 1)

    @cached_property
    def depth(self) -> int:
        return 1 + max(option.depth for option in self.options)

    def draw(self, rng: np.random.Generator) -> str:
        many = int(rng.integers(self.least, self.most, endpoint=True))
        shares = np.array(self.odds) / sum(self.odds)
        taken = sorted(rng.choice(len(self.options), many, replace=False, p=shares))
        return self.joiner.join([self.options[i].draw(rng) for i in taken])

    def at(self, place: int) -> str:
        many = self.least
        while place >= self._ways[0][many]:
            place -= self._ways[0][many]
            many += 1
        texts = []
        for i, option in enumerate(self.options):
            if not many:
                break
            rest = self._ways[i + 1][many - 1]
            if place < option.count * rest:
                digit, place = divmod(place, rest)
                texts.append(option.at(digit))
                many -= 1
            else:
                place -= option.count * rest
        return self.joiner.join(texts)

    @cached_property
    def _ways(self) -> Sequence[Sequence[int]]:
        """[i][k]: in how many ways k options are taken from the i-th on."""
        ways = [[1] + [0] * self.most]
        for option in reversed(self.options):
            rest = ways[-1]
            ways.append([1, *(rest[k] + option.count * rest[k - 1] for k in range(1, self.most + 1))])
        return ways[::-1]
