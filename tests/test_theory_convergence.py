"""The order of convergence of every sampler, measured where the answer is known."""

from functools import partial

import pytest
import torch

from kolors_course.diffusion import (
    ddim,
    ddpm,
    dpmpp_2m,
    euler,
    euler_ancestral,
    heun,
    probability_flow,
    reverse_sde,
    unipc,
)
from kolors_course.errors import CourseError
from kolors_course.theory.convergence import Convergence, measure_convergence, measure_weak_convergence

unipc_1, unipc_3 = partial(unipc, solver_order=1), partial(unipc, solver_order=3)


@pytest.mark.parametrize(
    ("sampler", "order", "tolerance"),
    [
        pytest.param(euler, 1, 0.05, id="euler"),
        pytest.param(ddim, 1, 0.05, id="ddim"),
        pytest.param(heun, 2, 0.1, id="heun"),
        pytest.param(dpmpp_2m, 2, 0.1, id="dpm++2m"),
        # UniPC-p is of order p + 1 (arXiv 2302.04867, section 3): the corrector adds one.
        pytest.param(unipc_1, 2, 0.1, id="unipc-1"),
        pytest.param(unipc, 3, 0.1, id="unipc-2"),
        pytest.param(unipc_3, 4, 0.3, id="unipc-3"),
    ],
)
def test_order_of_the_ode_solvers(sampler, order, tolerance):
    measured = measure_convergence(sampler)
    assert measured.order == pytest.approx(order, abs=tolerance)
    assert list(measured.errors) == sorted(measured.errors, reverse=True)


def test_higher_order_costs_less_error_at_the_same_number_of_model_calls():
    errors = {
        "euler": measure_convergence(euler).errors[1],  # 40 calls
        "heun": measure_convergence(heun).errors[0],  # 20 steps of two calls
        "dpm++2m": measure_convergence(dpmpp_2m).errors[1],
        "unipc": measure_convergence(unipc).errors[1],
    }
    assert list(errors) == sorted(errors, key=errors.get, reverse=True)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
def test_black_box_solver_keeps_its_tolerance(tolerance):
    measured = measure_convergence(partial(probability_flow, tolerance=tolerance), (20, 40))
    # The tolerance is that of one step of many. Points of the schedule are told to 1e-7.
    assert max(measured.errors) < 10 * tolerance + 1e-6


@pytest.mark.parametrize(
    "sampler",
    [
        pytest.param(ddpm, id="ddpm"),
        pytest.param(euler_ancestral, id="euler-ancestral"),
        pytest.param(reverse_sde, id="reverse-sde"),
        pytest.param(partial(ddim, eta=0.5), id="ddim-0.5"),
    ],
)
def test_samplers_with_noise_are_of_weak_order_one(sampler):
    generator = torch.Generator().manual_seed(0)
    measured = measure_weak_convergence(sampler, generator=generator, samples=50_000)
    # 50 000 draws tell a variance to 0.6 %, a tenth of the smallest error; and 20 steps are few for an asymptote.
    assert measured.order == pytest.approx(1, abs=0.35)
    assert measured.errors[0] > 0.1


def test_order_is_the_slope():
    assert Convergence((10, 20, 40), (8.0, 1.0, 0.125)).order == pytest.approx(3)


@pytest.mark.parametrize("sizes", [(20,), (20, 30), (7, 14), (0, 20)])
def test_sizes_that_do_not_meet_are_refused(sizes):
    with pytest.raises(CourseError, match="multiples of the first that divide 960"):
        measure_convergence(euler, sizes)
