"""The launches of whole plans against torch: what a compiled model answers, and the gradients that a step takes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

import tritoncnn
from tests.applied import Applied
from tests.capture.orders import ORDERS
from tests.capture.products import PRODUCTS
from tests.capture.test_table import make, weighted
from tritoncnn.compiler import compile

pytestmark = pytest.mark.sweep(2)

CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = PRODUCTS | ORDERS  # type: ignore[assignment]
BOUND = {"rtol": 1e-5, "atol": 1e-5}  # sums of a few dozen products of numbers up to 4


class OfParameters(torch.nn.Module):
    """A function of parameters alone, times a factor that is handed in."""

    def __init__(self, function: Callable[..., Any], values: list[torch.Tensor]) -> None:
        super().__init__()
        self.function = function
        self.values = torch.nn.ParameterList([torch.nn.Parameter(x.clone()) for x in values])

    def forward(self, factor: torch.Tensor) -> Any:
        return self.function(*self.values) * factor


@pytest.mark.parametrize("name", CASES)
def test_a_compiled_model_agrees_with_torch(name: str) -> None:
    function, specs = CASES[name]
    inputs = tuple(make(spec).float() for spec in specs)
    torch.testing.assert_close(compile(Applied(function), inputs)(*inputs), function(*inputs), **BOUND)


@pytest.mark.parametrize("name", CASES)
def test_a_compiled_step_takes_torchs_gradients(name: str) -> None:
    """One step of SGD with learning rate 1 moves each parameter by its gradient."""
    function, specs = CASES[name]
    module = OfParameters(function, [make(spec).float() for spec in specs])
    target = torch.randn(function(*module.values).shape, generator=torch.Generator().manual_seed(3))
    factor = torch.ones(())
    step = tritoncnn.compile_step(copy.deepcopy(module), weighted, tritoncnn.SGD(lr=1.0), (factor, target))
    loss = weighted(module(factor), target)
    wanted = torch.autograd.grad(loss, list(module.values))
    torch.testing.assert_close(step(factor, target), loss.detach(), rtol=1e-4, atol=1e-4)
    moved = step.state_dict()
    for i, (before, gradient) in enumerate(zip(module.values, wanted, strict=True)):
        torch.testing.assert_close(before.detach() - moved[f"values.{i}"], gradient, **BOUND)


def test_whole_numbers_and_truth_values_leave_a_compiled_model() -> None:
    """Places and truth values are results like others: of their own dtype, beside floats or alone."""

    def places(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (*x.max(1), *x.sort(2, descending=True), x.argmin(), (x > 0).any(0), x.topk(2, 1)[1], x > 1)

    x = make((2, 3, 7)).float()
    for found, wanted in zip(compile(Applied(places), (x,))(x), places(x), strict=True):
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted)
    y = compile(Applied(lambda x: x.argmax(2)), (x,))(x)
    assert torch.equal(y, x.argmax(2))


SPECIAL = torch.tensor([[1.0, float("nan"), 3.0, float("nan")], [-0.0, 0.0, -float("inf"), 0.0], [2.0, 2.0, 1.0, 2.0]])
CORNERS = {
    "max": lambda x: tuple(x.max(1)),
    "argmax": lambda x: x.argmax(1),
    "min": lambda x: x.min(1)[0],
    "amin": lambda x: x.amin(1),
    "sort": lambda x: tuple(x.sort(dim=1, stable=True)),
    "sort down": lambda x: tuple(x.sort(dim=1, descending=True, stable=True)),
    "logsumexp": lambda x: x.logsumexp(1),
    "logsumexp of -inf": lambda x: torch.where(x < 9, -float("inf"), x).logsumexp(1),
    "cumsum": lambda x: x.cumsum(1),
    "any": lambda x: x.any(1),
    "all": lambda x: x.all(1),
}


@pytest.mark.parametrize("name", CORNERS)
def test_nan_infinities_and_equal_values_are_taken_as_torch_takes_them(name: str) -> None:
    function = CORNERS[name]
    found, wanted = compile(Applied(function), (SPECIAL,))(SPECIAL), function(SPECIAL)
    pairs = zip(found, wanted, strict=True) if isinstance(found, tuple) else [(found, wanted)]
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, equal_nan=True)


class Held(torch.nn.Module):
    """Numbers that the code, the module or its state holds, none of them row by row in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.turned = torch.arange(12.0).reshape(4, 3).t()
        self.register_buffer("kept", torch.arange(12.0, 24.0).reshape(4, 3).t())
        self.register_buffer("wide", torch.arange(4.0).expand(3, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lines = torch.linspace(-1, 1, 4).expand(3, 4)
        return x * lines + self.turned + self.kept * self.wide + torch.arange(3.0)[:, None].expand(3, 4) * x


def test_constants_and_buffers_of_any_strides_are_read_as_they_are() -> None:
    x, module = make((3, 4)).float(), Held()
    torch.testing.assert_close(compile(module, (x,))(x), module(x), **BOUND)
