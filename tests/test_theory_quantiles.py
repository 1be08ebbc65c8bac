"""The exact path of one number, against a formula and against a black-box solver."""

import pytest
import torch

from kolors_course.diffusion import probability_flow
from kolors_course.errors import CourseError
from kolors_course.theory.convergence import even_schedule
from kolors_course.theory.quantiles import quantile_path, share_left
from kolors_course.theory.teachers import Mixture, eight_gaussians, gaussian_path

X = torch.tensor([[-3.0], [-0.4], [0.1], [2.5]], dtype=torch.float64)


def test_of_a_gaussian_it_is_the_formula():
    mean = torch.tensor([0.7], dtype=torch.float64)
    found = quantile_path(Mixture(mean[None], 0.4), X, 3.0, 0.1)
    torch.testing.assert_close(found, gaussian_path(X, mean, 0.4, 3.0, 0.1))


def test_of_a_mixture_it_is_where_the_solver_arrives():
    mixture = Mixture(torch.tensor([[-1.4], [0.9]], dtype=torch.float64), 0.3, torch.tensor([0.3, 0.7]))
    schedule = even_schedule()
    states = list(
        probability_flow(mixture.denoiser(schedule), X, schedule, 20, spacing="trailing", tolerance=1e-9)
    )
    first, last = states[0], states[-2]
    start, end = (state.sample * (state.sigma**2 + 1) ** 0.5 for state in (first, last))
    # The timesteps that the model is told are float32.
    torch.testing.assert_close(
        quantile_path(mixture, start, first.sigma, last.sigma), end, rtol=1e-6, atol=1e-6
    )
    assert share_left(mixture, torch.tensor([[-100.0], [100.0]]), 1.0).tolist() == [0, 1]


def test_a_plane_has_no_left_and_right():
    with pytest.raises(CourseError, match="2 dimensions"):
        quantile_path(eight_gaussians(), torch.zeros(1, 2), 1.0, 0.1)
