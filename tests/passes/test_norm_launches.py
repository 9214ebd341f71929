"""Norms over a part of each sample cost six launches in a step whatever their groups are: two for statistics, one for the
result and what follows it, two pairs of sums and one for the gradient."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tritoncnn
from tritoncnn.optim import SGD

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "four groups": lambda channels: nn.GroupNorm(4, channels),
    "one group": lambda channels: nn.GroupNorm(1, channels),
    "a group for each channel": lambda channels: nn.GroupNorm(channels, channels),
    "instances": lambda channels: nn.InstanceNorm2d(channels, affine=True),
}


class Block(nn.Module):
    """A convolution, a norm, a residual and a relu, as in the blocks of a ResNet, and a head."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(16, 16, 3, padding=1), norm, nn.Conv2d(16, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(F.relu(self.norm(self.conv(x)) + x))
        return y


def step_of(net: nn.Module, x: torch.Tensor, target: torch.Tensor) -> tritoncnn.CompiledStep:
    return tritoncnn.compile_step(net, F.mse_loss, SGD(lr=0.5), (x, target))


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_costs_six_launches_and_trains_as_torch_does(name: str) -> None:
    torch.manual_seed(0)
    net = Block(NORMS[name](16))
    x, target = torch.randn(2, 16, 15, 17), torch.randn(2, 2, 15, 17)
    exact = copy.deepcopy(net).double()
    optimizer = torch.optim.SGD(exact.parameters(), lr=0.5)
    step = step_of(net, x, target)
    bare = step_of(Block(nn.Identity()), x, target)
    assert len(step.plan.calls) - len(bare.plan.calls) <= 6
    for _ in range(3):
        loss = F.mse_loss(exact(x.double()), target.double())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch.testing.assert_close(step(x, target).double(), loss.detach(), rtol=1e-5, atol=0.0)
    for ours, theirs in zip(net.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-5)  # sums of 510 products, thrice


def test_a_bias_before_a_batch_norm_moves_its_mean_alone() -> None:
    torch.manual_seed(0)
    x, target = torch.randn(2, 16, 15, 17), torch.randn(2, 2, 15, 17)
    net, bare = Block(nn.BatchNorm2d(16)), Block(nn.BatchNorm2d(16))
    bare.conv = nn.Conv2d(16, 16, 3, padding=1, bias=False)
    nn.init.constant_(net.conv.bias, 8.0)  # type: ignore[arg-type]
    exact = copy.deepcopy(net).double()
    step = step_of(net, x, target)
    assert len(step.plan.calls) - len(step_of(bare, x, target).plan.calls) <= 1
    loss = F.mse_loss(exact(x.double()), target.double())
    loss.backward()
    torch.testing.assert_close(step(x, target).double(), loss.detach(), rtol=1e-5, atol=0.0)
    for name, parameter in exact.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(step.gradients()[name].double(), parameter.grad, rtol=1e-4, atol=1e-6)
    state = step.state_dict()
    for name, buffer in exact.named_buffers():
        torch.testing.assert_close(state[name].double(), buffer.double(), rtol=1e-5, atol=1e-6)
