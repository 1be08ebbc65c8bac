"""Things by name, imported when they are first asked for: the names alone cost nothing."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable)


class Registry(Mapping[str, T]):
    """Name -> function, like a dictionary that imports a function when it is looked up.

    Args:
        entries: name -> where the function is, "package.module:function"; or that and keyword arguments that are
            fixed in it.
    """

    def __init__(self, entries: Mapping[str, str | tuple[str, dict]]):
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> T:
        entry = self._entries[name]
        place, fixed = (entry, {}) if isinstance(entry, str) else entry
        module, _, attribute = place.partition(":")
        function: Any = getattr(importlib.import_module(module), attribute)
        if fixed:
            function = partial(function, **fixed)
        return function

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
