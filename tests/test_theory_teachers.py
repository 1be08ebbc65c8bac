"""Data sets of the plane, the measures, and the exact teachers against brute force."""

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from kolors_course.diffusion import (
    PREDICTION_TYPES,
    NoiseSchedule,
    euler,
    flow_euler,
    probability_flow,
    score,
)
from kolors_course.errors import CourseError
from kolors_course.theory import toys
from kolors_course.theory.measures import energy_distance, modes_covered
from kolors_course.theory.teachers import (
    Mixture,
    eight_gaussians,
    gaussian_denoiser,
    gaussian_path,
    ideal_denoiser,
)

KOLORS = NoiseSchedule.kolors()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uneven() -> Mixture:
    means = torch.tensor([[0.0, 1.0], [2.0, -1.0], [-1.0, -1.0]], dtype=torch.float64)
    std = torch.tensor([[0.3, 0.2], [0.5, 0.1], [0.2, 0.2]], dtype=torch.float64)
    return Mixture(means, std, torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64))


# --- Data ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", toys.TOYS)
def test_toys_are_reproducible_labelled_and_of_a_fit_size(name):
    toy = toys.get_toy(name)
    points, labels = toy(2000, seeded())
    assert points.shape == (2000, 2)
    assert points.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert labels.unique().tolist() == list(range(int(labels.max()) + 1))
    assert 0.5 < points.std() < 1.5
    assert points.mean(dim=0).abs().max() < 0.3
    assert points.abs().max() < 2.6
    assert torch.equal(toy(2000, seeded())[0], points)
    assert not torch.equal(toy(2000, seeded(1))[0], points)


def test_labels_tell_parts_apart():
    points, labels = toys.eight_gaussians(2000, seeded())
    assert torch.equal(torch.cdist(points, toys.eight_centres()).argmin(dim=1), labels)
    points, labels = toys.checkerboard(2000, seeded())
    for square in range(8):
        corner = (points[labels == square] + 2).floor()
        assert len(corner.unique(dim=0)) == 1
        assert corner[0].sum() % 2 == 0


def test_unknown_toy_lists_the_names():
    with pytest.raises(CourseError, match='"moons".*two_moons'):
        toys.get_toy("moons")


# --- Measures -----------------------------------------------------------------------------------------


def test_modes_are_counted_where_enough_points_are_near():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = torch.cat([torch.zeros(98, 2), torch.tensor([[10.0, 0.2], [5.0, 5.0]])])
    assert modes_covered(points, centres, std=0.1) == 2  # 1 of 100 points is just enough
    assert modes_covered(points, centres, std=0.05) == 1
    assert modes_covered(points, centres, std=0.1, least_share=0.02) == 1


def test_energy_distance_against_the_closed_form():
    """For two points: X = 0, Y = d gives 2d; for shifted normal clouds it is small at no shift and grows with it."""
    first, second = torch.zeros(5, 2), torch.tensor([[3.0, 4.0]]).expand(5, 2)
    assert energy_distance(first, second) == pytest.approx(10, rel=1e-5)
    clouds = torch.randn(3, 1000, 2, generator=seeded())
    same, near, far = (energy_distance(clouds[0], clouds[1] + shift) for shift in (0.0, 0.5, 1.0))
    assert abs(same) < 0.01 < near < far
    with pytest.raises(CourseError, match="1 and 5 points"):
        energy_distance(first[:1], second)


# --- Teachers -----------------------------------------------------------------------------------------


def test_density_equals_torchs():
    mixture = uneven()
    x = torch.randn(50, 2, generator=seeded(), dtype=torch.float64)
    for α, σ in ((1.0, 0.0), (0.6, 0.8), (1.0, 3.0), (0.0, 1.0)):
        std = (α**2 * mixture.std**2 + σ**2).sqrt()
        parts = Independent(Normal(α * mixture.means, std), 1)
        expected = MixtureSameFamily(Categorical(mixture.weights), parts).log_prob(x)
        torch.testing.assert_close(mixture.log_density(x, α, σ), expected)


