"""Concatenation and padding without copies: how many launches there are, and that each part is where it belongs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.applied import Applied
from tests.targets import CPU
from tritoncnn.compiler import compile
from tritoncnn.ir import parse_graph
from tritoncnn.plan import make_plan


class Branches(torch.nn.Module):
    """An Inception block: four branches side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.a = torch.nn.Conv2d(4, 6, 1)
        self.b = torch.nn.Conv2d(4, 3, 3, padding=1)
        self.c = torch.nn.Conv2d(4, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = torch.max_pool2d(x, 3, 1, 1)
        return torch.cat((self.a(x).relu(), self.b(x).relu(), self.c(pooled), pooled), 1)


class Dense(torch.nn.Module):
    """A DenseNet block: each layer reads all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Conv2d(4 + 2 * i, 2, 3, padding=1) for i in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x * 2
        for layer in self.layers:
            x = torch.cat((x, layer(x).relu()), 1)
        return x * 3


class Skip(torch.nn.Module):
    """A U-Net's skip: the same activation is pooled and concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.down = torch.nn.Conv2d(4, 5, 3, padding=1)
        self.up = torch.nn.Conv2d(9, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = self.down(x).tanh()
        below = torch.nn.functional.interpolate(torch.max_pool2d(skip, 2)[:, :4], scale_factor=2)
        return self.up(torch.cat((skip, below), 1))


def viewed(x: torch.Tensor) -> torch.Tensor:
    """The first operand is also read through a view, the second is an input, the third appears twice."""
    a, b = x * 2, x + 1
    return torch.cat((a, x, b, b), 1) + a.reshape(2, -1)[:, :1].reshape(2, 1, 1, 1)


@pytest.mark.parametrize(("module", "copies"), [(Branches(), 0), (Dense(), 0), (Skip(), 0), (Applied(viewed), 4)])
def test_parts_are_written_in_place_where_they_can_be(module: Any, copies: int) -> None:
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    model = compile(module.eval(), x)
    assert [call.node.op for call in model.plan.calls].count("concat") == copies
    torch.testing.assert_close(model(x), module(x).detach(), rtol=1e-4, atol=1e-5)


class Chain(torch.nn.Module):
    """Filters behind filters, each of a padded picture, which is also added, pooled, and padded twice more."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(
            torch.nn.Conv2d(4, 4, (3, 4), padding=(1, 2), stride=(1, 2)) for _ in range(3)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.layers[0](x).relu()
        b = self.layers[1](a).relu() + torch.max_pool2d(a, (1, 3), (1, 2), (0, 1))[:, :, :, :3]
        return torch.cat(
            (self.layers[2](torch.nn.functional.pad(b, (0, 3, 1, 0))), torch.nn.functional.pad(b, (0, 0, 1, 0))), 3
        )


def test_what_is_padded_is_written_inside_of_its_border() -> None:
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    module = Chain().eval()
    model = compile(module, x)
    pads = [call.launch.kernel.__name__ for call in model.plan.calls if call.node.op == "pad2d"]
    # x is given, a has its place; b is copied into one of two, and that, padded once more, has its own.
    copied, inside = "pad2d_kernel", "border2d_kernel"
    assert pads == [copied, inside, copied, inside, inside]
    for _ in range(2):  # memory holds what the first call left
        torch.testing.assert_close(model(x), module(x).detach(), rtol=1e-4, atol=1e-5)


def test_a_picture_that_lies_as_its_place_does_is_copied_where_nobody_wrote_it_there() -> None:
    plan = make_plan(parse_graph("""
        graph g(x: f32[2,3,4,5]@strides(126,1,21,3)) {
          %1 = pad2d(x) {padding=[1,1,2,0]} : f32[2,3,6,7]@0,2,3,1
          return %1
        }"""), CPU)  # fmt: skip
    assert [(call.launch.kernel.__name__, [place.offset for place in call.places]) for call in plan.calls] == [
        ("border2d_kernel", [0]),
        ("pointwise_kernel", [4 * (21 + 6), 0]),
    ]
