"""What the table's arithmetic means, through the whole compiler: kernels against torch in f32, whole numbers exactly."""

from __future__ import annotations

import math

import pytest
import torch

import tritoncnn
from tests.applied import Applied
from tests.capture import arithmetic
from tests.capture.test_table import CASES, make

COMPILED = [
    *arithmetic.CASTS, *arithmetic.LOGIC, "whole quotients", "whole pow", "floor_divide", "remainder", "round", "trunc",
    "pow number", "copysign", "sum of whole numbers", "sum of a mask", "a whole tensor of one number", "written in place",
]  # fmt: skip


@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_model_agrees_with_torch(name: str) -> None:
    function, specs = CASES[name]
    inputs = tuple(make(spec).float() for spec in specs)
    wanted = function(*(x.clone() for x in inputs))
    found = tritoncnn.compile(Applied(function), inputs)(*inputs)
    torch.testing.assert_close(found, wanted, rtol=2e-5, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool, torch.float16, torch.bfloat16]
)
def test_inputs_of_every_dtype_are_taken(dtype: torch.dtype) -> None:
    """A picture normalised in the graph, and whole numbers past 2**24, which f32 does not hold."""
    x = torch.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7).to(dtype)
    mean, deviation = torch.tensor([0.5, 0.4, 0.3]).reshape(3, 1, 1), 0.25

    def function(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return (x.float() / 255 - mean) / deviation, x.long() * 3 + 2**40

    for found, wanted in zip(tritoncnn.compile(Applied(function), x)(x), function(x), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_negated_zero_keeps_its_sign(dtype: torch.dtype) -> None:
    x = torch.tensor([0.0, -0.0, 1.5, -math.inf], dtype=dtype)
    for function in (lambda x: -x, lambda x: -(x.neg()), lambda x: -x.abs()):
        found, wanted = tritoncnn.compile(Applied(function), x)(x), function(x)
        assert torch.equal(found, wanted)
        assert torch.equal(found.signbit(), wanted.signbit())
