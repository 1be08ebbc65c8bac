"""How a formula is judged: by what it computes, and by the slip that it looks like."""

import pytest
import torch

from kolors_course.exercises.feedback import Mistake
from kolors_course.exercises.formulas import Slip, compare

CASES = ((1.0, 2.0), (3.0, 4.0))
SLIPS = (Slip(lambda a, b: a - b, "minus", "减"),)


def total(a, b):
    return a + b


def test_what_agrees_passes():
    assert compare(total, total, CASES, SLIPS) is None
    assert compare(lambda a, b: torch.tensor(a + b), total, CASES, SLIPS) is None
    assert compare(lambda a, b: [a, b], lambda a, b: (a, b), CASES, ()) is None


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        (lambda a, b: a - b, "Not yet. minus\n还不对。减"),
        (lambda a, b: a + b if a < 2 else 0.0, r"For \(3, 4\) the answer is 0; right is 7"),
        (lambda a, b: None, "gives back None"),
        (lambda a, b: torch.tensor([a, b]), r"shape \(2,\), not \(\)"),
        (lambda a, b: float("nan"), "the answer is nan"),
    ],
)
def test_what_differs_is_explained(formula, message):
    with pytest.raises(Mistake, match=message):
        compare(formula, total, CASES, SLIPS)


def test_two_answers_must_be_two():
    with pytest.raises(Mistake, match="Return 2 tensors"):
        compare(total, lambda a, b: (a, b), CASES, ())


def test_a_slip_must_fit_all_cases():
    with pytest.raises(Mistake, match="the answer is -1; right is 3"):
        compare(lambda a, b: a - b if a < 2 else 9.0, total, CASES, SLIPS)


def test_long_tensors_are_shown_short():
    zeros = torch.zeros(6)
    with pytest.raises(Mistake, match=r"For \(\[0, 0, 0, 0, …\]\) the answer is \[1, 1, 1, 1, …\]"):
        compare(lambda x: x + 1, lambda x: x, [(zeros,)], ())
