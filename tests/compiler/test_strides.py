"""Results lie in memory as torch's do: channels-last, permuted, with gaps, repeated; in models, steps and gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tritoncnn
from tritoncnn import SGD
from tritoncnn.tree import flatten

pytestmark = pytest.mark.sweep(2)

LAST = torch.channels_last


class Net(nn.Module):
    """``function(self, x)`` behind a convolution."""

    def __init__(self, function: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm, self.line = nn.BatchNorm2d(4), nn.Linear(8, 5)
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, x)


def _apart(x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return x * 2


RESULTS: dict[str, Callable[[Any, torch.Tensor], Any]] = {
    "a convolution": lambda m, x: m.conv(x),
    "pointwise work behind one": lambda m, x: F.silu(m.norm(m.conv(x))),
    "pointwise work alone": lambda m, x: x.exp() + 1,
    "a pool, beside what it pools": lambda m, x: (F.max_pool2d(y := F.relu(m.conv(x)), 2), y),
    "picture and classes": lambda m, x: (m.conv(x), m.conv(x).mean((2, 3))),
    "an upsampled picture": lambda m, x: F.interpolate(m.conv(x), scale_factor=2.0),
    "a sum of both orders": lambda m, x: m.conv(x) + torch.ones(2, 4, 6, 8),
    "permuted": lambda m, x: m.conv(x).permute(0, 2, 3, 1),
    "permuted otherwise, and worked on": lambda m, x: m.conv(x).permute(3, 1, 0, 2) * 2,
    "transposed products": lambda m, x: m.line(m.conv(x)).transpose(1, 3),
    "a transposed matrix": lambda m, x: m.conv(x).mean((2, 3)).t(),
    "contiguous": lambda m, x: m.conv(x).permute(0, 2, 3, 1).contiguous(),
    "asked for channels-last": lambda m, x: m.conv(x).contiguous(memory_format=LAST),
    "expanded": lambda m, x: m.conv(x).mean((2, 3), keepdim=True).expand(-1, -1, 6, 8),
    "expanded in front": lambda m, x: m.conv(x).mean((2, 3)).expand(3, 2, 4),
    "expanded and permuted": lambda m, x: m.conv(x)[:, :1].expand(2, 5, 6, 8).permute(0, 2, 1, 3),
    "one number, expanded": lambda m, x: m.conv(x).mean().expand(2, 3),
    "half of the channels": lambda m, x: m.conv(x)[:, :2],
    "parts": lambda m, x: m.conv(x).chunk(2, 1),
    "each second pixel": lambda m, x: (x * 2)[..., ::2],
    "a column": lambda m, x: (x * 2)[..., 0],
    "flattened": lambda m, x: m.conv(x).flatten(1),
    "one channel": lambda m, x: m.conv(x)[:, :1] * 2,
    "a concatenation": lambda m, x: torch.cat([m.conv(x), x], 1),
    "the input, and twice the same": lambda m, x: (x, y := x * 2, y),
    "windows that overlap": lambda m, x: x.unfold(3, 3, 1).contiguous(),
    "shuffled pixels": lambda m, x: F.pixel_shuffle(torch.cat([x, x, x, x], 1), 2),
    "edges reflected": lambda m, x: F.pad(x, (1, 2, 1, 2), mode="reflect"),
    "edges repeated": lambda m, x: F.pad(x, (1, 2, 1, 2), mode="replicate"),
    "shuffled channels": lambda m, x: F.channel_shuffle(m.conv(x), 2),
    "shuffled channels of no weights": lambda m, x: F.channel_shuffle(torch.cat([x, x], 1), 3) * 2,
    "unpooled": lambda m, x: F.max_unpool2d(*F.max_pool2d(m.conv(x), 2, return_indices=True), 2),
    "padded volumes": lambda m, x: [
        F.pad(torch.stack([m.conv(x)] * 2, 2).contiguous(memory_format=torch.channels_last_3d), (1,) * 6, mode)
        for mode in ("reflect", "replicate")
    ],
    "rolled": lambda m, x: torch.roll(x, (1, -2), (2, 3)),
    "rolled, and not": lambda m, x: (torch.roll(x, (1, 6), (1, 2)), torch.roll(x, 0, 1), torch.roll(m.conv(x), 5)),
    "log sigmoid, and work on it": lambda m, x: F.logsigmoid(m.conv(x)).exp() + 1,
    "rolled, behind what torch.export alone traces": lambda m, x: F.logsigmoid(torch.roll(_apart(x), 1, 2)).mT,
    "whole numbers": lambda m, x: m.conv(x).argmax(1),
    "a named tree": lambda m, x: {"a": m.conv(x).mT, "b": [x.transpose(0, 1) * 1]},
    "without elements": lambda m, x: m.conv(x)[:0].permute(0, 2, 3, 1),
}
PLACES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "row-major": lambda x: x,
    "channels-last": lambda x: x.contiguous(memory_format=LAST),
    "lines as channels": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
}


def agree(ours: Any, theirs: Any) -> None:
    """Numbers within a few roundings of f32, and the same strides."""
    for one, two in zip(flatten(ours)[0], flatten(theirs)[0], strict=True):
        torch.testing.assert_close(one, two.detach(), rtol=1e-5, atol=1e-5)
        assert one.stride() == two.stride()
        assert one.is_contiguous() == two.is_contiguous()
        if one.dim() == 4:
            assert one.is_contiguous(memory_format=LAST) == two.is_contiguous(memory_format=LAST)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", RESULTS)
def test_results_of_a_model_have_torchs_strides(name: str, place: str) -> None:
    net, x = Net(RESULTS[name]).eval(), PLACES[place](torch.randn(2, 3, 6, 8))
    model = tritoncnn.compile(net, x)
    agree(model(x), net(x))
    other = PLACES["channels-last" if place == "row-major" else "row-major"](x)  # of another order: numbers alone
    for one, two in zip(flatten(model(other))[0], flatten(net(other))[0], strict=True):
        torch.testing.assert_close(one, two.detach(), rtol=1e-5, atol=1e-5)


def test_channels_last_weights_make_channels_last_results() -> None:
    net, x = Net(RESULTS["pointwise work behind one"]).eval().to(memory_format=LAST), torch.randn(2, 3, 6, 8)  # type: ignore[call-overload]
    agree(tritoncnn.compile(net, x)(x), net(x))
    assert net(x).is_contiguous(memory_format=LAST)


@pytest.mark.parametrize("place", PLACES)
def test_results_of_a_step_have_torchs_strides(place: str) -> None:
    torch.manual_seed(1)
    x = PLACES[place](torch.randn(2, 3, 6, 8))
    ours, theirs = Net(lambda m, x: m.norm(m.conv(x))), Net(lambda m, x: m.norm(m.conv(x)))

    def losses(net: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = net(x)
        return {
            "loss": y.square().mean() + y.mean(),
            "y": y,
            "turned": y.permute(0, 2, 3, 1),
            "first": y[:, 0],
            "kept": net.conv.weight,
        }

    step = tritoncnn.compile_step(
        nets=ours, losses=losses, example=(x,), updates=[tritoncnn.Update("loss", by=SGD(0.0))]
    )
    found, wanted = step(x), losses(theirs, x)
    agree([found[k] for k in ("y", "turned", "first")], [wanted[k] for k in ("y", "turned", "first")])
    # The loss: a number goes through sums of 28 products, of 96 pixels twice (mean, variance) and of 384 results, and through
    # some ten single operations; gamma_n as in test_compile.py, times the sum of the terms without their signs.
    exact = {k: v.detach() for k, v in losses(Net(theirs.function).double(), x.double()).items()}
    terms = float(exact["y"].square().mean() + exact["y"].abs().mean())
    torch.testing.assert_close(
        found.loss.double(), exact["loss"], rtol=0, atol=(28 + 2 * 96 + 384 + 10) * 2**-24 * terms
    )
    torch.testing.assert_close(found.kept, wanted["kept"].detach())


@pytest.mark.parametrize("place", PLACES)
def test_results_of_a_gradient_have_torchs_strides_and_gradients_those_of_their_inputs(place: str) -> None:
    net, x = Net(lambda m, x: torch.tanh(m.conv(x))).eval(), PLACES[place](torch.randn(2, 3, 6, 8))
    grad = tritoncnn.compile_grad(net, wrt=("x", "conv.weight"), example=(x,))
    leaf = x.detach().requires_grad_()
    y = net(leaf)
    dy = torch.randn(y.shape)
    dx, dw = torch.autograd.grad(y, (leaf, net.conv.weight), dy)
    found, (ours, weight) = grad(x, cotangent=dy)
    agree(found, y)
    torch.testing.assert_close(ours, dx, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(weight, dw, rtol=1e-5, atol=1e-4)  # sums of 96 products
    assert (ours.stride(), weight.stride()) == (x.stride(), net.conv.weight.stride())


def test_windows_that_overlap_come_as_memory_of_their_own() -> None:
    x = torch.randn(2, 3, 6, 8)
    y = tritoncnn.compile(Net(lambda m, x: (x * 2).unfold(3, 3, 1)), x)(x)
    torch.testing.assert_close(y, (x * 2).unfold(3, 3, 1))
    assert y.is_contiguous()


@pytest.mark.parametrize("name", ["pointwise work behind one", "expanded", "parts", "permuted", "a column"])
def test_saved_models_give_the_same_strides(name: str, tmp_path: Path) -> None:
    net, x = Net(RESULTS[name]).eval(), torch.randn(2, 3, 6, 8).contiguous(memory_format=LAST)
    model = tritoncnn.compile(net, x)
    model.save(tmp_path / "net.safetensors")
    for again in (tritoncnn.load(tmp_path / "net.safetensors"), copy.deepcopy(model)):
        agree(again(x), net(x))


def test_a_result_that_lies_right_is_not_copied() -> None:
    def copies(name: str, x: torch.Tensor) -> int:
        return [call.node.op for call in tritoncnn.compile(Net(RESULTS[name]).eval(), x).plan.calls].count("copy")

    x = torch.randn(2, 3, 6, 8)
    assert copies("a convolution", PLACES["channels-last"](x)) == 0
    assert copies("a pool, beside what it pools", PLACES["channels-last"](x)) == 0
    assert copies("a convolution", x) == 1
    assert copies("picture and classes", x) == 1
    for place in PLACES.values():
        assert len(tritoncnn.compile(Net(RESULTS["pointwise work alone"]).eval(), place(x)).plan.calls) == 1
