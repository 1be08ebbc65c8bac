"""The house is kept: one name is one thing."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import kolors_course

PACKAGE = Path(kolors_course.__file__).parent
FAMILIES = {
    "run",  # of a command, each in its own module
    "add_arguments",  # the flags of a command, each in its own module
    "main",  # of a program
    "eight_gaussians",  # the same distribution, as points and as a density; a lesson compares the two
}


def public_names(tree: ast.Module) -> Iterator[str]:
    """Functions, classes and types that a module defines at its top level; a type variable stands for any type."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
            names = [name for name in targets if name[0].isupper() and not name.isupper()]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


def test_a_public_name_is_defined_once():
    modules = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in set(public_names(ast.parse(path.read_text(encoding="utf-8")))) - FAMILIES:
            modules[name].append(path.relative_to(PACKAGE).as_posix())
    assert {name: paths for name, paths in modules.items() if len(paths) > 1} == {}
    assert modules["KolorsModel"] == ["kolors/model.py"]
    assert modules["Severity"] == ["dataset/report.py"]


def test_two_definitions_of_a_name_are_seen():
    tree = ast.parse("class Panel: ...\ndef draw(): ...\nField = int\nSIDE = 3\nT = 4\n_Own = str")
    assert list(public_names(tree)) == ["Panel", "draw", "Field"]
