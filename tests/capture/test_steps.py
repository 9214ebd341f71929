"""The launches of whole plans against torch: what a compiled model answers, and the gradients that a step takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import tritoncnn
from tests.capture.products import PRODUCTS
from tests.capture.test_table import Call, make, weighted
from tritoncnn.compiler import compile

CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = PRODUCTS  # type: ignore[assignment]
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
    torch.testing.assert_close(compile(Call(function), inputs)(*inputs), function(*inputs), **BOUND)


@pytest.mark.parametrize("name", CASES)
def test_a_compiled_step_takes_torchs_gradients(name: str) -> None:
    """One step of SGD with learning rate 1 moves each parameter by its gradient."""
    function, specs = CASES[name]
    module = OfParameters(function, [make(spec).float() for spec in specs])
    target = torch.randn(function(*module.values).shape, generator=torch.Generator().manual_seed(3))
    factor = torch.ones(())
    step = tritoncnn.compile_step(module, weighted, tritoncnn.SGD(lr=1.0), (factor, target))
    loss = weighted(module(factor), target)
    wanted = torch.autograd.grad(loss, list(module.values))
    torch.testing.assert_close(step(factor, target), loss.detach(), rtol=1e-4, atol=1e-4)
    moved = step.state_dict()
    for i, (before, gradient) in enumerate(zip(module.values, wanted, strict=True)):
        torch.testing.assert_close(before.detach() - moved[f"values.{i}"], gradient, **BOUND)
