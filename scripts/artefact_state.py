"""What is made of what, and what the lock says of it: which artefacts are stale, and how they are made.

`artefacts.py` says what all this is for.
"""

import hashlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml
from artefact_digest import Missing, digest, overlap

from kolors_course.errors import CourseError, brief
from kolors_course.files import atomic_path

LOCK = "scripts/artefacts.lock.yaml"
HEAD = "# Written by scripts/artefacts.py: of which contents (SHA-256) each artefact was made.\n"
PROGRAMS = {"python": [sys.executable], "kolors-course": [sys.executable, "-m", "kolors_course"]}


@dataclass(frozen=True)
class Need:
    """Something that not every machine has: what it is called, and whether it is here."""

    name: str
    is_here: Callable[[], bool]


@dataclass(frozen=True)
class Artefact:
    """One thing that is made, of what, and how. Inputs and products are `path` or `path#part` (artefact_digest).

    Attributes:
        by: commands, run one after the other in the repository's root. `{inputs}` stands for a short name of the
            contents of all inputs: a long command that keeps its state in a folder named so resumes only what the
            same inputs began.
        copies: file that the commands leave -> where it is committed.
        needs: what a machine must have.
        by_hand: instead of commands: what a person has to do.
    """

    name: str
    makes: Sequence[str]
    of: Sequence[str]
    by: Sequence[str] = ()
    copies: Mapping[str, str] = field(default_factory=dict)
    needs: Sequence[Need] = ()
    by_hand: str = ""


