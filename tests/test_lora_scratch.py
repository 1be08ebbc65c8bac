"""Our own LoRA and DoRA layers in a model, against peft: forward, gradients, merge and the saved file."""

from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from safetensors import safe_open
from torch import nn

from kolors_course.errors import CourseError
from kolors_course.lora import LoraSettings, read_lora, save_lora
from kolors_course.lora.maths import DoRALinear, LoRALinear, dora_weight, kept_energy, merged_weight
from kolors_course.lora.scratch import count_parameters, inject_lora, merge_scratch, scratch_state_dict
from kolors_course.lora.svd import factorise

# float64 sums of a few dozen terms of size 1: only the order of additions differs between the two ways.
EXACT = {"atol": 1e-12, "rtol": 1e-10}
SETTINGS = LoraSettings(rank=4, alpha=3.0, target_modules=("to_q", "to_out.0"))
KINDS = [
    pytest.param(SETTINGS, id="lora"),
    pytest.param(replace(SETTINGS, use_rslora=True), id="rslora"),
    pytest.param(replace(SETTINGS, use_dora=True), id="dora"),
    pytest.param(replace(SETTINGS, use_dora=True, use_rslora=True), id="dora-rslora"),
]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Attention(nn.Module):
    """As many layers and names of a U-Net's attention as matter here."""

    def __init__(self):
        super().__init__()
        self.to_q, self.to_k = nn.Linear(12, 8, bias=False), nn.Linear(12, 8, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(8, 12), nn.Dropout(0.0)])

    def forward(self, x):
        return self.to_out[1](self.to_out[0](torch.tanh(self.to_q(x) * self.to_k(x))))


def model() -> nn.Module:
    blocks = nn.Sequential(Attention(), Attention()).double()
    for i, parameter in enumerate(blocks.parameters()):
        nn.init.normal_(parameter, std=0.4, generator=seeded(i))
    return blocks


def pair(settings: LoraSettings) -> tuple[nn.Module, nn.Module]:
    """The same model with our LoRA and with peft's, and the same numbers in both."""
    ours, theirs = model(), model()
    inject_lora(ours, settings, generator=seeded())
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=list(settings.target_modules),
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
    )
    theirs = inject_adapter_in_model(config, theirs)
    with torch.no_grad():
        for name, tensor in scratch_state_dict(ours).items():
            tensor.add_(0.3 * torch.randn(tensor.shape, generator=seeded(3), dtype=tensor.dtype))
            parent, _, part = name.removesuffix(".weight").rpartition(".")
            getattr(theirs.get_submodule(parent), part)["default"].weight.copy_(tensor)
    return ours, theirs


def points() -> torch.Tensor:
    return torch.randn(5, 3, 12, dtype=torch.float64, generator=seeded(5))


@pytest.mark.parametrize("settings", KINDS)
def test_forward_and_gradients_equal_peft(settings):
    ours, theirs = pair(settings)
    x = points()
    torch.testing.assert_close(ours(x), theirs(x), **EXACT)
    ours(x).square().sum().backward()
    theirs(x).square().sum().backward()
    compared = 0
    for name, parameter in theirs.named_parameters():
        if parameter.requires_grad:
            parent, _, part = name.removesuffix(".default.weight").rpartition(".")
            layer = ours.get_submodule(parent)
            mine = layer.magnitude if part == "lora_magnitude_vector" else getattr(layer, part)
            torch.testing.assert_close(mine.grad, parameter.grad, atol=1e-10, rtol=1e-8)
            compared += 1
    assert compared == 4 * (3 if settings.use_dora else 2)
    frozen = [p for n, p in ours.named_parameters() if "lora_" not in n and "magnitude" not in n]
    assert all(parameter.grad is None for parameter in frozen)


@pytest.mark.parametrize("settings", KINDS)
def test_merge_equals_peft(settings):
    ours, theirs = pair(settings)
    before = ours(points())
    assert merge_scratch(ours) == 4
    assert not any(isinstance(module, LoRALinear) for module in ours.modules())
    torch.testing.assert_close(ours(points()), before, **EXACT)
    for name, layer in list(theirs.named_modules()):
        if hasattr(layer, "lora_A"):
            layer.merge()
            torch.testing.assert_close(ours.get_submodule(name).weight, layer.base_layer.weight, **EXACT)


