"""Shared self-attention against a plain softmax over all keys, and what it may not change."""

import numpy as np
import pytest
import torch
from PIL import Image

from kolors_course.errors import CourseError
from kolors_course.kolors import (
    Sampling,
    SharedAttnProcessor,
    Sharing,
    draw_beside,
    encode_pictures,
    generate,
    initial_latents,
    shared_attention,
)
from kolors_course.kolors.sharing import like_first

PROMPTS = ["a rabbit in the forest", "夜晚雪地上的一只兔子", "a rabbit on the sea"]
QUICK = Sampling(2, 3.0, batch_size=3, size=(32, 32))
TOLERANCE = 1e-5


@pytest.fixture(params=[1, 2], ids=["plain", "guided"])
def qkv(request) -> tuple[torch.Tensor, ...]:
    """Queries, keys and values (halves · 3 pictures, 2 heads, 5 rows, 4 channels)."""
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(3 * request.param, 2, 5, 4, generator=generator) for _ in range(3))


def by_definition(query, key, value, pictures: int, weight: float, bank: int) -> torch.Tensor:
    """Each picture by itself: exponentials of its own scores, and w times those of the others in the bank."""
    mixed = []
    for i in range(len(query)):
        half = i - i % pictures
        rows = [(i, 1.0), *((j, weight) for j in range(half, half + bank) if j != i)]
        parts = [w * (query[i] @ key[j].transpose(-1, -2) / query.shape[-1] ** 0.5).exp() for j, w in rows]
        shares = torch.cat(parts, -1)
        values = torch.cat([value[j] for j, _ in rows], 1)
        mixed.append(shares / shares.sum(-1, keepdim=True) @ values)
    return torch.stack(mixed)


@pytest.mark.parametrize(("weight", "bank"), [(1.0, None), (0.5, None), (0.3, 1), (1.0, 2), (0.5, 9)])
def test_it_is_softmax_over_own_and_other_rows(qkv, weight, bank):
    mixed = SharedAttnProcessor(3, Sharing(weight, bank)).mix(*qkv, None)
    torch.testing.assert_close(mixed, by_definition(*qkv, 3, weight, min(bank or 3, 3)))


def test_what_is_masked_is_not_seen(qkv):
    """Of the second picture the others see two of six rows, of the third nothing."""
    query, key, value = (torch.cat([x, x[:, :, :1] + 1], dim=2) for x in qkv)  # six rows: 2 x 3 cells
    masks = torch.zeros(3, 4, 6)
    masks[0], masks[1, :2, :4] = 1, 1
    mixed = SharedAttnProcessor(3, Sharing(1.0), masks).mix(query, key, value, None)
    keys, values = (
        torch.cat([x[0], x[1, :, :2], x[2]], dim=1) for x in (key, value)
    )  # what the third picture sees
    expected = (query[2] @ keys.transpose(-1, -2) / 2).softmax(-1) @ values
    torch.testing.assert_close(mixed[2], expected)


def test_pictures_of_one_half_do_not_see_the_other(qkv):
    processor = SharedAttnProcessor(3, Sharing(1.0))
    before = processor.mix(*qkv, None)
    changed = [torch.cat([x[:3], x[3:] + 1]) for x in qkv]
    assert torch.equal(processor.mix(*changed, None)[:3], before[:3])


def test_a_picture_like_the_first_has_its_mean_and_spread():
    x = torch.randn(6, 2, 50, 4, generator=torch.Generator().manual_seed(0)) * 3 + 1
    spread, mean = torch.std_mean(like_first(x, 3), dim=2)
    first_spread, first_mean = torch.std_mean(x[::3].repeat_interleave(3, dim=0), dim=2)
    torch.testing.assert_close(mean, first_mean, atol=1e-4, rtol=0)
    torch.testing.assert_close(spread, first_spread, atol=1e-4, rtol=0)
    torch.testing.assert_close(like_first(x, 3)[::3], x[::3], atol=1e-4, rtol=0)


def drawn(model, sharing: Sharing | None, prompts=PROMPTS, seeds=(1, 2, 3)) -> torch.Tensor:
    states = []
    if sharing is None:
        generate(model, prompts, list(seeds), QUICK, watch=lambda state: states.append(state.sample))
    else:
        with shared_attention(model.unet, len(prompts), sharing):
            generate(model, prompts, list(seeds), QUICK, watch=lambda state: states.append(state.sample))
    return states[-1]


