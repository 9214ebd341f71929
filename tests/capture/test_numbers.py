"""Numbers in the code beside tensors: signs of zeros, numbers that 16 bits do not hold, floats that no whole number holds."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tritoncnn
from tritoncnn import functional as T

Function = Callable[[torch.Tensor], torch.Tensor]
POINTS = (-1.0, 0.0, 2.0, -0.0)


class All(nn.Module):
    """Several functions of one tensor, each of which makes a kernel of one plan."""

    def __init__(self, functions: dict[str, Function]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(function(x) for function in self.functions.values())


def said(x: torch.Tensor) -> list[str]:
    """The numbers as text, in which 0.0 is not -0.0 and NaN is NaN."""
    return [str(number) for number in x.flatten().tolist()]


def check(functions: dict[str, Function], x: torch.Tensor) -> None:
    found = tritoncnn.compile(All(functions).eval(), x)(x)
    for (name, function), y in zip(functions.items(), found, strict=True):
        wanted = function(x)
        assert y.dtype == wanted.dtype
        assert said(y) == said(wanted), name


BOTH_ZEROS: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
    "where": lambda x, zero: torch.where(x > 0, x, zero),
    "where of numbers": lambda x, zero: torch.where(x > 0, 1.0, zero),
    "masked_fill": lambda x, zero: x.masked_fill(x < 0, zero),
    "pad": lambda x, zero: F.pad(x, (1, 1), value=zero),
    "pad of 3 dims": lambda x, zero: F.pad(x[0], (1, 0, 0, 1, 1, 0), value=zero),
    "full_like": lambda x, zero: torch.full_like(x, zero) * 1,
    "cat": lambda x, zero: torch.cat([x, torch.full_like(x, zero)]),
    "leaky_relu": F.leaky_relu,
    "threshold": lambda x, zero: F.threshold(x, 0.5, zero),
    "times": lambda x, zero: x * zero,
}


def test_zeros_of_both_signs_in_one_model_stay_apart() -> None:
    functions = {
        f"{name} {zero}": lambda x, f=f, zero=zero: f(x, zero) for name, f in BOTH_ZEROS.items() for zero in (0.0, -0.0)
    }
    functions["a tensor of both"] = lambda x: x + torch.tensor([0.0, -0.0, 0.0, -0.0])
    check(functions, torch.tensor(POINTS * 4).reshape(1, 1, 4, 4))


OPTIONS: dict[str, tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor]]] = {
    "pad": (lambda x, n: T.pad(x, (1, 1), value=n), lambda x, n: F.pad(x, (1, 1), value=n)),
    "leaky_relu": (T.leaky_relu, F.leaky_relu),
    "elu": (T.elu, F.elu),
}


@pytest.mark.parametrize("seen", [True, False], ids=["traced", "direct"])
def test_calls_with_options_of_other_signs_share_no_program(seen: bool) -> None:
    """A call that autograd's dispatcher sees, and one that goes past it, have keys of their own."""
    x = torch.tensor(POINTS * 2).reshape(1, 1, 2, 4)
    for ours, theirs in OPTIONS.values():
        for number in (-0.0, 0.0, -0.0, 1, 1.0, True):
            if seen:
                found = torch.func.functionalize(ours)(x, number)
            else:
                found = ours(x, number)
            assert said(found) == said(theirs(x, number))


HELD: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
    "equal": lambda x, n: x == n,
    "at least": lambda x, n: x >= n,
    "below": lambda x, n: x < n,
    "remainder": lambda x, n: x % n,
    "remainder of a number": lambda x, n: torch.remainder(torch.full((), n), x),
    "fmod": torch.fmod,
    "rounded down": lambda x, n: x // n,
    "rounded to 0": lambda x, n: torch.div(x, n, rounding_mode="trunc") + 0 * (x / n),
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
    "clamp": lambda x, n: x.clamp(-n, n),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])
def test_a_number_that_16_bits_do_not_hold_is_rounded_where_torch_rounds_it(dtype: torch.dtype) -> None:
    near = torch.tensor((0.1, 0.3, 0.7, 2.2), dtype=dtype)
    x = torch.cat([near, -near, torch.nextafter(near, 2 * near), 13 * near, torch.ones(16, dtype=dtype)]).repeat(2)
    check({name: lambda x, f=f: f(x, 0.3) for name, f in HELD.items()}, x)


