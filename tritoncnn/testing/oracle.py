"""What is right: data, the result in fp64 of the inputs as rounded, and how far a kernel may be from it.

Bound: a sum of n products in precision u, in any order, is off by at most gamma_n * sum|a||b|, gamma_n = n*u / (1 - n*u);
storing it rounds once more. Source: Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tritoncnn.ir import DTYPES

UNIT = 2.0**-24  # rounding unit of f32, in which kernels accumulate
ROUNDING = {getattr(torch, row.torch): row.roundoff for row in DTYPES.values() if row.roundoff is not None}
_SMALLEST = {getattr(torch, row.torch): row.smallest for row in DTYPES.values() if row.roundoff is not None}
SPECIAL = (float("nan"), float("inf"), float("-inf"), 0.0, -0.0)


def integers(shape: Sequence[int], seed: int) -> torch.Tensor:
    """f64 whole numbers in [-4, 4]: their sums of products are exact in f32, in any order."""
    return torch.randint(-4, 5, tuple(shape), generator=torch.Generator().manual_seed(seed)).double()


def floats(shape: Sequence[int], seed: int) -> torch.Tensor:
    """f64 values of a normal distribution, rounded to f32."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed)).double()


def specials(shape: Sequence[int], seed: int) -> torch.Tensor:
    """Whole numbers, a quarter of them replaced by NaN, infinities and zeros of both signs."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-4, 5, tuple(shape), generator=generator).double()
    other = torch.tensor(SPECIAL, dtype=torch.float64)[torch.randint(len(SPECIAL), tuple(shape), generator=generator)]
    return values.where(torch.rand(tuple(shape), generator=generator) > 0.25, other)


def error_bound(wanted: torch.Tensor, magnitude: torch.Tensor, terms: int, dtype: torch.dtype) -> torch.Tensor:
    """How far a kernel's result may lie from ``wanted``: ``terms`` products summed in f32, then rounded to ``dtype``.

    ``magnitude`` is the sum of the products' absolute values. Two operations more than ``terms`` are granted.
    """
    gamma = (terms + 2) * UNIT / (1 - (terms + 2) * UNIT)
    accumulated = gamma * magnitude
    return accumulated + ROUNDING[dtype] * (wanted.abs() + accumulated) + _SMALLEST[dtype]


def differences(found: torch.Tensor, wanted: torch.Tensor, bound: torch.Tensor | None) -> torch.Tensor:
    """[bool] where ``found`` is wrong. ``bound`` None: it must be ``wanted`` rounded once (the sign of zero is free).

    NaN must meet NaN and an infinity the same infinity, with a bound too.
    """
    nearest = wanted.to(found.dtype).double()
    value = found.double()
    same = (value == nearest) | (value.isnan() & nearest.isnan())
    if bound is None:
        return ~same
    within = nearest.isfinite() & value.isfinite() & ((value - wanted).abs() <= bound)
    return ~(same | within)


def assert_exact(result: torch.Tensor, wanted: torch.Tensor) -> None:
    """Bit for bit (but for the sign of zero)."""
    torch.testing.assert_close(result.double(), wanted, rtol=0.0, atol=0.0, equal_nan=True)


def assert_within(result: torch.Tensor, wanted: torch.Tensor, magnitude: torch.Tensor, length: int) -> None:
    """Two sums of ``length`` products, in any order, differ by at most twice the bound of one."""
    bound = 2 * error_bound(wanted, magnitude, length, torch.float64)
    if result.dtype in (torch.float16, torch.bfloat16):
        bound = bound + ROUNDING[result.dtype] * wanted.abs()
    error = (result.double() - wanted).abs()
    assert bool((error <= bound).all()), f"error {float(error.max())}, bound {float(bound.max())}"
