"""libdevice functions of the CPU backend that answer in integers or take them; how the module is reached."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from tritoncnn import cpu
from tritoncnn.cpu.lower import lower
from tritoncnn.errors import UnsupportedError

from . import harness
from .harness import elementwise

INF, NAN = math.inf, math.nan


QUESTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "isnan": torch.isnan, "isinf": torch.isinf, "signbit": torch.signbit, "float2int_rn": torch.round,
    "float2int_rd": torch.floor, "float2int_ru": torch.ceil, "float_as_int": lambda x: x.view(torch.int32),
    "llrint": torch.round, "ilogb": lambda x: x.abs().frexp().exponent - 1,
}  # fmt: skip


@pytest.mark.parametrize("op", list(QUESTIONS))
def test_questions_and_conversions_are_answered_in_integers(op: str) -> None:
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, 100.25, -7.75, 1e-3])
    if op in ("isnan", "isinf", "signbit", "float_as_int"):
        x = torch.cat([x, torch.tensor([NAN, INF, -INF, -0.0])])
    y = elementwise(f"libdevice.{op}(x)", x, dtype=torch.int64)
    assert torch.equal(y, QUESTIONS[op](x).long())


def low24(x: int) -> int:
    return ((x & 0xFFFFFF) ^ 0x800000) - 0x800000


INTEGERS: dict[str, Callable[[int, int], int]] = {
    "clz(a)": lambda a, b: 32 - (a & 0xFFFFFFFF).bit_length(), "popc(a)": lambda a, b: (a & 0xFFFFFFFF).bit_count(),
    "ffs(a)": lambda a, b: (a & -a).bit_length(), "brev(a)": lambda a, b: int(f"{a & 0xFFFFFFFF:032b}"[::-1], 2),
    "mulhi(a, b)": lambda a, b: a * b >> 32, "mul24(a, b)": lambda a, b: low24(a) * low24(b),
    "sad(a, b, tl.full(a.shape, 5, tl.uint32))": lambda a, b: abs(a - b) + 5,
    "hadd(a, b)": lambda a, b: a + b >> 1, "rhadd(a, b)": lambda a, b: a + b + 1 >> 1, "abs(a)": lambda a, b: abs(a),
}  # fmt: skip


@pytest.mark.parametrize("lanes", [0, 4])
@pytest.mark.parametrize("call", list(INTEGERS))
def test_integer_functions_are_exact(call: str, lanes: int) -> None:
    a, b = (torch.randint(-(2**31), 2**31 - 1, (64,), dtype=torch.int32) for _ in range(2))
    a[:4] = torch.tensor([0, 1, -1, 2**30])
    y = elementwise(f"libdevice.{call}", a, b, lanes=lanes)
    exact = [INTEGERS[call](p, q) for p, q in zip(a.tolist(), b.tolist(), strict=True)]
    assert [v & 0xFFFFFFFF for v in y.tolist()] == [v & 0xFFFFFFFF for v in exact]


@triton.jit
def portable_kernel(Y, X, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    tl.store(Y + offs, tl.extra.libdevice.atan(tl.load(X + offs)))


def test_the_portable_module_works_through_tritons_launcher() -> None:
    x, y = torch.randn(64), torch.empty(64)
    with cpu.active():
        portable_kernel[(1,)](y, x, BLOCK=64)
    torch.testing.assert_close(y, torch.atan(x))


@triton.jit
def unknown_kernel(Y, X, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    tl.store(Y + offs, libdevice.erfcinv(tl.load(X + offs)))


def test_a_function_that_is_left_out_is_refused_by_name_and_line() -> None:
    text = harness.ttir(unknown_kernel, {"Y": "*fp32", "X": "*fp32"}, {"BLOCK": 16})
    with pytest.raises(
        UnsupportedError, match=r"tt\.extern_elementwise at .*test_libdevice\.py:\d+: .*'__nv_erfcinvf'"
    ):
        lower(text, lanes=16)
