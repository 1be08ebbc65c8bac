"""Full fine-tuning: it learns, it leaves the model alone, and its changes can be put on and cut to a rank."""

import pytest
import torch
from tiny import assert_same_state, state_of

from kolors_course.dataset import read_dataset
from kolors_course.errors import CourseError
from kolors_course.lora.maths import kept_energy
from kolors_course.lora.svd import truncate
from kolors_course.training.cache import build_cache
from kolors_course.training.full import changed_weights, fine_tune


@pytest.fixture(scope="module")
def cache(tiny_model, tiny_pictures):
    generator = torch.Generator().manual_seed(0)
    return build_cache(tiny_model, read_dataset(tiny_pictures), (32, 32), True, False, generator)


@pytest.fixture(scope="module")
def tuned(tiny_model, cache):
    losses = []
    before = state_of(tiny_model.unet)
    changes = fine_tune(
        tiny_model,
        cache,
        steps=12,
        batch_size=4,
        learning_rate=1e-2,
        caption_dropout=0.0,
        progress=lambda step, loss: losses.append(loss),
    )
    assert_same_state(state_of(tiny_model.unet), before)
    return changes, losses


def test_it_learns_and_every_weight_takes_part(tuned, tiny_model):
    changes, losses = tuned
    assert len(losses) == 12
    assert sum(losses[-3:]) < sum(losses[:3])
    assert changes.keys() == dict(tiny_model.unet.named_parameters()).keys()
    assert all(change.abs().max() > 0 for change in changes.values())


def test_the_same_seed_gives_the_same_changes(tiny_model, cache):
    first, second = (fine_tune(tiny_model, cache, steps=2, batch_size=2, seed=3) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_changes_are_put_on_and_taken_off(tuned, tiny_model):
    changes, _ = tuned
    before = state_of(tiny_model.unet)
    name = next(iter(changes))
    with changed_weights(tiny_model.unet, changes):
        weight = dict(tiny_model.unet.named_parameters())[name]
        torch.testing.assert_close(weight.detach(), before[0][name] + changes[name])
    assert_same_state(state_of(tiny_model.unet), before)


def test_foreign_changes_are_refused(tiny_model):
    with (
        pytest.raises(CourseError, match="no weight of this U-Net"),
        changed_weights(tiny_model.unet, {"conv_in.weight": torch.zeros(1)}),
    ):
        pass


def test_a_loss_that_explodes_is_said_and_the_model_restored(tiny_model, cache):
    before = state_of(tiny_model.unet)
    with pytest.raises(CourseError, match="lower the learning rate"):
        fine_tune(tiny_model, cache, steps=20, batch_size=2, learning_rate=1e6)
    assert_same_state(state_of(tiny_model.unet), before)


@pytest.mark.parametrize("shape", [(12, 20), (6, 5, 3, 3)])
def test_truncating_keeps_as_much_as_is_possible(shape):
    delta = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    kept = kept_energy(delta.flatten(1))
    for rank, cut in zip((1, 3), truncate(delta, (1, 3)), strict=True):
        assert cut.shape == delta.shape
        assert torch.linalg.matrix_rank(cut.flatten(1)) == rank
        lost = (delta - cut).square().sum() / delta.square().sum()
        torch.testing.assert_close(1 - lost.double(), kept[rank - 1], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(truncate(delta, [999])[0], delta, rtol=1e-4, atol=1e-5)