@pytest.mark.parametrize(("α", "σ"), [(1.0, 0.4), (0.8, 0.6), (0.1, 0.995)])
def test_posterior_mean_equals_brute_force(α, σ):
    """E[x₀|x] = ∫x₀·p(x₀)·p(x|x₀) / ∫p(x₀)·p(x|x₀), on a fine grid."""
    mixture, axis = uneven(), torch.linspace(-6, 6, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    prior = mixture.log_density(grid)
    x = torch.tensor([[0.3, 0.2], [-1.0, 0.0], [1.5, -2.0]], dtype=torch.float64)
    posterior = (prior - ((x[:, None] - α * grid) ** 2).sum(dim=2) / (2 * σ**2)).softmax(dim=1)
    torch.testing.assert_close(mixture.posterior_mean(x, α, σ), posterior @ grid, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("timestep", [5.0, 300.5, 1099.0])
def test_ideal_denoiser_equals_brute_force(timestep):
    """Weights by hand: p(point|x) ∝ exp(-|x - α·point|²/2σ²); pictures of any shape."""
    pictures = torch.randn(20, 3, 2, 2, generator=seeded(), dtype=torch.float64)
    x = torch.randn(4, 3, 2, 2, generator=seeded(1), dtype=torch.float64)
    σ_rel = KOLORS.sigma(torch.tensor(timestep)).item()
    α, σ = 1 / (σ_rel**2 + 1) ** 0.5, σ_rel / (σ_rel**2 + 1) ** 0.5
    expected = []
    for sample in x:
        closeness = torch.stack([-(sample - α * picture).square().sum() / (2 * σ**2) for picture in pictures])
        weights = (closeness - closeness.max()).exp()
        x0 = (weights / weights.sum()).view(-1, 1, 1, 1).mul(pictures).sum(dim=0)
        expected.append((sample - α * x0) / σ)
    noise = ideal_denoiser(pictures, KOLORS)(x, torch.tensor(timestep))
    torch.testing.assert_close(noise, torch.stack(expected), rtol=1e-6, atol=1e-8)


def test_ideal_denoiser_can_only_draw_its_data():
    data = toys.eight_centres()
    *_, last = euler(ideal_denoiser(data, KOLORS), torch.randn(100, 2, generator=seeded(1)), KOLORS, 50)
    distance, drawn = torch.cdist(last.sample, data).min(dim=1)
    assert distance.max() < 1e-3
    assert len(drawn.unique()) == 8


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_teachers_draw_the_data_in_every_way_of_predicting(prediction_type):
    mixture = eight_gaussians()
    denoise = mixture.denoiser(KOLORS, prediction_type)
    noise = torch.randn(1000, 2, generator=seeded(2))
    *_, last = euler(denoise, noise, KOLORS, 40, prediction_type=prediction_type)
    data, _ = toys.eight_gaussians(1000, seeded(3))
    # Two clouds of 1000 points of the same distribution differ by about 0.003 here.
    assert energy_distance(last.sample, data) < 0.02
    assert modes_covered(last.sample, toys.eight_centres(), toys.BLOB_STD) == 8


def test_noise_is_the_score_but_for_a_factor():
    """∇log p(x_t) = -ε/σ, with the gradient taken by autograd."""
    mixture, t = eight_gaussians(), torch.tensor(400.0)
    σ = KOLORS.sigma(t).item()
    α, σ = 1 / (σ**2 + 1) ** 0.5, σ / (σ**2 + 1) ** 0.5
    x = torch.randn(20, 2, generator=seeded()).requires_grad_()
    (gradient,) = torch.autograd.grad(mixture.log_density(x, α, σ).sum(), x)
    torch.testing.assert_close(
        score(mixture.denoiser(KOLORS)(x.detach(), t), σ), gradient, rtol=1e-4, atol=1e-4
    )


def test_timesteps_may_differ_by_sample():
    denoise, x = eight_gaussians().denoiser(KOLORS), torch.randn(3, 2, generator=seeded())
    timesteps = torch.tensor([3.0, 400.5, 1099.0])
    together = denoise(x, timesteps)
    alone = [denoise(x[i : i + 1], timesteps[i]) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_gaussian_path_is_where_the_ode_leads():
    mean, std = torch.tensor([1.0, -2.0], dtype=torch.float64), torch.tensor([0.5, 2.0], dtype=torch.float64)
    noise = torch.randn(5, 2, generator=seeded(), dtype=torch.float64)
    first, *_, last, _ = probability_flow(
        gaussian_denoiser(KOLORS, mean, std), noise, KOLORS, 6, tolerance=1e-8
    )
    start, end = (state.sample * (state.sigma**2 + 1) ** 0.5 for state in (first, last))
    exact = gaussian_path(start, mean, std, first.sigma, last.sigma)
    # Points of the schedule are told to the model in float32.
    torch.testing.assert_close(end, exact, rtol=1e-5, atol=1e-5)


def test_velocity_is_right_at_both_ends_and_draws_the_data():
    mixture = eight_gaussians()
    velocity, x = mixture.velocity(), torch.randn(1000, 2, generator=seeded())
    mean = mixture.means.mean(dim=0)
    torch.testing.assert_close(velocity(x, torch.tensor(1.0)), x - mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(velocity(x, torch.tensor(0.0)), -x, atol=1e-5, rtol=1e-5)
    between = velocity(x, torch.tensor(0.4))
    x0 = mixture.posterior_mean(x, 0.6, 0.4)
    torch.testing.assert_close(between, (x - 0.6 * x0) / 0.4 - x0, atol=1e-4, rtol=1e-4)
    *_, last = flow_euler(velocity, x, 60)
    assert energy_distance(last.sample, toys.eight_gaussians(1000, seeded(3))[0]) < 0.02


def test_samples_of_a_mixture_have_its_moments():
    x, mode = uneven().sample(40_000, seeded())
    for k in range(3):
        share = (mode == k).double().mean().item()
        assert share == pytest.approx(uneven().weights[k].item(), abs=0.01)
        torch.testing.assert_close(x[mode == k].mean(dim=0), uneven().means[k], atol=0.02, rtol=0)
        torch.testing.assert_close(x[mode == k].std(dim=0), uneven().std[k], atol=0.01, rtol=0)


@pytest.mark.parametrize(
    "arguments",
    [
        {"means": torch.zeros(3)},
        {"means": torch.zeros(3, 2), "std": -1.0},
        {"means": torch.zeros(3, 2), "weights": torch.ones(2)},
        {"means": torch.zeros(3, 2), "weights": torch.tensor([1.0, 0.0, 1.0])},
    ],
)
def test_bad_mixtures_are_refused(arguments):
    with pytest.raises(CourseError, match=r"mixture|means"):
        Mixture(**arguments)