class Artefacts:
    """The artefacts of a repository in the order of making, and what its lock says of them.

    Raises:
        ValueError: two of one name.
        graphlib.CycleError: some are made of each other.
        CourseError: the lock cannot be read.
    """

    def __init__(self, root: Path, table: Iterable[Artefact]):
        self.root = root
        entries: dict[str, Artefact] = {}
        for one in table:
            if one.name in entries:
                raise ValueError(f"two artefacts are called {one.name}")
            entries[one.name] = one
        self.parents = {one.name: _parents(one, entries.values()) for one in entries.values()}
        order = TopologicalSorter(self.parents).static_order()
        self.table = {name: entries[name] for name in order}
        self.lock = self._read_lock()
        self._known: dict[str, str] = {}  # digests, until the next command runs

    def with_ancestors(self, names: Iterable[str]) -> list[str]:
        """`names` and all that they are made of, in the order of making."""
        wanted = set(names)
        for name in reversed(self.table):
            if name in wanted:
                wanted |= self.parents[name]
        return [name for name in self.table if name in wanted]

    def reasons(self, name: str) -> list[str]:
        """Why an artefact is itself stale; empty if it is not."""
        artefact, noted = self.table[name], self.lock.get(name)
        if noted is None:
            return ["it is not in the lock"]
        found = [] if noted.get("by", []) == list(artefact.by) else ["its command changed"]
        found += _differences(self._digests(artefact.of), noted["of"], "changed")
        found += _differences(self._products(artefact), noted.get("makes", {}), "is not as it was made")
        return found

    def stale(self) -> dict[str, list[str]]:
        """Stale artefact -> why, in the order of making; what follows from a stale one is stale with it."""
        found: dict[str, list[str]] = {}
        for name in self.table:
            followed = [f"follows {other}" for other in sorted(self.parents[name] & found.keys())]
            if reasons := self.reasons(name) + followed:
                found[name] = reasons
        return found

    def report(self, names: Collection[str]) -> list[str]:
        """What is stale among `names`, why, and what mends it, as lines; empty if nothing is."""
        stale = {name: reasons for name, reasons in self.stale().items() if name in names}
        own = {name: self.reasons(name) for name in stale}
        lines = [f"{name}: {'; '.join(why)}\n    {self._mend(name)}" for name, why in own.items() if why]
        followers = [name for name, why in own.items() if not why]
        return [*lines, *([f"and what is made of these: {', '.join(followers)}"] if followers else [])]

    def _mend(self, name: str) -> str:
        if by_hand := self.table[name].by_hand:
            return f"by hand: {by_hand}; then ARGS=\"--accept 'what was done' {name}\""
        return f"make artefacts ARGS={name}"

    def make(self, name: str) -> str:
        """Make one artefact and note it in the lock; says what hindered it, or ""."""
        artefact = self.table[name]
        if artefact.by_hand:
            return f"by hand: {artefact.by_hand}"
        if lacking := [need.name for need in artefact.needs if not need.is_here()]:
            return f"needs {' and '.join(lacking)}: not found here"
        self._known.clear()
        inputs = self._digests(artefact.of)
        try:
            self._run(artefact, hashlib.sha256("".join(inputs.values()).encode()).hexdigest()[:8])
            self._note(name, inputs)
        except (OSError, Missing, subprocess.CalledProcessError) as error:
            return f"failed: {error}"
        finally:
            self._known.clear()
        return ""

    def accept(self, name: str, reason: str) -> None:
        """Note that an artefact is right as it is, though something changed.

        Raises:
            Missing: an input or a product is not there.
        """
        self._known.clear()
        self._note(name, self._digests(self.table[name].of), reason)

    def _run(self, artefact: Artefact, short: str) -> None:
        for command in artefact.by:
            if status := self._run_command(command.replace("{inputs}", short)):
                raise subprocess.CalledProcessError(status, command)
        for source, target in artefact.copies.items():
            with atomic_path(self.root / target) as temporary:
                shutil.copyfile(self.root / source.replace("{inputs}", short), temporary)

    def _run_command(self, command: str) -> int:
        program, *arguments = shlex.split(command)
        process = subprocess.Popen([*PROGRAMS.get(program, [program]), *arguments], cwd=self.root)
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait()  # Ctrl-C reached it too, and it gives back what it holds
            raise

    def _note(self, name: str, inputs: Mapping[str, str], accepted: str = "") -> None:
        artefact = self.table[name]
        self._known.clear()
        products = self._products(artefact)
        if absent := [what for what, value in {**inputs, **products}.items() if not value]:
            raise Missing(f"{', '.join(absent)} cannot be found")
        entry = {"accepted": accepted, "by": list(artefact.by), "of": dict(inputs), "makes": products}
        # Read again: whoever works beside us may have noted something meanwhile.
        self.lock = {**self._read_lock(), name: {key: value for key, value in entry.items() if value}}
        kept = {name: noted for name, noted in sorted(self.lock.items()) if name in self.table}
        with atomic_path(self.root / LOCK) as temporary:
            temporary.write_text(
                HEAD + yaml.safe_dump(kept, allow_unicode=True, width=1000), encoding="utf-8"
            )

    def _read_lock(self) -> dict[str, Any]:
        path = self.root / LOCK
        try:
            return (yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None) or {}
        except yaml.YAMLError as error:
            raise CourseError(
                f"{LOCK} cannot be read; after a conflict take either side: {brief(error)}"
            ) from error

    def _products(self, artefact: Artefact) -> dict[str, str]:
        return {} if artefact.by_hand else self._digests(artefact.makes)

    def _digests(self, all_of: Iterable[str]) -> dict[str, str]:
        """`path#part` -> digest, or "" where there is none."""
        for one in all_of:
            if one not in self._known:
                try:
                    self._known[one] = digest(self.root, one)
                except Missing:
                    self._known[one] = ""
        return {one: self._known[one] for one in all_of}


def _parents(artefact: Artefact, all_of_them: Iterable[Artefact]) -> set[str]:
    """The names of those that make something that `artefact` is made of."""
    return {
        other.name
        for other in all_of_them
        if other is not artefact and any(overlap(made, used) for made in other.makes for used in artefact.of)
    }


def _differences(now: Mapping[str, str], noted: Mapping[str, str], change: str) -> Iterator[str]:
    """What is not as the lock says. A file that only moved, contents and all, is as it was."""
    for what, value in now.items():
        if not value:
            yield f"{what} cannot be found"
        elif what not in noted and value not in noted.values():
            yield f"{what} is new in its entry"
        elif what in noted and value != noted[what]:
            yield f"{what} {change}"
