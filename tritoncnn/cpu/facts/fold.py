"""Constant tensors as numpy: the elements of an op's result, given those of its operands.

Integer arithmetic wraps as the machine does; None stands for what is not folded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from tritoncnn.cpu.front.elements import BITS
from tritoncnn.cpu.front.ttir import Op

NUMPY: dict[str, Any] = {"i1": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64}
_UNSIGNED: dict[str, Any] = {"i1": np.bool_, "i8": np.uint8, "i16": np.uint16, "i32": np.uint32, "i64": np.uint64}
_BOOLS = {"true": 1, "false": 0}

Array = np.ndarray
Fold = Callable[[Op, list[Array], Any], "Array | None"]  # op, elements of its operands, numpy type of its result


def constant_elements(op: Op) -> list[str]:
    """The literals of an ``arith.constant``, in the order of their indices; one stands for all that are equal."""
    text, elem = str(op.attrs["value"]), op.results[0].type.elem
    if text.startswith('"'):  # "0x...": the bytes in memory, little end first; bools are packed
        raw = bytes.fromhex(text.strip('"')[2:])
        if elem == "i1":
            bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
            return [str(b) for b in bits[: math.prod(op.results[0].type.shape)]]
        size = BITS[elem] // 8
        return [hex(int.from_bytes(raw[k : k + size], "little")) for k in range(0, len(raw), size)]
    return re.findall(r"[^\s,\[\]]+", text)


# ---- tensors that are made, and their shapes -------------------------------------------------------------------------
def constant(op: Op, xs: list[Array], dtype: Any) -> Array:
    """The literals of the text."""
    type = op.results[0].type
    mask = (1 << BITS[type.elem]) - 1
    numbers = [_BOOLS[e] if e in _BOOLS else int(e, 0) & mask for e in constant_elements(op)]
    flat: Array = np.array(numbers, _UNSIGNED[type.elem]).astype(dtype)
    return flat.reshape(type.shape) if len(numbers) > 1 or not type.shape else np.broadcast_to(flat, type.shape)


def make_range(op: Op, xs: list[Array], dtype: Any) -> Array:
    """Numbers one after the other."""
    return np.arange(op.number("start"), op.number("end"), dtype=np.int32)


def repeat(op: Op, xs: list[Array], dtype: Any) -> Array:
    """``tt.splat`` and ``tt.broadcast``."""
    return np.broadcast_to(xs[0], op.results[0].type.shape)


def reshape(op: Op, xs: list[Array], dtype: Any) -> Array | None:
    """The same elements in order; some reshapes may take another one."""
    return None if "allow_reorder" in op.words() else xs[0].reshape(op.results[0].type.shape)


def transpose(op: Op, xs: list[Array], dtype: Any) -> Array:
    """Axes in another order."""
    order = op.attrs["order"]
    assert isinstance(order, list)
    return xs[0].transpose(order)


# ---- arithmetic ------------------------------------------------------------------------------------------------------
def _unsigned(x: Array) -> Array:
    if x.dtype == np.bool_:
        return x
    return (x if x.flags.c_contiguous else np.ascontiguousarray(x)).view(f"u{x.itemsize}")


def elements(how: Callable[..., Array]) -> Fold:
    """numpy's arithmetic."""
    return lambda op, xs, dtype: how(*xs).astype(dtype)


def arithmetic(how: Callable[[Array, Array], Array], of_bools: Callable[[Array, Array], Array]) -> Fold:
    """The same, of numbers and of single bits."""
    return lambda op, xs, dtype: of_bools(*xs) if xs[0].dtype == np.bool_ else how(*xs).astype(dtype)


def division(quotient: bool, signed: bool) -> Fold:
    """Towards zero; by zero there is no result."""

    def fold(op: Op, xs: list[Array], dtype: Any) -> Array | None:
        a, b = xs
        if (b == 0).any():
            return None
        if not signed:
            ua, ub = _unsigned(a), _unsigned(b)
            return (ua // ub if quotient else ua % ub).astype(dtype)
        whole = np.sign(a) * np.sign(b) * (np.abs(a.astype(np.int64)) // np.abs(b.astype(np.int64)))
        return (whole if quotient else a - whole * b).astype(dtype)

    return fold


def shift(how: Callable[[Array, Array], Array], signed: bool = True) -> Fold:
    """By less than the width."""

    def fold(op: Op, xs: list[Array], dtype: Any) -> Array | None:
        a, b = xs
        if (_unsigned(b) >= BITS[op.operands[0].type.elem]).any():
            return None
        return (how(a, b) if signed else how(_unsigned(a), _unsigned(b))).astype(dtype)

    return fold


def compare(op: Op, xs: list[Array], dtype: Any) -> Array:
    """By the op's predicate."""
    how = op.words()[0]
    x, y = (_unsigned(v) for v in xs) if how[0] == "u" else xs
    found = {"eq": x == y, "ne": x != y, "lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y}
    return found[how[-2:]]


def extend_zeros(op: Op, xs: list[Array], dtype: Any) -> Array:
    """To more bits, without a sign."""
    return _unsigned(xs[0]).astype(dtype)


def extend_sign(op: Op, xs: list[Array], dtype: Any) -> Array:
    """To more bits, with the sign."""
    (a,) = xs
    return (np.where(a, -1, 0) if a.dtype == np.bool_ else a).astype(dtype)


def truncate(op: Op, xs: list[Array], dtype: Any) -> Array:
    """To fewer bits."""
    (a,) = xs
    return ((a & 1) != 0 if dtype is np.bool_ else a).astype(dtype)
