"""The autoregressive model of the plane, exactly, and the ink that learners write with such models."""

import pytest
import torch
from toy_plane import mass_of, seeded

from kolors_course.errors import CourseError
from kolors_course.theory import toys
from kolors_course.theory.autoregressive import Autoregressive, train_autoregressive
from kolors_course.theory.ink import ink
from kolors_course.theory.measures import stray_share
from kolors_course.theory.nets import weights_from


@pytest.fixture(scope="module")
def ring():
    """Points and labels of eight_gaussians."""
    return toys.eight_gaussians(4000, seeded())


def test_what_is_counted_and_what_is_asked_make_one_density(ring):
    model, losses = train_autoregressive(ring[0], generator=seeded(), steps=300)
    assert sum(losses[-20:]) < sum(losses[:20]) - 10  # nats, over 20 steps
    assert mass_of(model.log_density, reach=3.2, cells=321) == pytest.approx(1, abs=0.01)
    assert model.first.exp().sum().item() == pytest.approx(1)
    # The first number's density is the share of examples in its column.
    here = model.cell_of(ring[0][:, 0]) == model.cell_of(torch.tensor(1.5))
    assert model.first[model.cell_of(torch.tensor(1.5))].exp().item() == pytest.approx(
        here.float().mean().item(), rel=0.01
    )
    assert model.log_density(torch.tensor([[0.0, 2.6]])).item() == -torch.inf


def test_cells_are_drawn_as_often_as_they_are_probable(ring):
    with weights_from(seeded()):
        model = Autoregressive(ring[0], cells=4)
    points = model.sample(40_000, seeded(1))
    cells = model.cell_of(points)
    shares = torch.bincount(cells[:, 0] * 4 + cells[:, 1], minlength=16) / len(points)
    column, row = torch.cartesian_prod(torch.arange(4), torch.arange(4)).T
    middles = torch.stack([model.centre_of(column), model.centre_of(row)], dim=1)
    with torch.no_grad():
        expected = model.log_density(middles).exp() * model.cell**2
    torch.testing.assert_close(shares, expected, atol=0.01, rtol=0)
    within = (points - model.centre_of(cells)) / model.cell  # a place within the cell
    assert within.abs().max() <= 0.5
    assert within.std().item() == pytest.approx(12**-0.5, rel=0.02)


def test_after_seconds_it_strays_hardly_more_than_the_truth(ring):
    model, _ = train_autoregressive(ring[0], generator=seeded(), steps=800)
    assert stray_share(model.sample(2000, seeded(1)), toys.eight_centres(), toys.BLOB_STD) < 0.06


def test_ink_lies_where_it_is_written():
    points = ink("一", 2000, seeded())
    width, height = (points.max(dim=0).values - points.min(dim=0).values).tolist()
    assert width == pytest.approx(3.6, abs=0.1)
    assert height < width / 4
    assert points.mean(dim=0).abs().max() < 0.1
    upside = ink("丁", 2000, seeded())  # its long stroke is at the top
    assert (upside[:, 1] > 1.3).float().mean() > 1.5 * (upside[:, 1] < -1.3).float().mean()
    with pytest.raises(CourseError, match="no ink"):
        ink(" ", 10, seeded())
