"""Scalar operands of every sort in compiled modules: Python's and numpy's numbers, truth values, tensors without dims."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import tritoncnn
from tests.applied import Applied
from tests.kernels.cases import DEEP

SCALARS: dict[str, Any] = {
    "True": True, "False": False, "2": 2, "-3": -3, "0.5": 0.5, "f32": np.float32(0.3), "f64": np.float64(0.3),
    "i64": np.int64(3), "u8": np.uint8(3), "bool": np.bool_(True), "tensor f32": torch.tensor(0.3),
    "tensor f64": torch.tensor(0.3, dtype=torch.float64), "tensor i64": torch.tensor(3), "tensor bool": torch.tensor(True),
}  # fmt: skip
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda x, s: x + s, "reflected +": lambda x, s: s + x, "*": lambda x, s: x * s, "-": lambda x, s: x - s,
    "/": lambda x, s: x / s, "%": lambda x, s: x % s, "//": lambda x, s: x // s, "==": lambda x, s: x == s,
    ">": lambda x, s: x > s, "<=": lambda x, s: x <= s, "where": lambda x, s: torch.where(x > 1, x, s),
    "masked_fill": lambda x, s: x.masked_fill(x > 1, s),
}  # fmt: skip
OPERANDS = {
    "f32": torch.linspace(-2, 3, 20).reshape(4, 5),
    "f16": torch.linspace(-2, 3, 20).reshape(4, 5).half(),
    "i64": torch.arange(-5, 15).reshape(4, 5),
    "u8": torch.arange(20, dtype=torch.uint8).reshape(4, 5),
}


def agree(function: Callable[..., Any], *xs: Tensor) -> None:
    wanted = function(*xs)
    found = tritoncnn.compile(Applied(function).eval(), xs)(*xs)
    assert found.dtype == wanted.dtype
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6, equal_nan=True)


# Each sort meets two of the dtypes, the next of its kind the other two; all four in the deep profile.
MEETINGS = [
    (name, dtype)
    for i, name in enumerate(SCALARS)
    for j, dtype in enumerate(OPERANDS)
    if DEEP or (i + i // 4 + j) % 2 == 0
]


@pytest.mark.parametrize(("name", "dtype"), MEETINGS)
def test_a_scalar_of_any_sort_is_what_it_is_in_torch(name: str, dtype: str) -> None:
    """All operators in one module: what torch itself refuses is left out."""
    x, scalar = OPERANDS[dtype], SCALARS[name]
    taken = []
    for operator, function in BINARY.items():
        if dtype == "f16" and operator in ("%", "//"):  # torch rounds their divisor to 16 bits
            continue
        try:
            wanted = function(x, scalar)
        except (RuntimeError, TypeError):
            continue
        if wanted.dtype != torch.float64:  # which is refused
            taken.append(function)
    assert len(taken) >= 4
    found = tritoncnn.compile(Applied(lambda x: tuple(f(x, scalar) for f in taken)).eval(), (x,))(x)
    for y, function in zip(found, taken, strict=True):
        wanted = function(x, scalar)
        assert y.dtype == wanted.dtype
        torch.testing.assert_close(y, wanted, rtol=2e-3 if dtype == "f16" else 1e-5, atol=1e-6, equal_nan=True)


T = torch.tensor
TRUTH: dict[str, Callable[..., Tensor]] = {
    "and True": lambda m, x: m & True, "and False": lambda m, x: m & False, "or True": lambda m, x: m | True,
    "xor True": lambda m, x: m ^ True, "and a tensor": lambda m, x: m & T(True), "or a tensor": lambda m, x: m | T(False),
    "not of a tensor": lambda m, x: ~T(True) | m, "where True": lambda m, x: torch.where(T(True), x, -x),
    "where False": lambda m, x: torch.where(T(False), x, -x), "where gives True": lambda m, x: torch.where(m, True, False),
    "where of masks": lambda m, x: torch.where(m, m, True),
    "a constant row": lambda m, x: T([True, False, True, True, False]) & m,
    "+ True": lambda m, x: m + True, "* 2": lambda m, x: m * 2, "== True": lambda m, x: m == True,  # noqa: E712
    "== 0.5": lambda m, x: m == 0.5, "> False": lambda m, x: m > False, "masked_fill": lambda m, x: m.masked_fill(m, False),
    "logical_and": lambda m, x: torch.logical_and(x, T(1)), "maximum": lambda m, x: torch.maximum(m, T(True)),
}  # fmt: skip


@pytest.mark.parametrize("name", TRUTH)
def test_truth_values_are_constants_too(name: str) -> None:
    x = OPERANDS["f32"]
    agree(TRUTH[name], x > 0.5, x)


OPTIONS: dict[str, Callable[..., Tensor]] = {
    "lerp": lambda x: torch.lerp(x, x * 3, 0.3), "lerp far": lambda x: torch.lerp(x, x * 3, 0.7),
    "lerp by an int": lambda x: torch.lerp(x, x * 3, 1), "lerp by True": lambda x: x.lerp(x * 3, True),
    "lerp by a tensor": lambda x: torch.lerp(x, x * 3, T(0.3)),
    "lerp by numpy": lambda x: torch.lerp(x, x * 3, np.float64(0.3)),
    "leaky_relu": lambda x: F.leaky_relu(x, True), "elu": lambda x: F.elu(x, 2),
    "threshold": lambda x: F.threshold(x, True, False),
    "hardtanh": lambda x: F.hardtanh(x, False, True), "softshrink": lambda x: F.softshrink(x, np.float64(0.5)),
    "clamp": lambda x: x.clamp(False, np.float32(1)), "clamp by tensors": lambda x: x.clamp(T(-1.0), T(0.5)),
    "power": lambda x: x ** T(2), "power True": lambda x: x**True, "power False": lambda x: x**False,
    "addcmul": lambda x: torch.addcmul(x, x, x, value=True), "alpha": lambda x: torch.sub(x, x * 3, alpha=np.float32(0.5)),
    "filled by an int tensor": lambda x: x.masked_fill(x > 0, T(2)), "copysign": lambda x: torch.copysign(x, T(-1)),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_options_may_be_scalars_of_any_sort(name: str) -> None:
    agree(OPTIONS[name], OPERANDS["f32"])


def test_a_number_meets_a_short_integer_as_torch_wraps_it() -> None:
    x = torch.arange(256, dtype=torch.uint8)
    for number in (-1, 255, 256, 300):
        agree(lambda x, n=number: torch.stack([x == n, x > n, x <= n]), x)
