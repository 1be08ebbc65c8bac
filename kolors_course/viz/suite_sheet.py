"""Pictures of a task of the prompt benchmark: right ones above, wrong ones below, with what was asked."""

from collections.abc import Sequence

from PIL import Image

from kolors_course.evaluation.suite import Answer
from kolors_course.viz.figures import picture_grid, stack

COLUMNS = 8


def suite_sheet(answers: Sequence[Answer], pictures: Sequence[Image.Image], rows: int = 2) -> Image.Image:
    """The first right pictures and the first wrong ones of one task.

    Args:
        rows: of each, at most.
    """
    pairs = list(zip(answers, pictures, strict=True))
    sheets = []
    for right, name in ((True, "right\n对"), (False, "wrong\n错")):
        chosen = [(answer, picture) for answer, picture in pairs if answer.right is right][: rows * COLUMNS]
        sheets += [_row(chosen[i : i + COLUMNS], name) for i in range(0, len(chosen), COLUMNS)]
    return stack(sheets)


def _row(chosen: Sequence[tuple[Answer, Image.Image]], name: str) -> Image.Image:
    missing = COLUMNS - len(chosen)
    return picture_grid(
        [*(picture for _, picture in chosen), *[None] * missing],
        COLUMNS,
        row_labels=[name],
        column_labels=[*(_label(answer) for answer, _ in chosen), *[""] * missing],
    )


def _label(answer: Answer) -> str:
    """The prompt, and which facts the probe misses, those that the task does not ask for among them."""
    wrong = ", ".join(name for name, right in answer.facts.items() if not right)
    return f"{f'not: {wrong}' if wrong else 'all right'}\n{answer.asked.prompt}"
