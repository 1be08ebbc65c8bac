"""Reading the command line: complaints are one line, and either spelling of a flag is understood."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from kolors_course.dataset.text import check_text
from kolors_course.errors import CourseError

_KEPT = 200  # characters at each end of a long message


class Parser(argparse.ArgumentParser):
    """An argument parser for people: `--batch-size` and `--batch_size` are the same flag.

    Raises:
        CourseError: whatever argparse has to complain about, in one line that names the help; a text that is not
            UTF-8, as opposed to the name of a file, which may be anything.
    """

    def error(self, message: str) -> NoReturn:
        raise CourseError(f"{_without_middle(message)}; see {self.prog} --help")

    def parse_known_args(
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        words = sys.argv[1:] if args is None else list(args)
        namespace, rest = super().parse_known_args(self._spelled(words), namespace)
        for action in self._actions:
            values = getattr(namespace, action.dest, None)
            for value in values if isinstance(values, list) else [values]:
                if isinstance(value, str) and not _names_a_file(action):
                    check_text(action.dest.replace("_", " "), value)
        return namespace, rest

    def _spelled(self, words: Sequence[str]) -> list[str]:
        """The words with each flag as this parser spells it; what follows a bare -- are no flags."""
        ours = {_plain(flag): flag for flag in self._option_string_actions}
        end = words.index("--") if "--" in words else len(words)
        return [*(_respell(word, ours) for word in words[:end]), *words[end:]]


def _without_middle(message: str) -> str:
    """argparse repeats wrong values whole, between what it says of them."""
    return message if len(message) <= 3 * _KEPT else f"{message[:_KEPT]} … {message[-_KEPT:]}"


def _names_a_file(action: argparse.Action) -> bool:
    return action.dest.endswith("path") or any(word in str(action.metavar) for word in ("FILE", "DIR"))


def _plain(flag: str) -> str:
    return flag.replace("_", "-")


def _respell(word: str, ours: dict[str, str]) -> str:
    flag, equals, value = word.partition("=")
    return ours.get(_plain(flag), flag) + equals + value if word.startswith("--") else word
