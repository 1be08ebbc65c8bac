"""Exercises as they stand in the notebooks: the cells, their solutions, and which other cells a cell needs."""

import ast
import dis
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

import nbformat

SOLUTION = re.compile(
    r"\A<details><summary>Solution</summary>\n\n```python\n(.*?)\n```\n.*?</details>", re.DOTALL
)


@dataclass(frozen=True)
class ExerciseCell:
    """An exercise: its cell, what it printed when it was rendered, and the text cell behind it."""

    number: int  # of the cell in its notebook
    source: str
    printed: str
    behind: str

    @property
    def last(self) -> ast.stmt:
        return ast.parse(self.source).body[-1]

    @property
    def name(self) -> str:
        """What is to be answered; the last statement is `name = check_something(name, ...)`."""
        match self.last:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(func=ast.Name(id=check), args=[ast.Name(id=given), *_]),
            ) if name == given and check.startswith("check_"):
                return name
        raise AssertionError(f"the last line is not `answer = check_…(answer, …)`: {ast.unparse(self.last)}")

    @property
    def answer(self) -> ast.stmt:
        """The statement that is to be replaced."""
        *before, _ = ast.parse(self.source).body
        return next(statement for statement in reversed(before) if self.name in bound(ast.unparse(statement)))

    @property
    def solution(self) -> str:
        found = SOLUTION.match(self.behind)
        assert found, f"no solution right behind: {self.behind[:80]}"
        return found[1]

    def answered(self, answer: str) -> str:
        """The cell with this answer in it."""
        lines = self.source.splitlines()
        at = self.last.lineno - 1
        return "\n".join((*lines[:at], *answer.splitlines(), *lines[at:]))


def exercises_of(path: Path) -> list[ExerciseCell]:
    cells = nbformat.read(path, as_version=4).cells
    return [
        ExerciseCell(number, cell.source, _printed(cell), cells[number + 1].source)
        for number, cell in enumerate(cells)
        if "exercise" in cell.metadata.get("tags", [])
    ]


def _printed(cell: nbformat.NotebookNode) -> str:
    return "\n".join(output.get("text") or output.data["text/plain"] for output in cell.outputs)


def bound(source: str) -> set[str]:
    """Names that a cell binds."""
    return {step.argval for step in dis.get_instructions(_compiled(source)) if step.opname == "STORE_NAME"}


def free(source: str) -> set[str]:
    """Names that a cell needs from the cells before it."""
    own, names = set(), set()
    for step in dis.get_instructions(_compiled(source)):
        if step.opname == "STORE_NAME":
            own.add(step.argval)
        elif step.opname == "LOAD_NAME" and step.argval not in own:
            names.add(step.argval)
    return names | (set(_globals(_compiled(source))) - own)


def needed(sources: Sequence[str], wanted: set[int]) -> list[int]:
    """The numbers of the cells that have to run so that the wanted ones can."""
    names: set[str] = set()
    found = []
    for number in range(len(sources) - 1, -1, -1):
        own = bound(sources[number])
        if number in wanted or own & names:
            names = (names - own) | free(sources[number])
            found.append(number)
    return found[::-1]


def _compiled(source: str) -> CodeType:
    return compile(source, "cell", "exec")


def _globals(code: CodeType) -> Iterator[str]:
    """Names that the functions of a cell look up when they run."""
    for inner in (constant for constant in code.co_consts if isinstance(constant, CodeType)):
        yield from (step.argval for step in dis.get_instructions(inner) if step.opname == "LOAD_GLOBAL")
        yield from _globals(inner)