@pytest.mark.parametrize("name", ["clamp", "hardshrink", "softshrink"])
def test_a_bound_that_16_bits_do_not_hold_has_torchs_gradient_on_it(name: str) -> None:
    near = torch.tensor([0.3, -0.3, 0.2, 0.4], dtype=torch.bfloat16)
    leaf = near.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(HELD[name](leaf, 0.3).sum(), leaf)
    _, found = tritoncnn.compile_grad(lambda x: HELD[name](x, 0.3).sum(), wrt=("x",), example=(near,))(near)
    assert torch.equal(found[0] if isinstance(found, tuple) else found, wanted)


LEAST, LEAST64 = -(2**31), -(2**63)
CASTS = {  # a float -> i64, i32, i16, i8, u8, bool, as torch has them on x86
    1.9: (1, 1, 1, 1, 1, True),
    -1.9: (-1, -1, -1, -1, 255, True),
    -0.5: (0, 0, 0, 0, 0, True),
    300.0: (300, 300, 300, 44, 44, True),
    -40000.0: (-40000, -40000, 25536, -64, 192, True),
    2.0**31: (2**31, LEAST, 0, 0, 0, True),
    -(2.0**31): (LEAST, LEAST, 0, 0, 0, True),
    3e9: (3 * 10**9, LEAST, 0, 0, 0, True),
    2.0**63: (LEAST64, LEAST, 0, 0, 0, True),
    -1e30: (LEAST64, LEAST, 0, 0, 0, True),
    math.inf: (LEAST64, LEAST, 0, 0, 0, True),
    -math.inf: (LEAST64, LEAST, 0, 0, 0, True),
    math.nan: (LEAST64, LEAST, 0, 0, 0, True),
}


def test_floats_that_no_whole_number_holds_become_what_torch_makes_of_them() -> None:
    dtypes = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
    x = torch.tensor(list(CASTS))
    functions = {str(dtype): lambda x, dtype=dtype: x.to(dtype) for dtype in dtypes}
    found = tritoncnn.compile(All(functions).eval(), x)(x)
    rows = zip(*(y.tolist() for y in found), strict=True)
    assert dict(zip(CASTS, rows, strict=True)) == CASTS


def test_tensors_of_several_dtypes_are_joined_in_the_promoted_one() -> None:
    def joined(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([(x > 0), x.to(torch.int32), torch.zeros(0, dtype=torch.int64)])

    functions = {
        "cat of bool, i32 and an empty i64": joined,
        "cat with f16": lambda x: torch.cat([joined(x), x.half()]),
        "stack": lambda x: torch.stack([x, (x > 0), x.to(torch.uint8)], 1),
    }
    check(functions, torch.tensor([1.5, 0.0, 255.0]))


@pytest.mark.parametrize("name", ["hardshrink", "softshrink"])
def test_a_write_elsewhere_changes_no_ops_gradient(name: str) -> None:
    """A write makes torch.export take some ops apart into others, whose gradient at NaN is not the same."""

    def written(x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = getattr(F, name)(x)
        return y.clone().mul_(2.0)

    x = torch.tensor([math.nan, -0.5, 0.5, 2.0, -0.0, -3.0]).repeat_interleave(64)  # for torch's vector code
    leaf = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(written(leaf).sum(), leaf)
    _, found = tritoncnn.compile_grad(lambda x: written(x).sum(), wrt=("x",), example=(x,))(x)
    assert torch.equal(found, wanted)
    assert torch._C.DispatchKey.Autograd in getattr(torch.ops.aten, name).default.py_kernels


class Spreads(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return x.var(1), x.std(1), torch.var_mean(x, 0, keepdim=True)[0], x.std(), *torch.std_mean(x, correction=0)


def test_deviations_neither_overflow_nor_vanish_where_torchs_do_not() -> None:
    """Torch adds up squares in f64: the variance near 4e18 is finite in f32, the deviation near 1e25 is."""
    base = torch.randn(7, 50, generator=torch.Generator().manual_seed(0))
    model = tritoncnn.compile(Spreads().eval(), base)
    for size in (1.0, 4e18, 1e25, 1e-25, 0.0):
        for found, wanted in zip(model(base * size), Spreads()(base * size), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0.0)  # sums of 350 squares
