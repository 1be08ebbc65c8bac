"""The exercises of notebook 08: right answers pass, and each likely mistake gets its own explanation."""

import re

import pytest
import torch

from kolors_course.exercises import Right, lora_maths
from kolors_course.lora import LoRALinear, lora_delta, merged_weight


def test_the_right_layer_passes_and_is_the_librarys():
    assert isinstance(lora_maths.check_lora_forward.reply(lora_maths.lora_forward), Right)
    layer = LoRALinear(torch.nn.Linear(4, 3, bias=False), 2, 6.0, torch.Generator().manual_seed(0))
    torch.nn.init.normal_(layer.lora_B, generator=torch.Generator().manual_seed(1))
    x = torch.randn(5, 4)
    ours = lora_maths.lora_forward(x, layer.base.weight, layer.lora_A, layer.lora_B, 6.0)
    torch.testing.assert_close(ours, layer(x))


def test_a_merged_way_of_writing_it_passes():
    assert isinstance(
        lora_maths.check_lora_forward.reply(lambda x, W, A, B, alpha: x @ (W + alpha / A.shape[0] * B @ A).T),
        Right,
    )


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x, W, A, B, a: x @ W.T + x @ A.T @ B.T, "scale alpha/rank is missing"),
        (lambda x, W, A, B, a: x @ W.T + a * x @ A.T @ B.T, "divided by the rank"),
        (lambda x, W, A, B, a: a / len(A) * (x @ W.T + x @ A.T @ B.T), "Only the update"),
        (lambda x, W, A, B, a: a / len(A) * x @ A.T @ B.T, "frozen layer"),
        (lambda x, W, A, B, a: x @ W.T + a / len(A) * x @ B.T @ A.T, "changed places"),
        (lambda x, W, A, B, a: x @ W.T + a / len(A) * x @ A @ B, "transposes are missing"),
        (lambda x, W, A, B, a: x @ W + a / len(A) * x @ A.T @ B.T, "W is not transposed"),
        (lambda x, W, A, B, a: x @ W.T, "For"),
        (lambda x, W, A, B, a: x @ W.T + a / x.shape[1] * x @ A.T @ B.T, "For"),
        (lambda x, W, A, B, a: (x @ W.T).sum(), "shape"),
        (lambda x, W, A, B, a: None, "gives back None"),
    ],
)
def test_wrong_layers_are_explained(forward, message):
    assert re.search(message, lora_maths.check_lora_forward.reply(forward))


def test_the_right_merge_passes():
    assert isinstance(
        lora_maths.check_merge.reply(lambda W, A, B, a, s: merged_weight(W, A, B, a, len(A), strength=s)),
        Right,
    )
    assert isinstance(lora_maths.check_merge.reply(lambda W, A, B, a, s: W + s * a / len(A) * B @ A), Right)


@pytest.mark.parametrize(
    ("merge", "message"),
    [
        (lambda W, A, B, a, s: W + lora_delta(A, B, a, len(A)), "strength is left out"),
        (lambda W, A, B, a, s: s * (W + lora_delta(A, B, a, len(A))), "scales the update only"),
        (lambda W, A, B, a, s: (1 - s) * W + s * lora_delta(A, B, a, len(A)), "fades W out"),
        (lambda W, A, B, a, s: W + s * B @ A, "scale alpha/rank is missing"),
        (lambda W, A, B, a, s: W - s * lora_delta(A, B, a, len(A)), "takes the LoRA away"),
        (lambda W, A, B, a, s: W, "For"),
    ],
)
def test_wrong_merges_are_explained(merge, message):
    assert re.search(message, lora_maths.check_merge.reply(merge))


def test_the_right_rank_passes():
    assert isinstance(lora_maths.check_rank_needed.reply(lora_maths.rank_needed), Right)
    assert lora_maths.rank_needed(torch.tensor([4.0, 2.0, 2.0, 1.0]), 0.8) == 2


@pytest.mark.parametrize(
    ("rank", "message"),
    [
        (lambda s, share: int((s.cumsum(0) < share * s.sum() * (1 - 1e-9)).sum()) + 1, "squares"),
        (lambda s, share: lora_maths.rank_needed(s, share) - 1, "One too few"),
        (lambda s, share: int((s >= (1 - share) * s[0]).sum()), "threshold"),
        (lambda s, share: len(s), "smallest number"),
        (lambda s, share: 1, "For"),
        (lambda s, share: None, "gives back None"),
    ],
)
def test_wrong_ranks_are_explained(rank, message):
    assert re.search(message, lora_maths.check_rank_needed.reply(rank))


def test_the_right_conv_change_passes_and_two_convolutions_are_one():
    assert isinstance(lora_maths.check_conv_delta.reply(lora_maths.conv_delta), Right)
    by_sum = lambda A, B, alpha: alpha / len(A) * torch.einsum("or,rikl->oikl", B[..., 0, 0], A)  # noqa: E731
    assert isinstance(lora_maths.check_conv_delta.reply(by_sum), Right)
    x, A, B = torch.randn(2, 3, 6, 6), torch.randn(2, 3, 3, 3), torch.randn(5, 2, 1, 1)
    in_turn = torch.nn.functional.conv2d(torch.nn.functional.conv2d(x, A, padding=1), B)
    at_once = torch.nn.functional.conv2d(x, lora_maths.conv_delta(A, B, 2.0), padding=1)
    torch.testing.assert_close(in_turn, at_once, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("delta", "message"),
    [
        (lambda A, B, alpha: lora_maths.conv_delta(A, B, len(A)), "scale alpha/rank is missing"),
        (lambda A, B, alpha: alpha * lora_maths.conv_delta(A, B, len(A)), "divided by the rank"),
        (lambda A, B, alpha: lora_maths.conv_delta(A.flip(2, 3), B, alpha), "turned over"),
        (lambda A, B, alpha: lora_maths.conv_delta(A.transpose(2, 3), B, alpha), "changed places"),
        (lambda A, B, alpha: alpha / len(A) * B.flatten(1) @ A.flatten(1), "shape"),
        (lambda A, B, alpha: None, "gives back None"),
    ],
)
def test_wrong_conv_changes_are_explained(delta, message):
    assert re.search(message, lora_maths.check_conv_delta.reply(delta))
