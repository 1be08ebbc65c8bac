"""Running commands inside the tests' own process."""

from pathlib import Path

from kolors_course.cli import main


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def command(*arguments) -> list[str]:
    return [str(argument) for argument in arguments]


def refused(capsys, *arguments) -> str:
    """Run a command that must fail, and return its one line."""
    capsys.readouterr()
    assert main(command(*arguments)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert error.endswith("\n")
    return error