@pytest.mark.parametrize("settings", KINDS)
def test_saved_file_equals_pefts(settings, tmp_path):
    ours, theirs = pair(settings)
    state = get_peft_model_state_dict(theirs)
    assert scratch_state_dict(ours).keys() == state.keys()
    facts = {"base_model": "none", "dataset_hash": "0" * 64}
    paths = [
        save_lora(tmp_path / f"{name}.safetensors", tensors, settings, **facts)
        for name, tensors in (("ours", scratch_state_dict(ours)), ("pefts", state))
    ]
    with safe_open(paths[0], framework="pt") as mine, safe_open(paths[1], framework="pt") as pefts:
        assert mine.metadata() == pefts.metadata()
        assert set(mine.keys()) == set(pefts.keys()) == {f"unet.{name}" for name in state}
        assert all(torch.equal(mine.get_tensor(name), pefts.get_tensor(name)) for name in mine.keys())  # noqa: SIM118
    assert read_lora(paths[0]).settings == settings


@pytest.mark.parametrize("settings", KINDS)
def test_injection_changes_nothing_before_training(settings):
    plain, adapted = model(), model()
    names = inject_lora(adapted, settings, generator=seeded())
    assert names == ["0.to_q", "0.to_out.0", "1.to_q", "1.to_out.0"]
    torch.testing.assert_close(adapted(points()), plain(points()), **EXACT)
    learned, total = count_parameters(adapted.parameters())
    sizes = 4 * (12 + 8) + 4 * (8 + 12)  # A and B of to_q and to_out.0
    assert learned == 2 * (sizes + (8 + 12 if settings.use_dora else 0))
    assert total == learned + sum(parameter.numel() for parameter in plain.parameters())


def test_injection_follows_the_generator():
    first, again, other = model(), model(), model()
    for blocks, seed in ((first, 1), (again, 1), (other, 2)):
        inject_lora(blocks, SETTINGS, generator=seeded(seed))
    assert torch.equal(first[0].to_q.lora_A, again[0].to_q.lora_A)
    assert not torch.equal(first[0].to_q.lora_A, other[0].to_q.lora_A)


def test_dora_keeps_the_row_lengths_it_was_told():
    W, A, B = (torch.randn(*shape, generator=seeded(7)) for shape in ((8, 12), (2, 12), (8, 2)))
    lengths = torch.rand(8, generator=seeded(8)) + 0.5
    weight = dora_weight(W, A, B, lengths, alpha=4.0, rank=2)
    torch.testing.assert_close(weight.norm(dim=1), lengths)
    # The direction is LoRA's.
    cosine = torch.nn.functional.cosine_similarity(weight, merged_weight(W, A, B, 4.0, 2))
    torch.testing.assert_close(cosine, torch.ones(8))
    unchanged = dora_weight(W, A, torch.zeros_like(B), W.norm(dim=1), alpha=4.0, rank=2)
    torch.testing.assert_close(unchanged, W)


def test_kept_energy_is_what_the_best_factors_keep():
    delta = torch.randn(8, 12, generator=seeded(1))
    energy = kept_energy(delta)
    assert energy.shape == (8,)
    assert energy[-1] == pytest.approx(1)
    for rank in (1, 3, 8):
        best = factorise(delta, rank)
        lost = (delta - best.B @ best.A).square().sum() / delta.square().sum()
        assert energy[rank - 1].item() == pytest.approx(1 - lost.item(), abs=1e-5)
    # An update of a LoRA of rank 2 is all in the first two.
    A, B = torch.randn(2, 12, generator=seeded(2)), torch.randn(8, 2, generator=seeded(3))
    assert kept_energy(B @ A)[1].item() == pytest.approx(1)


@pytest.mark.parametrize("target", ["to_v", "to_out", "out.0"])
def test_targets_that_name_no_linear_layer_are_refused(target):
    blocks = model()
    with pytest.raises(CourseError, match=f"'{target}' names no linear layer; there are 0.to_q"):
        inject_lora(blocks, replace(SETTINGS, target_modules=("to_q", target)), generator=seeded())
    assert not any(isinstance(module, LoRALinear) for module in blocks.modules())


def test_second_injection_and_missing_lora_are_refused():
    blocks = model()
    with pytest.raises(CourseError, match="no LoRA layers"):
        scratch_state_dict(blocks)
    inject_lora(blocks, SETTINGS, generator=seeded())
    with pytest.raises(CourseError, match="already"):
        inject_lora(blocks, SETTINGS, generator=seeded())
    merge_scratch(blocks)
    assert inject_lora(blocks, replace(SETTINGS, use_dora=True), generator=seeded())
    assert isinstance(blocks[1].to_q, DoRALinear)
