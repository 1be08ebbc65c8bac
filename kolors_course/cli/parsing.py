"""Reading the command line: complaints are one line, and either spelling of a flag is understood."""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from kolors_course.errors import CourseError


class Parser(argparse.ArgumentParser):
    """An argument parser for people: `--batch-size` and `--batch_size` are the same flag.

    Raises:
        CourseError: whatever argparse has to complain about, in one line that names the help.
    """

    def error(self, message: str) -> NoReturn:
        raise CourseError(f"{message}; see {self.prog} --help")

    def parse_known_args(self, args: Sequence[str], namespace: argparse.Namespace | None = None):
        return super().parse_known_args(self._spelled(args), namespace)

    def _spelled(self, words: Sequence[str]) -> list[str]:
        """The words with each flag as this parser spells it; what follows a bare -- are no flags."""
        ours = {_plain(flag): flag for flag in self._option_string_actions}
        end = words.index("--") if "--" in words else len(words)
        return [*(_respell(word, ours) for word in words[:end]), *words[end:]]


def _plain(flag: str) -> str:
    return flag.replace("_", "-")


def _respell(word: str, ours: dict[str, str]) -> str:
    flag, equals, value = word.partition("=")
    return ours.get(_plain(flag), flag) + equals + value if word.startswith("--") else word
