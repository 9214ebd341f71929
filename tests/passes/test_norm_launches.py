"""Norms over a part of each sample cost six launches in a step: two for statistics, one for the result and what follows it, two
pairs of sums and one for the gradient. Groups of several channels cost four small ones more: means over each channel's pixels,
which are read as they lie, whatever the layout, become those of groups."""

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
def test_a_norm_costs_few_launches_and_trains_as_torch_does(name: str) -> None:
    torch.manual_seed(0)
    net = Block(NORMS[name](16))
    x, target = torch.randn(2, 16, 15, 17), torch.randn(2, 2, 15, 17)
    exact = copy.deepcopy(net).double()
    optimizer = torch.optim.SGD(exact.parameters(), lr=0.5)
    step = step_of(net, x, target)
    bare = step_of(Block(nn.Identity()), x, target)
    assert len(step.plan.calls) - len(bare.plan.calls) <= (10 if name == "four groups" else 6)
    for _ in range(3):
        loss = F.mse_loss(exact(x.double()), target.double())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch.testing.assert_close(step(x, target).double(), loss.detach(), rtol=1e-5, atol=0.0)
    for ours, theirs in zip(net.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-5)  # sums of 510 products, thrice


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("groups", "channels"), [(4, 16), (3, 15), (2, 14)])
def test_group_norm_reads_pixels_as_they_lie(groups: int, channels: int, channels_last: bool) -> None:
    """No launch walks through the channels of a group: 2, 5 or 7 numbers side by side, and then a jump."""
    torch.manual_seed(0)
    net, x = nn.GroupNorm(groups, channels), torch.randn(2, channels, 15, 17) * 3 + 5
    nn.init.normal_(net.weight)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    model = tritoncnn.compile(net.eval(), x)
    # Numbers up to 12, of statistics with about 20 roundings.
    torch.testing.assert_close(model(x).double(), copy.deepcopy(net).double()(x.double()), rtol=1e-5, atol=2e-5)
    shapes = {value.type.shape for node in model.plan.graph.nodes for value in node.results}
    assert {shape[1] for shape in shapes} == {channels}, "no dim of channels is cut into groups"


def test_what_a_kernel_computes_in_its_epilogue_is_not_computed_again_by_each_pixel() -> None:
    """The gate of a squeeze-and-excitation block: one sigmoid per channel, not one per pixel."""

    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.sigmoid(self.conv(x.mean((2, 3), keepdim=True)))

    torch.manual_seed(0)
    net, x = Gate().eval(), torch.randn(2, 8, 33, 40)
    model = tritoncnn.compile(net, x)
    torch.testing.assert_close(model(x), net(x), rtol=1e-5, atol=1e-6)
    assert "sigmoid" in str(next(node for node in model.plan.graph.nodes if node.op == "conv2d").attrs["epilogue"])


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
