"""Several LoRAs in one: exact by concatenation, closest by singular value decomposition."""

import pytest
import torch
from loras import ATTENTION, WIDE, random_lora, random_state, small_unet

from kolors_course.errors import CourseError
from kolors_course.lora import LoraFile, LoraSettings, check_fit, combine_loras
from kolors_course.lora.svd import factorise, shrink, squared_norm

UNET = small_unet()
CONV = LoraSettings(rank=2, alpha=1.0, target_modules=("to_q", "conv1", "conv_shortcut", "conv_out"))


def deltas(lora: LoraFile, strength: float = 1.0) -> dict[str, torch.Tensor]:
    """The change of every weight, in float64."""
    changes = {}
    for name in lora.state_dict:
        if name.endswith(".lora_A.weight"):
            layer = name.removesuffix(".lora_A.weight")
            A, B = (lora.state_dict[f"{layer}.lora_{f}.weight"].flatten(1).double() for f in "AB")
            changes[layer] = strength * lora.settings.scale * (B @ A)
    return changes


def total(*parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    layers = {layer for part in parts for layer in part}
    return {layer: sum(part[layer] for part in parts if layer in part) for layer in layers}


def as_file(result, tmp_path) -> LoraFile:
    return LoraFile(tmp_path, result.state, result.settings, {})


@pytest.mark.parametrize(("one", "two"), [(0.7, -0.4), (1.0, 1.0)])
def test_the_sum_is_exact(tmp_path, one, two):
    first, second = random_lora(UNET, WIDE, 1), random_lora(UNET, CONV, 2)
    result = combine_loras([(first, one), (second, two)])
    assert result.energy == 1
    assert result.settings.rank == WIDE.rank + CONV.rank
    combined = as_file(result, tmp_path)
    assert check_fit(UNET, combined) == len(result.state)
    expected = total(deltas(first, one), deltas(second, two))
    found = deltas(combined)
    assert found.keys() == expected.keys()
    for layer, delta in expected.items():
        torch.testing.assert_close(found[layer], delta, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_equal_scales_keep_every_number(tmp_path, dtype):
    loras = [LoraFile(tmp_path, random_state(UNET, CONV, seed, dtype), CONV, {}) for seed in (1, 2)]
    result = combine_loras([(lora, 0.3) for lora in loras])
    assert result.settings.scale == pytest.approx(0.3 * CONV.scale, rel=1e-15)
    for name, tensor in result.state.items():
        assert tensor.dtype == dtype
        axis = 0 if "lora_A" in name else 1
        assert torch.equal(tensor, torch.cat([lora.state_dict[name] for lora in loras], dim=axis))


def test_shrinking_a_sum_of_low_rank_loses_nothing(tmp_path):
    """The same LoRA twice has the rank of one."""
    lora = random_lora(UNET, WIDE)
    result = combine_loras([(lora, 0.5), (lora, 0.75)], rank=WIDE.rank)
    assert result.energy == pytest.approx(1, abs=1e-12)
    found = deltas(as_file(result, tmp_path))
    for layer, delta in deltas(lora, 1.25).items():
        torch.testing.assert_close(found[layer], delta, rtol=1e-5, atol=1e-5)


def test_shrinking_further_is_the_best_and_its_energy_is_true(tmp_path):
    first, second = random_lora(UNET, ATTENTION, 1), random_lora(UNET, ATTENTION, 2)
    result = combine_loras([(first, 1.0), (second, 0.5)], rank=2)
    whole = total(deltas(first, 1.0), deltas(second, 0.5))
    found = deltas(as_file(result, tmp_path))
    lost = sum((whole[layer] - found[layer]).square().sum() for layer in whole)
    size = sum(delta.square().sum() for delta in whole.values())
    assert result.energy == pytest.approx(1 - (lost / size).item(), abs=1e-6)
    assert 0.3 < result.energy < 0.99
    for layer, delta in whole.items():  # Eckart and Young: the error is what the other singular values hold
        values = torch.linalg.svdvals(delta)
        assert (delta - found[layer]).norm().item() == pytest.approx(values[2:].norm().item(), rel=1e-4)


def test_both_decompositions_agree():
    generator = torch.Generator().manual_seed(0)
    A, B = torch.randn(6, 5, 3, 3, generator=generator), torch.randn(4, 6, 1, 1, generator=generator)
    delta = (B.flatten(1) @ A.flatten(1)).reshape(4, 5, 3, 3)
    one, two = factorise(delta, 3), shrink(A, B, 3)
    for factors in (one, two):
        assert (factors.A.shape, factors.B.shape) == ((3, 5, 3, 3), (4, 3, 1, 1))
        assert factors.total == pytest.approx(delta.double().square().sum().item(), rel=1e-5)
        assert squared_norm(factors.A, factors.B) == pytest.approx(factors.kept, rel=1e-5)
    torch.testing.assert_close(
        one.B.flatten(1) @ one.A.flatten(1), two.B.flatten(1) @ two.A.flatten(1), rtol=1e-4, atol=1e-4
    )
    full = shrink(A, B, 5)  # more than the layer has: the rest is zero
    assert not full.A[4:].any()
    torch.testing.assert_close(
        (full.B.flatten(1) @ full.A.flatten(1)).view_as(delta), delta, rtol=1e-4, atol=1e-4
    )


def test_what_cannot_be_combined(tmp_path):
    lora = random_lora(UNET, ATTENTION)
    dora = LoraFile(tmp_path, {}, LoraSettings(2, 1.0, use_dora=True), {})
    wider = random_lora(small_unet(blocks=(32, 96, 96)), ATTENTION)
    for loras, rank, message in (
        ([(lora, 1.0)], None, "two or more"),
        ([(lora, 1.0), (lora, 0.0)], None, "strength 0; leave it out"),
        ([(lora, 1.0), (lora, float("nan"))], None, "finite number"),
        ([(lora, 1.0), (dora, 1.0)], None, "is a DoRA"),
        ([(lora, 1.0), (wider, 1.0)], None, "another shape"),
        ([(lora, 1.0), (lora, 1.0)], 6, "from 1 to 5"),
        ([(lora, 1.0), (lora, 1.0)], 0, "from 1 to 5"),
    ):
        with pytest.raises(CourseError, match=message):
            combine_loras(loras, rank)
