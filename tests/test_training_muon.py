"""Muon for kernels: torch's own step, of a kernel as a matrix, and AdamW for the rest."""

import torch
from torch import nn

from kolors_course.training.muon import SMALLEST, MuonAdamW, is_kernel


def small_network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 40, 3, padding=1), nn.GroupNorm(8, 40), nn.Conv2d(40, 48, 3, padding=1)
    ).to(memory_format=torch.channels_last)


def set_gradients(network: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_which_parameters_are_kernels() -> None:
    assert not is_kernel(torch.zeros(SMALLEST))
    assert not is_kernel(torch.zeros(SMALLEST - 1, 400))
    assert not is_kernel(torch.zeros(400, 3, 3, 3))
    assert is_kernel(torch.zeros(SMALLEST, SMALLEST))
    assert is_kernel(torch.zeros(40, 4, 3, 3))


def test_each_step_is_torchs_muon_on_the_matrix_and_adamw_on_the_rest() -> None:
    network = small_network()
    optimizer = MuonAdamW(network.parameters(), 1e-2)
    matrix = nn.Parameter(network[2].weight.detach().flatten(1).clone())
    bias = nn.Parameter(network[2].bias.detach().clone())
    muon = torch.optim.Muon([matrix], lr=1e-2, weight_decay=1e-4, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW([bias], lr=1e-2, betas=(0.9, 0.99), weight_decay=1e-4)
    for step in range(3):
        set_gradients(network, step)
        matrix.grad = network[2].weight.grad.flatten(1).clone()
        bias.grad = network[2].bias.grad.clone()
        for each in (optimizer, muon, adamw):
            each.step()
    torch.testing.assert_close(network[2].weight.flatten(1), matrix, rtol=0, atol=0)
    torch.testing.assert_close(network[2].bias, bias)


def test_the_step_of_a_kernel_is_orthogonal_and_as_long_as_adamws() -> None:
    """All singular values of a step are alike, so its mean square is 0.2² · lr², as arXiv 2502.16982 wants it."""
    network = small_network()
    before = network[2].weight.detach().flatten(1).clone()
    optimizer = MuonAdamW(network.parameters(), 1e-2, weight_decay=0.0)
    set_gradients(network, 0)
    optimizer.step()
    moved = network[2].weight.detach().flatten(1) - before
    singular = torch.linalg.svdvals(moved)
    assert singular.min() / singular.max() > 0.5  # five iterations come near 1, not to it
    torch.testing.assert_close(moved.square().mean().sqrt().item(), 0.2e-2, rtol=0.2, atol=0)


def test_a_new_learning_rate_holds_for_both() -> None:
    network = small_network()
    optimizer = MuonAdamW(network.parameters(), 1e-2, weight_decay=0.0)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = [parameter.detach().clone() for parameter in network.parameters()]
    set_gradients(network, 0)
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped() -> None:
    whole, first = small_network(), small_network()
    one, two = MuonAdamW(whole.parameters(), 1e-2), MuonAdamW(first.parameters(), 1e-2)
    for step in range(2):
        for network, optimizer in ((whole, one), (first, two)):
            set_gradients(network, step)
            optimizer.step()
    second = small_network(1)
    resumed = MuonAdamW(second.parameters(), 1e-2)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(two.state_dict())
    for network, optimizer in ((whole, one), (second, resumed)):
        set_gradients(network, 2)
        optimizer.step()
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
