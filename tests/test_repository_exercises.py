"""The exercises of the notebooks: shipped empty, never given away, and right with the solution that stands behind."""

import ast
import io
from contextlib import redirect_stdout

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import pytest
import render_notebooks
import torch
from lessons import exercises_of, free, needed

PATHS = render_notebooks.find_notebooks()
EXERCISES = [
    pytest.param(one, id=f"{path.stem}-{one.number}") for path in PATHS for one in exercises_of(path)
]
# What notebooks may import from the room of the exercises, beside checks: no answers.
QUESTIONS = {"fast", "puzzle_scene", "progress_map", "CAMP_VALUES"}


def code_of(path):
    return [
        cell.source if cell.cell_type == "code" else "" for cell in nbformat.read(path, as_version=4).cells
    ]


def is_ellipsis(node):
    return isinstance(node, ast.Constant) and node.value is ...


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_notebook_has_exercises_and_every_check_is_in_one(path):
    cells = [one.number for one in exercises_of(path)]
    assert cells
    calls = [
        number
        for number, source in enumerate(code_of(path))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in checks_of(path)
    ]
    assert calls == cells


def checks_of(path):
    """Every name that a notebook imports from the room of the exercises."""
    return {
        alias.name
        for source in code_of(path)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kolors_course.exercises")
        for alias in node.names
    } - QUESTIONS


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_no_notebook_imports_an_answer(path):
    assert {name for name in checks_of(path) if not name.startswith("check_")} == set()


@pytest.mark.parametrize("exercise", EXERCISES)
def test_no_exercise_is_shipped_solved(exercise):
    assert any(map(is_ellipsis, ast.walk(exercise.answer))), "there is no ... to fill in"
    if isinstance(exercise.answer, ast.FunctionDef):
        (only,) = exercise.answer.body
        assert is_ellipsis(only.value)
    assert "Yours to write. Hint: " in exercise.printed


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_solution_is_right_and_the_cells_below_run_with_it(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("KOLORS_COURSE_FAST", "1")
    monkeypatch.setattr(matplotlib.rcParams, "backend", "agg", raising=False)
    sources, exercises = code_of(path), {one.number: one for one in exercises_of(path)}
    names = {one.name for one in exercises.values()}
    wanted = {number for number, source in enumerate(sources) if names & free(source)} | set(exercises)
    lesson, threads = {"__name__": "__main__"}, torch.get_num_threads()
    try:
        for number in needed(sources, wanted):
            one, said = exercises.get(number), io.StringIO()
            with redirect_stdout(said):
                exec(
                    compile(one.answered(one.solution) if one else sources[number], f"cell {number}", "exec"),
                    lesson,
                )
            assert not one or "\nRight. " in f"\n{said.getvalue()}", said.getvalue()
    finally:
        plt.close("all")
        torch.set_num_threads(threads)
