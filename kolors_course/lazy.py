"""Packages that import what is asked for, once the libraries below them are known to fit."""

from collections.abc import Callable
from typing import Any

import lazy_loader

from kolors_course.libraries import require_fit


def attach_fit(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`lazy_loader.attach_stub`, as `__getattr__, __dir__, __all__`, for a package that needs diffusers and others.

    The check comes with the first name that is asked for, so that a notebook shows one line in place of a traceback.
    """
    imported, names, exported = lazy_loader.attach_stub(package, file)

    def look_up(name: str) -> Any:
        if name in exported:
            require_fit()
        return imported(name)

    return look_up, names, exported
