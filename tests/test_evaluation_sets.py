"""Precision, recall, density, coverage, Vendi score and copies: worked by hand, and as their papers promise."""

import pytest
import torch

from kolors_course.evaluation import (
    Manifold,
    expected_coverage,
    find_copies,
    manifold_scores,
    nearest_points,
    vendi_score,
)

LINE = torch.arange(6.0)[:, None]  # 0 1 2 3 4 5


def test_manifold_by_hand():
    # k = 1: real balls have radius 1. Made: one upon 2, one between 2 and 3, and two far away.
    made = torch.tensor([[2.0], [2.5], [100.0], [101.0]])
    scores = manifold_scores(LINE, made, nearest=1)
    # 2.0 lies in the ball of 2 alone (balls are open); 2.5 in those of 2 and of 3.
    assert scores.precision == 2 / 4
    assert scores.density == pytest.approx(3 / 4)
    assert scores.coverage == 2 / 6
    # Made balls have radius .5, .5, 1, 1: they hold the real 2 alone.
    assert scores.recall == 1 / 6


def test_the_real_points_themselves_are_perfect():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(100, 4, generator=generator)
    scores = manifold_scores(points, points)
    assert (scores.precision, scores.recall, scores.coverage) == (1.0, 1.0, 1.0)
    # Each ball holds its owner and the k - 1 within, not the one on its edge.
    assert scores.density == pytest.approx(1.0)


def test_far_away_is_zero():
    points = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert manifold_scores(points, points + 1000) == Manifold(0.0, 0.0, 0.0, 0.0)


def test_the_same_distribution_is_covered_as_its_lemma_says():
    assert expected_coverage(2, 2, 1) == pytest.approx(1 - 1 / 3)
    generator = torch.Generator().manual_seed(0)
    found = [manifold_scores(*torch.randn(2, 200, 8, generator=generator).unbind(0)) for _ in range(20)]
    coverage = sum(scores.coverage for scores in found) / len(found)
    assert coverage == pytest.approx(expected_coverage(200, 200), abs=0.01)
    assert expected_coverage(200, 200) == pytest.approx(1 - 0.5**5, abs=0.002)
    assert sum(scores.density for scores in found) / len(found) == pytest.approx(1, abs=0.05)


def test_one_far_point_is_no_coverage():
    # Recall is deceived by a single far point, whose ball holds everything; coverage is not.
    real = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    made = torch.cat(
        [torch.full((10, 4), 30.0) + torch.arange(10)[:, None] * 0.01, torch.full((1, 4), -30.0)]
    )
    scores = manifold_scores(real, made)
    assert scores.recall == 1.0
    assert scores.coverage == 0.0


@pytest.mark.parametrize("groups", [1, 3, 8])
def test_equal_groups_count_as_so_many(groups):
    points = torch.eye(8)[:groups].repeat(5, 1) * 7
    assert vendi_score(points) == pytest.approx(groups)
    narrow = points @ torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))[0]
    assert vendi_score(narrow) == pytest.approx(groups)  # turned, nothing changes


def test_vendi_of_unequal_groups_by_hand():
    points = torch.tensor([[1.0, 0.0]] * 3 + [[0.0, 1.0]])
    entropy = -(0.75 * torch.log(torch.tensor(0.75)) + 0.25 * torch.log(torch.tensor(0.25)))
    assert vendi_score(points) == pytest.approx(float(entropy.exp()))
    # Two at 60°: K/2 has the eigenvalues (1 ± ½)/2.
    pair = torch.tensor([[1.0, 0.0], [0.5, 0.75**0.5]])
    assert vendi_score(pair) == pytest.approx(float(entropy.exp()))


def test_a_point_without_direction_has_no_vendi():
    with pytest.raises(ValueError, match="no cosine"):
        vendi_score(torch.zeros(2, 3))


def test_the_nearest_by_hand():
    found = nearest_points(torch.tensor([[0.0], [3.6], [9.0]]), torch.tensor([[0.0], [4.0], [3.0], [11.0]]))
    assert found.index.tolist() == [0, 1, 3]
    assert found.distance.tolist() == pytest.approx([0.0, 0.4, 2.0])
    assert found.ratio.tolist() == pytest.approx([0.0, 0.4 / 0.6, 2 / 5])


def test_two_equal_training_pictures_hide_a_copy_from_the_ratio_only():
    found = nearest_points(torch.zeros(1, 1), torch.zeros(2, 1))
    assert (found.ratio.tolist(), found.distance.tolist()) == ([1.0], [0.0])


def test_copies_are_found_and_honest_pictures_are_not():
    generator = torch.Generator().manual_seed(0)
    training, held_out, honest = torch.randn(3, 400, 16, generator=generator).double().unbind(0)
    copied = training[:20] + 0.01
    found = find_copies(torch.cat([honest, copied]), held_out, training)
    assert set(range(400, 420)) <= set(found.suspects)
    assert set(found.suspects[:20]) == set(range(400, 420))  # the nearest first
    assert found.made.index[400:].tolist() == list(range(20))
    assert (len(found.suspects) - 20) / 400 < 0.1  # about RARE of the honest ones
    assert len([d for d in found.held_out.distance if d < found.threshold]) == 20


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="at least 6 points"):
        manifold_scores(LINE[:5], LINE)
    with pytest.raises(ValueError, match="at least 2 points"):
        nearest_points(LINE, LINE[:1])
