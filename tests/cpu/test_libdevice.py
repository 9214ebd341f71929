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

INF, NAN = math.inf, math.nan


@triton.jit
def question_kernel(Y, X, n, OP: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    x = tl.load(X + offs, mask=offs < n)
    if OP == "isnan":
        y = libdevice.isnan(x)
    elif OP == "isinf":
        y = libdevice.isinf(x)
    elif OP == "signbit":
        y = libdevice.signbit(x)
    elif OP == "float2int_rn":
        y = libdevice.float2int_rn(x)
    elif OP == "float2int_rd":
        y = libdevice.float2int_rd(x)
    elif OP == "float2int_ru":
        y = libdevice.float2int_ru(x)
    elif OP == "float_as_int":
        y = libdevice.float_as_int(x)
    elif OP == "llrint":
        y = libdevice.llrint(x)
    else:
        y = libdevice.ilogb(x)
    tl.store(Y + offs, y.to(tl.int64), mask=offs < n)


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
    y = torch.empty(len(x), dtype=torch.int64)
    harness.run(question_kernel, (1,), {"Y": y, "X": x, "n": len(x)}, OP=op, BLOCK=16)
    assert torch.equal(y, QUESTIONS[op](x).long())


@triton.jit
def integer_kernel(Y, A, B, OP: tl.constexpr, BLOCK: tl.constexpr):
    offs = tl.arange(0, BLOCK)
    a, b = tl.load(A + offs), tl.load(B + offs)
    if OP == "clz":
        y = libdevice.clz(a)
    elif OP == "popc":
        y = libdevice.popc(a)
    elif OP == "ffs":
        y = libdevice.ffs(a)
    elif OP == "brev":
        y = libdevice.brev(a)
    elif OP == "mulhi":
        y = libdevice.mulhi(a, b)
    elif OP == "mul24":
        y = libdevice.mul24(a, b)
    elif OP == "sad":
        y = libdevice.sad(a, b, tl.full([BLOCK], 5, tl.uint32))
    elif OP == "hadd":
        y = libdevice.hadd(a, b)
    elif OP == "rhadd":
        y = libdevice.rhadd(a, b)
    else:
        y = libdevice.abs(a)
    tl.store(Y + offs, y)


def low24(x: int) -> int:
    return ((x & 0xFFFFFF) ^ 0x800000) - 0x800000


INTEGERS: dict[str, Callable[[int, int], int]] = {
    "clz": lambda a, b: 32 - (a & 0xFFFFFFFF).bit_length(), "popc": lambda a, b: (a & 0xFFFFFFFF).bit_count(),
    "ffs": lambda a, b: (a & -a).bit_length(), "brev": lambda a, b: int(f"{a & 0xFFFFFFFF:032b}"[::-1], 2),
    "mulhi": lambda a, b: a * b >> 32, "mul24": lambda a, b: low24(a) * low24(b), "sad": lambda a, b: abs(a - b) + 5,
    "hadd": lambda a, b: a + b >> 1, "rhadd": lambda a, b: a + b + 1 >> 1, "abs": lambda a, b: abs(a),
}  # fmt: skip


@pytest.mark.parametrize("lanes", [0, 4])
@pytest.mark.parametrize("op", list(INTEGERS))
def test_integer_functions_are_exact(op: str, lanes: int) -> None:
    a = torch.randint(-(2**31), 2**31 - 1, (64,), dtype=torch.int32)
    b = torch.randint(-(2**31), 2**31 - 1, (64,), dtype=torch.int32)
    a[:4] = torch.tensor([0, 1, -1, 2**30])
    y = torch.empty_like(a)
    harness.run(integer_kernel, (1,), {"Y": y, "A": a, "B": b}, lanes, OP=op, BLOCK=64)
    exact = [INTEGERS[op](p, q) for p, q in zip(a.tolist(), b.tolist(), strict=True)]
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