def test_nothing_shared_changes_nothing(tiny_model):
    assert torch.equal(drawn(tiny_model, Sharing(0.0)), drawn(tiny_model, None))


@pytest.mark.parametrize("normalise", [False, True])
def test_equal_pictures_have_nothing_to_tell_each_other(tiny_model, normalise):
    sharing = Sharing(1.0, blocks=("down", "mid", "up"), normalise=normalise)
    same = {"prompts": [PROMPTS[0]] * 3, "seeds": (7, 7, 7)}
    # Dividing by a spread and multiplying by it again leaves a little more than rounding.
    assert (
        drawn(tiny_model, sharing, **same) - drawn(tiny_model, None, **same)
    ).abs().max() < 100 * TOLERANCE


def test_the_first_picture_of_a_bank_of_one_stays_and_the_others_change(tiny_model):
    shared = drawn(tiny_model, Sharing(1.0, bank=1, blocks=("down", "mid", "up"), normalise=True))
    alone = drawn(tiny_model, None)
    difference = (shared - alone).abs().amax((1, 2, 3))
    assert difference[0] < 100 * TOLERANCE < difference[1:].min()


def test_what_was_there_before_comes_back(tiny_model):
    before = dict(tiny_model.unet.attn_processors)
    with shared_attention(tiny_model.unet, 3):
        within = {
            name for name, p in tiny_model.unet.attn_processors.items() if isinstance(p, SharedAttnProcessor)
        }
    assert within
    assert all(".attn1." in name and name.startswith("up_blocks") for name in within)
    assert tiny_model.unet.attn_processors == before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weight": -0.1}, "weight -0.1 is not from 0 to 1"),
        ({"weight": float("nan")}, "weight nan is not from 0 to 1"),
        ({"bank": 0}, "a bank of 0 pictures"),
        ({"blocks": ("up", "top")}, "block 'top' is not one of down, mid, up"),
    ],
)
def test_impossible_sharing_is_refused(values, message):
    with pytest.raises(CourseError, match=message):
        Sharing(**values)


def test_masks_that_are_not_one_for_each_picture_are_refused(tiny_model):
    with (
        pytest.raises(CourseError, match="give one for each"),
        shared_attention(tiny_model.unet, 3, masks=torch.ones(2, 4, 4)),
    ):
        pass


def test_a_batch_of_other_pictures_is_refused(tiny_model):
    with pytest.raises(CourseError, match="give a batch size of 4"), shared_attention(tiny_model.unet, 4):
        generate(tiny_model, PROMPTS, [1, 2, 3], QUICK)


def reference() -> Image.Image:
    return Image.new("RGB", (32, 32), (200, 90, 40))


def test_beside_a_reference_that_nobody_looks_at_pictures_are_as_always(tiny_model):
    beside = draw_beside(tiny_model, reference(), "a fox", PROMPTS, [1, 2, 3], QUICK, Sharing(0.0))
    alone = generate(tiny_model, PROMPTS, [1, 2, 3], QUICK)
    for one, two in zip(beside, alone, strict=True):
        assert np.abs(np.asarray(one, dtype=int) - np.asarray(two, dtype=int)).max() <= 1


def test_a_reference_is_shown_with_the_noise_of_each_step(tiny_model, monkeypatch):
    """At every call its latents are the true ones, drowned as far as those beside it."""
    calls = []
    forward = tiny_model.unet.forward

    def spying(sample, timestep, **options):
        calls.append((sample[0].clone(), timestep))
        return forward(sample, timestep, **options)

    monkeypatch.setattr(tiny_model.unet, "forward", spying)
    draw_beside(tiny_model, reference(), "a fox", PROMPTS, [1, 2, 3], QUICK, Sharing(1.0, bank=1))
    clean = encode_pictures(tiny_model, [reference()])[0]
    noise = initial_latents(tiny_model, [1], 32, 32)[0]
    assert len(calls) == QUICK.steps
    for shown, timestep in calls:
        σ = float(tiny_model.schedule.sigma(timestep))
        torch.testing.assert_close(shown, (clean + σ * noise) / (σ**2 + 1) ** 0.5)
