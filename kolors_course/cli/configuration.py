"""--config FILE: flags by name in a YAML file, before those of the command line, which win."""

import argparse
import difflib
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kolors_course.cli.parsing import Parser
from kolors_course.errors import CourseError, brief
from kolors_course.training.config_file import ConfigValue, read_config
from kolors_course.training.sample_prompts import parse_sample_prompt, sample_prompt_of

# What belongs to a command line, not to a file that is kept and given away.
_NOT_IN_FILES = ("help", "config", "debug", "modelscope_access_token")
_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Switch(argparse.BooleanOptionalAction):
    """A flag that is off unless given; --no-NAME puts it off again where a file puts it on."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None):
        super().__init__(option_strings, dest, default=False)
        self.help = help


class ConfigParser(Parser):
    """A parser with the flag --config."""

    def parse_known_args(
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        args = sys.argv[1:] if args is None else list(args)
        given, rest = super().parse_known_args(args, namespace)
        if given.config is None:
            return given, rest
        words = self._words(given)
        try:
            super().parse_known_args(words)
        except CourseError as error:
            raise CourseError(
                f"{given.config}: {str(error).removesuffix(f'; see {self.prog} --help')}"
            ) from error
        return super().parse_known_args([*words, *args])

    def _words(self, given: argparse.Namespace) -> list[str]:
        """The file as words of a command line, without lists that are given there too."""
        actions = {action.dest: action for action in self._actions if action.dest not in _NOT_IN_FILES}
        words: list[str] = []
        read: dict[str, str] = {}
        for key, value in read_config(given.config).items():
            name = key.replace("-", "_")
            if name not in actions:
                near = difflib.get_close_matches(name, actions, 1)
                hint = f"did you mean {near[0]}?" if near else f"the flags are listed by {self.prog} --help"
                raise CourseError(f"{given.config}: there is no flag {brief(key, 24)}; {hint}")
            if read.setdefault(name, key) != key:
                raise CourseError(f"{given.config}: {name} stands there twice, as {read[name]} and as {key}")
            action = actions[name]
            if action.default == getattr(given, action.dest) or not isinstance(action.default, list):
                words += _as_words(f"{given.config}: {name}", action, value)
        return words


def _as_words(where: str, action: argparse.Action, value: ConfigValue) -> list[str]:
    flag = action.option_strings[0]
    if isinstance(action, Switch):
        switch = _SWITCH.get(value.lower()) if isinstance(value, str) else None
        if switch is None:
            raise CourseError(f"{where} is put on or off: write true or false")
        return [action.option_strings[not switch]]
    if not isinstance(value, list):
        value = [value]
    elif not isinstance(action.default, list):
        raise CourseError(f"{where} takes one value, not a list")
    return [f"{flag}={_text(where, item)}" for item in value]


def _text(where: str, item: str | Mapping[str, str]) -> str:
    if isinstance(item, str):
        return item
    if not where.endswith("sample_prompt"):
        raise CourseError(f"{where} takes a plain value, not names with values")
    try:
        prompt = sample_prompt_of(item)
        if parse_sample_prompt(str(prompt)) != prompt:
            raise CourseError(f"give {', '.join(item)} apart, without -- in their texts")
    except CourseError as error:
        raise CourseError(f"{where}: {error}") from error
    return str(prompt)
