"""A LoRA out of two full models: planted changes come back, and what is lost is said."""

import pytest
import torch
from loras import WIDE, random_lora, small_unet

from kolors_course.errors import CourseError
from kolors_course.lora import LoraFile, adaptable_layers, check_fit, extract_lora, target_layers

UNET = small_unet()
BASE = UNET.state_dict()


def planted(settings=WIDE) -> dict[str, torch.Tensor]:
    """The base weights with a LoRA merged in."""
    lora, tuned = random_lora(UNET, settings), dict(BASE)
    for layer in target_layers(UNET, settings.target_modules):
        A, B = (lora.state_dict[f"{layer}.lora_{factor}.weight"].flatten(1) for factor in "AB")
        weight = BASE[f"{layer}.weight"]
        tuned[f"{layer}.weight"] = weight + settings.scale * (B @ A).view_as(weight)
    return tuned


def test_a_planted_lora_comes_back(tmp_path):
    tuned = planted()
    done = []
    result = extract_lora(BASE, tuned, adaptable_layers(UNET), WIDE.rank, progress=done.append)
    assert result.settings.scale == 1
    assert result.left_out == ()
    assert set(result.energy) == set(target_layers(UNET, WIDE.target_modules))
    assert done == list(range(1, len(result.energy) + 1))
    assert result.total_energy == pytest.approx(1, abs=1e-6)
    assert check_fit(UNET, LoraFile(tmp_path, result.state, result.settings, {})) == len(result.state)
    for layer in result.energy:
        A, B = (result.state[f"{layer}.lora_{factor}.weight"].flatten(1) for factor in "AB")
        weight = BASE[f"{layer}.weight"]
        # The sum of weight and change was rounded to float32 once, the factors a few times.
        torch.testing.assert_close(
            weight + (B @ A).view_as(weight), tuned[f"{layer}.weight"], rtol=1e-5, atol=1e-5
        )


def test_energy_of_known_singular_values():
    """A diagonal change of 4, 2, 1: rank 1 keeps 16/21 of it, rank 2 keeps 20/21."""
    key = "mid_block.attentions.0.proj_in"
    delta = torch.zeros(64, 64)
    delta[0, 0], delta[1, 1], delta[2, 2] = 4, 2, 1
    base = dict(BASE) | {f"{key}.weight": torch.zeros(64, 64)}
    for rank, energy in ((1, 16 / 21), (2, 20 / 21), (3, 1)):
        result = extract_lora(base, base | {f"{key}.weight": delta}, adaptable_layers(UNET), rank)
        assert result.energy == {key: pytest.approx(energy, rel=1e-6)}
        assert result.total_energy == pytest.approx(energy, rel=1e-6)


def test_what_a_lora_cannot_hold_is_named():
    tuned = planted()
    tuned["conv_in.bias"] = tuned["conv_in.bias"] + 1
    tuned["conv_norm_out.weight"] = tuned["conv_norm_out.weight"] + 1
    queries = target_layers(UNET, ("to_q",))
    result = extract_lora(BASE, tuned, queries, 3)
    assert set(result.energy) == set(queries)
    changed = len(target_layers(UNET, WIDE.target_modules)) + 2
    assert len(result.left_out) == changed - len(queries)
    assert {"conv_in.bias", "conv_norm_out.weight", "conv_in.weight"} <= set(result.left_out)


def test_refusals():
    layers = adaptable_layers(UNET)
    with pytest.raises(CourseError, match=r"differs between the two models \(changed: nothing\)"):
        extract_lora(BASE, dict(BASE), layers, 4)
    bias = dict(BASE) | {"conv_in.bias": BASE["conv_in.bias"] + 1}
    with pytest.raises(CourseError, match=r"changed: conv_in\.bias"):
        extract_lora(BASE, bias, layers, 4)
    with pytest.raises(CourseError, match="rank must be"):
        extract_lora(BASE, planted(), layers, 0)
    for tuned in (small_unet(blocks=(32, 96, 96)).state_dict(), {"conv_in.bias": BASE["conv_in.bias"]}):
        with pytest.raises(CourseError, match="differ in .* names or shapes"):
            extract_lora(BASE, tuned, layers, 4)


@pytest.mark.parametrize("which", ["base", "tuned"])
def test_numbers_that_are_not_finite_are_named(which):
    models = {"base": dict(BASE), "tuned": planted()}
    key = "mid_block.attentions.0.proj_in.weight"
    models[which][key] = models[which][key].clone().index_fill_(0, torch.tensor([0]), torch.nan)
    with pytest.raises(CourseError, match=rf"{key} of the {which} model holds numbers that are not finite"):
        extract_lora(models["base"], models["tuned"], adaptable_layers(UNET), 3)
