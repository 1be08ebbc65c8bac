"""FID, KID and CMMD: exact answers, the biases of theory, and the same numbers as torchmetrics."""

import pytest
import torch
from torch import Tensor, nn

from kolors_course.art import find_subject, render
from kolors_course.art.scene import Scene
from kolors_course.evaluation import (
    Probe,
    ProbeFeatures,
    clip_mmd,
    frechet_distance,
    frechet_infinity,
    kernel_distance,
    kernel_interval,
    load_probe,
    picture_features,
    pixel_vectors,
    spread,
)
from kolors_course.evaluation.features import SCALE
from kolors_course.evaluation.probes import pixels_of
from kolors_course.platform.paths import data_dir


def normal(count: int, width: int, seed: int) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def white(count: int, width: int, seed: int = 0) -> Tensor:
    """Points whose mean is 0 and whose covariance is I, exactly."""
    points = normal(count, width, seed)
    points -= points.mean(0)
    return points @ torch.linalg.inv(torch.linalg.cholesky(points.T @ points / (count - 1))).T


def test_fid_of_two_gaussians_by_hand():
    points = white(50, 4)
    scales = torch.tensor([1.0, 2.0, 3.0, 0.5]).double()
    shift = torch.tensor([1.0, 0.0, -2.0, 0.0]).double()
    # Of diagonal covariances: |μ₁ − μ₂|² + Σ (σ₁ − σ₂)².
    assert frechet_distance(points, white(70, 4, 1) * scales + shift) == pytest.approx(5 + 0 + 1 + 4 + 0.25)
    assert frechet_distance(points, points) == pytest.approx(0, abs=1e-12)


def test_fid_of_covariances_that_share_no_axes():
    root = torch.tensor([[2.0, 0.0], [1.0, 1.0]]).double()
    other = torch.tensor([[4.0, 2.0], [2.0, 2.0]]).double()  # root rootᵀ
    # Against I, Tr (Σ)^½ of a 2 x 2 matrix is √(Tr Σ + 2√det Σ).
    expected = 2 + 6 - 2 * (other.trace() + 2 * other.det().sqrt()).sqrt()
    assert frechet_distance(white(30, 2), white(30, 2, 1) @ root.T) == pytest.approx(float(expected))


def test_fid_of_fewer_points_than_features_is_exact():
    # All of it lies in two dimensions: two clouds on lines at right angles share nothing.
    line = torch.tensor([-1.0, 0.0, 1.0]).double()[:, None]
    east, north = line * torch.eye(64).double()[0], line * torch.eye(64).double()[1]
    assert frechet_distance(east, north) == pytest.approx(2.0, abs=1e-12)
    assert frechet_distance(east, 3 * east) == pytest.approx(4.0, abs=1e-12)


def test_the_bias_of_fid_is_that_of_theory():
    width, count = 16, 800
    values = torch.tensor(
        [frechet_distance(normal(count, width, i), normal(count, width, 100 + i)) for i in range(20)]
    )
    assert values.mean() == pytest.approx((width**2 + 5 * width) / (2 * count), rel=0.05)


def test_fid_infinity_takes_the_bias_away():
    width, count = 16, 800
    one, two = normal(count, width, 0), normal(count, width, 1)
    plain, line = frechet_distance(one, two), frechet_infinity(one, two, torch.Generator().manual_seed(0))
    assert abs(line) < plain / 5
    assert frechet_infinity(one, two + 1, torch.Generator().manual_seed(0)) == pytest.approx(width, rel=0.15)


def test_kid_by_hand():
    one, two = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [-1.0]])
    # (xy + 1)³: k(0, 1) = 1; k(2, -1) = -1; between: 1, 1, 27, 0.
    assert kernel_distance(one, two) == pytest.approx(1 - 1 - 2 * 29 / 4)


def test_kid_is_zero_on_the_average():
    values = torch.tensor([kernel_distance(normal(100, 16, i), normal(100, 16, 500 + i)) for i in range(200)])
    assert abs(values.mean()) < 3 * values.std() / 200**0.5
    assert (values < 0).any()
    assert (values > 0).any()


