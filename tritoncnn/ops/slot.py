"""Fused pointwise expression -> small Triton function -> Slot of a kernel template.

The source is readable, printable (``tritoncnn inspect --source``) and found by ``inspect`` through linecache, as
``triton.jit`` needs it.
"""

from __future__ import annotations

import hashlib
import linecache
import math
from functools import lru_cache
from typing import Any

import triton
import triton.language as tl
from triton.language.extra import libdevice

from tritoncnn.ir import ACC, Expr, TensorType, parse_expr
from tritoncnn.kernels import device, special
from tritoncnn.kernels.launch import Slot
from tritoncnn.ops.define import OPS


def _address(index: int, out: TensorType, operand: TensorType) -> tuple[str, str]:
    """(offset, mask) of operand ``$index`` at the element ``at`` of ``out``, broadcasting as torch does.

    A fully indexed operand shares the template's mask. One that is broadcast has fewer dims than the mask, so it
    compares the coordinates it uses with its own sizes.
    """
    lead = out.rank - operand.rank
    stretched = [d for d in range(operand.rank) if operand.shape[d] != out.shape[lead + d]]
    if lead == 0 and not stretched:
        terms = [f"at[{d}] * {s}" if s != 1 else f"at[{d}]" for d, s in enumerate(operand.strides)]
        return " + ".join(terms), "mask"
    used = [d for d in range(operand.rank) if d not in stretched and operand.shape[d] > 1]
    terms = [f"at[{lead + d}] * {operand.strides[d]}" if operand.strides[d] != 1 else f"at[{lead + d}]" for d in used]
    return " + ".join(terms), " & ".join(f"(at[{lead + d}] < {operand.shape[d]})" for d in used)


ALSO = "; "  # between expressions of one slot
_FULL = {int: "tl.int64", float: "tl.float32", bool: ""}  # type of a bare number; a truth value is a tensor already


class _Writer:
    """Lines of the function; one name per distinct subexpression, so shared parts are computed once."""

    def __init__(self, out: TensorType, operands: tuple[TensorType, ...]) -> None:
        self.out, self.operands = out, operands
        self.lines: list[str] = []
        self.names: dict[Expr, str] = {}

    def write(self, expr: Expr) -> str:
        if expr not in self.names:
            self.names[expr] = self._write(expr)
        return self.names[expr]

    def _write(self, expr: Expr) -> str:
        if expr.op == ACC and not expr.args:
            return "acc"
        if (index := expr.operand) is not None:
            return self._load(index)
        if isinstance(number := expr.constant, bool):
            return f"tl.full((), {int(number)}, tl.int1)"
        if number is not None:
            if number == 0 and math.copysign(1.0, number) < 0:
                return "(tl.full((), 0.0, tl.float32) * -1.0)"  # Triton takes -0.0 for 0.0
            return repr(number) if math.isfinite(number) else f'float("{number}")'
        args = [self.write(arg) for arg in expr.args]
        if all(arg.constant is not None for arg in expr.args):  # bare numbers have no methods in Triton
            kinds = [_FULL[type(arg.constant)] for arg in expr.args]
            args = [
                f"tl.full((), {arg}, {kind})" if kind and not arg.startswith("(") else arg
                for arg, kind in zip(args, kinds, strict=True)
            ]
        return self._name(OPS[expr.op].triton.format(*args), f"v{len(self.lines)}")

    def _load(self, index: int) -> str:
        operand = self.operands[index]
        offset, mask = _address(index, self.out, operand)
        pointer = f"args[{index}] + ({offset})" if offset else f"args[{index}]"
        masked = f", mask={mask}, other=0" if mask else ""
        narrow = operand.dtype in ("f16", "bf16")
        kind = ".to(tl.float32)" if narrow else ".to(tl.int1)" if operand.dtype == "i1" else ""
        return self._name(f"tl.load({pointer}{masked}){kind}", f"x{index}")

    def _name(self, code: str, name: str) -> str:
        self.lines.append(f"    {name} = {code}")
        return name


@lru_cache(maxsize=4096)
def make_slot(text: str, out: TensorType, operands: tuple[TensorType, ...]) -> Slot:
    """The slot that computes expression ``text`` per element of ``out``; ``$j`` is ``operands[j]``, broadcast to ``out``.

    Of several expressions, joined by ``ALSO``, it returns a tuple.
    """
    writer = _Writer(out, operands)
    results = ", ".join(writer.write(parse_expr(one)) for one in text.split(ALSO))
    body = "\n".join([*writer.lines, f"    return {results}"])
    name = f"slot_{hashlib.sha256((text + body).encode()).hexdigest()[:10]}"
    source = f'def {name}(acc, args, at, mask):\n    """{text}"""\n{body}\n'
    return Slot(jit_function(name, source), operands, text, source)


@lru_cache(maxsize=4096)
def jit_function(name: str, source: str, **functions: Any) -> Any:
    """The @triton.jit function that ``source`` defines by this name; it may call ``functions`` and what kernels import."""
    file = f"<tritoncnn {name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope: dict[str, Any] = {
        "tl": tl,
        "libdevice": libdevice,
        "triton": triton,
        "device": device,
        "special": special,
        "__name__": "tritoncnn.generated",
        **functions,
    }
    exec(compile(source, file, "exec"), scope)
    return triton.jit(scope[name])
