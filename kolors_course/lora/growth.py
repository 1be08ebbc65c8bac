"""How much memory the work on a small file may take."""

from torch import Tensor

from kolors_course.errors import CourseError

GROWTH = 16
MOST_NUMBERS = 2**26  # Kolors' largest layer has 2**24


def check_growth(numbers: int, source: int) -> None:
    """Refuse work on a small file that would need memory without end.

    Args:
        numbers: that are about to be made of `source` numbers of a file.

    Raises:
        CourseError: more than `GROWTH` times as many, and more than the largest layer of Kolors has.
    """
    if numbers > max(GROWTH * source, MOST_NUMBERS):
        raise CourseError(
            f"its {source:,} numbers would become {numbers:,}: its ranks and shapes are not those of a LoRA of Kolors"
        )


def product(one: Tensor, two: Tensor) -> Tensor:
    """The matrix product of two factors, (a, r) and (r, b), unless it is larger than a layer of Kolors.

    Raises:
        CourseError: it is; see `check_growth`.
    """
    check_growth(len(one) * two.shape[1], 0)
    return one @ two
