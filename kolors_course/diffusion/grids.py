"""At which timesteps a sampler looks: N of the T that the model was trained with."""

from numbers import Integral

import numpy as np

from kolors_course.diffusion.choices import SPACINGS
from kolors_course.errors import CourseError

_KARRAS_RHO = 7.0


def place(T: int, N: int, spacing: str, steps_offset: int) -> np.ndarray:
    """N timesteps of 0 … T-1, most noisy first (arXiv 2305.08891, Table 2).

    Raises:
        CourseError: the spacing is unknown or N timesteps do not fit.
    """
    check_steps(N)
    points: np.ndarray
    if spacing == "leading":
        points = np.arange(N)[::-1] * (T // N) + steps_offset
    elif spacing == "trailing":
        # np.arange now and then makes one value too many, because its step is rounded.
        points = np.arange(T, 0, -T / N)[:N].round() - 1
    elif spacing == "linspace":
        points = np.linspace(0, T - 1, N)[::-1]
    else:
        raise CourseError(f'unknown timestep spacing "{spacing}"; choose one of {", ".join(SPACINGS)}')
    if N > T or points[0] >= T or points[-1] < 0:
        raise CourseError(
            f"{N} timesteps do not fit on a schedule of {T} with {spacing} spacing and "
            f"steps_offset {steps_offset}; lower num_inference_steps or the offset"
        )
    return points


def place_consistency(T: int, N: int, original_inference_steps: int) -> np.ndarray:
    """N of the timesteps that an LCM was distilled on (arXiv 2310.04378, section 4.3): every (T // original)-th.

    Raises:
        CourseError: N is more than `original_inference_steps`, or that more than T.
    """
    check_steps(N)
    if not N <= original_inference_steps <= T:
        raise CourseError(
            f"{N} of {original_inference_steps} distilled timesteps on a schedule of {T}: "
            "give num_inference_steps <= original_inference_steps <= the schedule's timesteps"
        )
    distilled = np.arange(original_inference_steps, 0, -1) * (T // original_inference_steps) - 1
    return distilled[
        np.floor(np.linspace(0, original_inference_steps, N, endpoint=False)).astype(int)
    ].astype(float)


def karras_levels(largest: float, smallest: float, N: int) -> np.ndarray:
    """N noise levels evenly spaced in σ^(1/7), largest first (arXiv 2206.00364, eq. 5)."""
    check_steps(N)
    high, low = largest ** (1 / _KARRAS_RHO), smallest ** (1 / _KARRAS_RHO)
    return (high + np.linspace(0, 1, N) * (low - high)) ** _KARRAS_RHO


def check_steps(num_inference_steps: int) -> None:
    """Refuse a number of steps that is none.

    Raises:
        CourseError: it is not a whole number of at least 1.
    """
    if not isinstance(num_inference_steps, Integral) or num_inference_steps < 1:
        raise CourseError(f"num_inference_steps is {num_inference_steps!r}; give a whole number above 0")
