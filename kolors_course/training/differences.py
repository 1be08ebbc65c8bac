"""In what a run differs from the one that wrote its checkpoint, told by the names of flags."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kolors_course.errors import CourseError, brief

MOST, NAMES = 40, 3  # characters of a value, and names of pictures, that a message repeats


@dataclass(frozen=True)
class Difference:
    """What differs, by its flag where it has one, and how."""

    name: str
    text: str

    @classmethod
    def of(cls, name: str, before: Any, now: Any) -> "Difference":
        """The difference between a value in the checkpoint and the one that is asked for now."""
        return cls(name, f"{shown(before)} in the checkpoint, {shown(now)} now")

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


def refuse(checkpoint: Path, differences: Sequence[Difference]) -> None:
    """Refuse to resume a run that differs.

    Raises:
        CourseError: there are differences; all are named.
    """
    if differences:
        raise CourseError(
            f"{checkpoint} was made with other settings: {'; '.join(map(str, differences))}. Use the same to resume "
            "it, or another output folder to start anew"
        )


def shown(value: Any) -> str:
    """A value as a message repeats it."""
    if isinstance(value, (list, tuple)):
        value = ",".join(map(str, value))
    text = "none" if value is None else repr(value) if isinstance(value, str) and not value else str(value)
    return brief(text, MOST)


def differing_settings(
    before: Mapping[str, Any], now: Mapping[str, Any], flags: Mapping[str, str], free: Collection[str] = ()
) -> list[Difference]:
    """Where two configurations differ.

    Args:
        flags: path of a setting ("loss.kind") -> its flag; others are called by their path.
        free: paths that may differ.
    """
    one, two = dict(flatten(before)), dict(flatten(now))
    paths = [
        path for path in dict.fromkeys((*one, *two)) if one.get(path) != two.get(path) and path not in free
    ]
    return [Difference.of(flags.get(path, path), one.get(path), two.get(path)) for path in paths]


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting of nested ones by its path; lists are as good as tuples."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, tuple(value) if isinstance(value, list) else value


def differing_pictures(before: Sequence[Sequence[str]], now: Sequence[Sequence[str]]) -> str:
    """What happened to the pictures of a data set.

    Args:
        before, now: (name, hash of the file, of its caption, of its mask, repeats) of each.
    """
    one, two = ({name: hashes for name, *hashes in entries} for entries in (before, now))
    both = [name for name in one if name in two]
    changes = {
        part: [name for name in both if one[name][i] != two[name][i]]
        for i, part in enumerate(("picture changed", "caption changed", "mask changed", "repeats changed"))
    }
    changes["gone"] = [name for name in one if name not in two]
    changes["new"] = [name for name in two if name not in one]
    told = [f"{what}: {_few(names)}" for what, names in changes.items() if names]
    if not told and [name for name, *_ in before] != [name for name, *_ in now]:
        told = ["the same pictures in another order"]
    return "; ".join(told)


def _few(names: Sequence[str]) -> str:
    text = ", ".join(names[:NAMES])
    return text + (f" and {len(names) - NAMES} more" if len(names) > NAMES else "")