def test_shuffling_says_what_is_chance():
    one, two = normal(80, 8, 0), normal(120, 8, 1)
    low, high = kernel_interval(one, two, torch.Generator().manual_seed(0))
    assert low < kernel_distance(one, two) < high
    assert low < 0 < high
    moved = two + 0.5
    assert kernel_distance(one, moved) > kernel_interval(one, moved, torch.Generator().manual_seed(0))[1]


def test_cmmd_by_hand():
    one, two = torch.zeros(2, 3), torch.full((3, 3), 10.0)
    expected = 1000 * (2 - 2 * torch.exp(torch.tensor(-300 / 200.0)))
    assert clip_mmd(one, two) == pytest.approx(float(expected))
    assert clip_mmd(one, one) == pytest.approx(0)


def test_the_same_as_torchmetrics_on_the_probe():
    fid = pytest.importorskip("torchmetrics.image.fid")
    kid = pytest.importorskip("torchmetrics.image.kid")
    probe = load_probe(data_dir() / "probes" / "probe.safetensors")
    subjects, count = ("cat", "dog", "bus", "owl"), 12
    scenes = [Scene((find_subject(subjects[i % 4]),), "snow", "night", seed=i) for i in range(count)]
    sets = [[render(scene, 64, style) for scene in scenes] for style in ("colour", "ink")]
    one, two = (picture_features(probe, each) for each in sets)
    theirs = (
        fid.FrechetInceptionDistance(feature=ProbeFeatures(probe)),
        kid.KernelInceptionDistance(feature=ProbeFeatures(probe), subsets=1, subset_size=count),
    )
    for metric in theirs:
        with torch.no_grad():
            metric.update(pixels_of(sets[0]), real=True)
            metric.update(pixels_of(sets[1]), real=False)
    assert frechet_distance(one, two) == pytest.approx(float(theirs[0].compute()), rel=1e-3)
    assert kernel_distance(one, two) == pytest.approx(float(theirs[1].compute()[0]), rel=1e-3)


def test_the_same_as_torchmetrics_on_points():
    fid = pytest.importorskip("torchmetrics.image.fid")
    kid = pytest.importorskip("torchmetrics.image.kid")
    one, two = normal(60, 8, 0), normal(60, 8, 1) * 2 + 1
    points = nn.Identity()
    points.num_features = 8
    for ours, metric in (
        (frechet_distance, fid.FrechetInceptionDistance(feature=points)),
        (kernel_distance, kid.KernelInceptionDistance(feature=points, subsets=1, subset_size=60)),
    ):
        metric.set_dtype(torch.float64)
        metric.update(one, real=True)
        metric.update(two, real=False)
        theirs = metric.compute()
        assert ours(one, two) == pytest.approx(
            float(theirs[0] if isinstance(theirs, tuple) else theirs), rel=1e-5
        )


def test_features_are_those_that_the_heads_see():
    torch.manual_seed(0)
    probe = Probe().eval()
    pictures = [render(Scene((find_subject("cat"),), "snow", "night", seed=i), 128) for i in range(3)]
    found = picture_features(probe, pictures, batch_size=2)
    assert found.shape == (3, ProbeFeatures(probe).num_features)
    torch.testing.assert_close(
        probe.heads["place"](SCALE * found.float()), probe(pixels_of(pictures))["place"], rtol=1e-4, atol=1e-4
    )
    assert picture_features(probe, []).shape == (0, 256)
    vectors = pixel_vectors(pictures)
    assert torch.pdist(vectors).mean() == pytest.approx(spread(pictures))


@pytest.mark.parametrize(
    ("one", "two", "match"),
    [
        (torch.zeros(1, 3), torch.zeros(5, 3), "at least 2 points"),
        (torch.zeros(5), torch.zeros(5), "at least 2 points"),
        (torch.zeros(5, 3), torch.zeros(5, 4), "of 4 and of 3 features"),
        (torch.full((5, 3), torch.nan), torch.zeros(5, 3), "not finite"),
    ],
)
def test_what_has_no_distance_is_refused(one, two, match):
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(ValueError, match=match):
            distance(one, two)
