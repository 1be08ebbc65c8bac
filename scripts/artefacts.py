"""Make again what has become stale: `make artefacts`.

    python scripts/artefacts.py                        # everything that is stale, in the right order
    python scripts/artefacts.py --list                 # only say what is stale, and why
    python scripts/artefacts.py words 'lora-*'         # these, and what they are made of
    python scripts/artefacts.py --accept "only a comment changed" words     # I looked: it is still right

Committed weights, pictures, scores and notebooks are made of one another. `artefacts_table.py` says what is made, of
what, by which command; to add an artefact, add an entry there. `artefacts.lock.yaml`, committed too, says of which
contents (SHA-256) each was made. An artefact is stale when an input, its command or its product is not as noted
there, and then so is what is made of it. Times of files do not matter: nothing is stale after `git clone`. When git
cannot merge the lock, take either side: what is wrong then is listed as stale.

A product is noted only after its commands have ended well. What is interrupted is stale until it is made; what was
finished before stays finished. Where a GPU, a browser or a person is needed and missing, one line says so, the rest
goes on, and what is made of it waits. Of what is made by hand only the inputs are watched: --accept says that it is
done.

Library code is no input, else each commit would make everything stale. What counts are the files that are contents
more than ways: the drawn world and its words in `art/`, recipes, and the scripts that hold a product's text. Who
changes how things come out by other code deletes their entries from the lock, and they are made again.

Why a table of our own: wanted are digests of contents in a file that git can merge, digests of parts (a VAE's
encoder, a notebook's code), and a look at products too. doit 0.37 keeps times of files, in one line of JSON; it sees
neither that a product was changed nor, in its list, what follows from a stale input. Snakemake goes by times of
files, which a clone makes new, and keeps its records out of git. DVC's dvc.lock is closest, but knows no parts of a
binary file, and its cache, remotes and dozens of packages would come with it.
"""

import argparse
import fnmatch
import sys
from collections.abc import Sequence
from pathlib import Path

from artefact_digest import Missing
from artefact_state import Artefacts
from artefacts_table import ARTEFACTS

from kolors_course.errors import CourseError

ROOT = Path(__file__).resolve().parents[1]


def list_stale(artefacts: Artefacts, names: Sequence[str]) -> int:
    """Say what is stale among `names`, and why."""
    lines = artefacts.report(names)
    print("\n".join(lines or [f"{len(names)} artefacts, none stale"]))
    return 0


def accept(artefacts: Artefacts, names: Sequence[str], reason: str) -> int:
    """Note that `names` are right as they are."""
    for name in names:
        try:
            artefacts.accept(name, reason)
        except Missing as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        print(f"{name}: accepted")
    return 0


def make(artefacts: Artefacts, names: Sequence[str]) -> int:
    """Make those of `names` that are stale, one after the other, and say what could not be made."""
    left: dict[str, str] = {}
    for number, name in enumerate(names, start=1):
        waits_for = sorted(artefacts.parents[name] & left.keys())
        reasons = artefacts.reasons(name)
        if not reasons and not waits_for:
            continue
        print(f"[{number}/{len(names)}] {name}: {'; '.join(reasons) or 'follows what is stale'}", flush=True)
        hindrance = f"waits for {', '.join(waits_for)}" if waits_for else artefacts.make(name)
        if hindrance:
            left[name] = hindrance
        print(f"[{number}/{len(names)}] {name}: {hindrance or 'made'}", flush=True)
    if left:
        print(f"\n{len(left)} of {len(names)} stay stale:")
        print("\n".join(f"  {name}: {hindrance}" for name, hindrance in left.items()))
    else:
        print(f"{len(names)} artefacts, none stale")
    return int(any(hindrance.startswith("failed") for hindrance in left.values()))


def chosen(artefacts: Artefacts, patterns: Sequence[str]) -> list[str]:
    """The names that `patterns` mean, in the order of making; all where there are none.

    Raises:
        KeyError: a pattern means none.
    """
    found = {pattern: fnmatch.filter(artefacts.table, pattern) for pattern in patterns or ["*"]}
    if empty := [pattern for pattern, names in found.items() if not names]:
        raise KeyError(*empty)
    return [name for name in artefacts.table if any(name in names for names in found.values())]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="artefacts, with wildcards; default: all")
    doing = parser.add_mutually_exclusive_group()
    doing.add_argument("--list", action="store_true", help="make nothing, say what is stale and why")
    doing.add_argument("--accept", metavar="REASON", help="make nothing, note that these are still right")
    arguments = parser.parse_args(words)
    try:
        artefacts = Artefacts(ROOT, ARTEFACTS)
    except CourseError as error:
        parser.error(str(error))
    if arguments.accept is not None and not (arguments.accept.strip() and arguments.names):
        parser.error("--accept needs a reason and names: the reason is kept in the lock")
    try:
        names = chosen(artefacts, arguments.names)
    except KeyError as error:
        parser.error(f"no artefact is called {error.args[0]}; there are {', '.join(artefacts.table)}")
    try:
        if arguments.accept:
            return accept(artefacts, names, arguments.accept)
        if arguments.list:
            return list_stale(artefacts, names)
        return make(artefacts, artefacts.with_ancestors(names))
    except KeyboardInterrupt:
        print("\nstopped; what was finished is noted, run it again to go on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
