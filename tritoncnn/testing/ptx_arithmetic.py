"""What PTX instructions compute, one function of numpy arrays for each; every thread of a block is an element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tritoncnn.testing.ptx_matrix import bf16_to_f32, f16_to_f32, f32_to_bf16
from tritoncnn.testing.ptx_memory import Array, PtxFault

TYPES: dict[str, Any] = {
    "b8": np.uint8, "u8": np.uint8, "s8": np.int8, "b16": np.uint16, "u16": np.uint16, "s16": np.int16,
    "b32": np.uint32, "u32": np.uint32, "s32": np.int32, "f32": np.float32,
    "b64": np.uint64, "u64": np.uint64, "s64": np.int64, "f64": np.float64,
    "bf16": np.uint16, "f16": np.uint16, "bf16x2": np.uint32, "f16x2": np.uint32, "tf32": np.uint32, "pred": np.bool_,
}  # fmt: skip
HALVES = ("bf16", "f16", "bf16x2", "f16x2")


def widen(x: Array, kind: str) -> Array:
    """16-bit floats -> f32; a pair becomes [2, threads]."""
    if kind.endswith("x2"):
        low, high = (x & np.uint32(0xFFFF)).astype(np.uint16), (x >> np.uint32(16)).astype(np.uint16)
        return np.stack([widen(low, kind[:-2]), widen(high, kind[:-2])])
    return bf16_to_f32(x) if kind == "bf16" else f16_to_f32(x)


def narrow(x: Array, kind: str) -> Array:
    """The reverse of ``widen``."""
    if kind.endswith("x2"):
        low, high = (narrow(part, kind[:-2]).astype(np.uint32) for part in x)
        return low | high << np.uint32(16)
    return f32_to_bf16(x) if kind == "bf16" else x.astype(np.float16).view(np.uint16)


def convert(words: Sequence[str], operands: Sequence[Array]) -> Array:
    """cvt: the last two types are target and source."""
    to, source = [word for word in words if word in TYPES][-2:]
    if to in ("bf16x2", "f16x2") and source == "f32":
        return narrow(np.stack([operands[1], operands[0]]), to)  # the first operand is the upper half
    value = widen(operands[0], source) if source in HALVES else operands[0]
    if "relu" in words:
        value = np.where(value > 0, value, 0).astype(value.dtype)
    if to in HALVES:
        return narrow(value, to)
    if to == "tf32":
        return (value.view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    kind = np.dtype(TYPES[to])
    if value.dtype.kind == "f" and kind.kind in "iu":
        rounding = (
            np.floor if "rmi" in words else np.ceil if "rpi" in words else np.rint if "rni" in words else np.trunc
        )
        limits = np.iinfo(kind)
        whole = np.nan_to_num(rounding(value.astype(np.float64)), nan=0.0)
        low, high = whole <= float(limits.min), whole >= float(limits.max)
        inside = np.where(low | high, 0, whole).astype(kind)
        return np.where(low, kind.type(limits.min), np.where(high, kind.type(limits.max), inside))
    if value.dtype.kind == kind.kind == "f" and value.dtype == kind:
        nearest = next((f for word, f in ROUNDINGS.items() if word in words), None)
        return nearest(value) if nearest else value
    return value.astype(kind)


ROUNDINGS: dict[str, Callable[[Array], Array]] = {"rmi": np.floor, "rpi": np.ceil, "rni": np.rint, "rzi": np.trunc}


def _divide(x: Array, y: Array) -> Array:
    """Whole numbers, towards zero."""
    safe = np.where(y == 0, y.dtype.type(1), y)
    quotient = x // safe
    return quotient + ((x % safe != 0) & ((x < 0) != (safe < 0))) if x.dtype.kind == "i" else quotient


def _product(words: Sequence[str], x: Array, y: Array) -> Array:
    """The half of a product of whole numbers that the instruction asks for, or a product of floats."""
    if x.dtype.kind == "f" or "lo" in words:
        return x * y
    bits = 8 * x.dtype.itemsize
    if bits == 64:
        assert "hi" in words
        signed = [int(a) * int(b) >> 64 for a, b in zip(x, y, strict=True)]
        return np.array([value & (2**64 - 1) for value in signed], np.uint64).view(x.dtype)
    whole = np.dtype(f"{x.dtype.kind}{x.dtype.itemsize * 2}")
    wide = x.astype(whole) * y.astype(whole)
    return wide if "wide" in words else (wide >> whole.type(bits)).astype(x.dtype)


def _shift(x: Array, count: Array, left: bool) -> Array:
    bits = 8 * x.dtype.itemsize
    if left:
        return np.where(count >= bits, x.dtype.type(0), x << np.minimum(count, bits - 1).astype(x.dtype))
    moved = x >> np.minimum(count, bits - 1).astype(x.dtype)
    return moved if x.dtype.kind == "i" else np.where(count >= bits, x.dtype.type(0), moved)


def _permute_bytes(a: Array, b: Array, selector: Array) -> Array:
    """prmt: each byte of the result is one of the eight of a and b."""
    eight = np.concatenate([np.ascontiguousarray(x).view(np.uint8).reshape(-1, 4) for x in (a, b)], axis=1)
    out = np.zeros((a.size, 4), np.uint8)
    for i in range(4):
        pick = (selector >> np.uint32(4 * i)) & np.uint32(0xF)
        byte = np.take_along_axis(eight, (pick & np.uint32(7)).astype(np.int64)[:, None], 1)[:, 0]
        out[:, i] = np.where(pick & np.uint32(8), np.where(byte & 0x80, 0xFF, 0), byte)
    return out.view(np.uint32).ravel()


def _field(kind: str, x: Array, start: Array, length: Array) -> Array:
    """bfe: ``length`` bits from ``start`` on, with sign for s32."""
    start, length = (value.astype(np.int64) & 0xFF for value in (start, length))
    value = (x.view(np.uint32).astype(np.int64) >> np.minimum(start, 32)) & ((1 << np.minimum(length, 32)) - 1)
    if kind == "s32":
        sign = 1 << np.maximum(np.minimum(length, 32) - 1, 0)
        value = np.where(length > 0, (value ^ sign) - sign, 0)
    return value.astype(TYPES[kind])


def _insert(x: Array, into: Array, start: Array, length: Array) -> Array:
    """bfi: the low ``length`` bits of x at ``start`` of ``into``."""
    mask = ((1 << length.astype(np.int64)) - 1) << start.astype(np.int64)
    return ((into.astype(np.int64) & ~mask) | ((x.astype(np.int64) << start.astype(np.int64)) & mask)).astype(np.uint32)


COMPARE: dict[str, Callable[[Array, Array], Array]] = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal,
    "ne": lambda x, y: (x != y) & (x == x) & (y == y), "lo": np.less, "ls": np.less_equal, "hi": np.greater,
    "hs": np.greater_equal, "ltu": lambda x, y: ~(x >= y), "leu": lambda x, y: ~(x > y), "gtu": lambda x, y: ~(x <= y),
    "geu": lambda x, y: ~(x < y), "equ": lambda x, y: (x == y) | (x != x) | (y != y), "neu": np.not_equal,
    "nan": lambda x, y: (x != x) | (y != y), "num": lambda x, y: (x == x) & (y == y),
}  # fmt: skip
ONE: dict[str, Callable[[Array], Array]] = {
    "neg": np.negative, "not": np.invert, "abs": np.abs, "ex2": np.exp2, "lg2": np.log2, "sqrt": np.sqrt,
    "rcp": lambda x: 1 / x, "rsqrt": lambda x: 1 / np.sqrt(x), "sin": np.sin, "cos": np.cos, "tanh": np.tanh,
    "popc": lambda x: np.unpackbits(np.ascontiguousarray(x).view(np.uint8).reshape(x.size, -1), axis=1).sum(1),
}  # fmt: skip
TWO: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add, "sub": np.subtract, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
}  # fmt: skip


def compute(words: Sequence[str], operands: Sequence[Array]) -> Array:
    """The result of an arithmetic instruction; operands have the dtypes that its type says. Raises PtxFault."""
    name, kind = words[0], words[-1]
    if kind in HALVES:
        floats = [widen(x, kind) for x in operands]
        return narrow(compute((*words[:-1], "f32"), floats), kind)
    floating = operands[0].dtype.kind == "f"
    if name in ("min", "max"):
        plain: Any = {"min": np.fmin, "max": np.fmax} if "NaN" not in words else {"min": np.minimum, "max": np.maximum}
        return plain[name](*operands)
    if name in TWO:
        return TWO[name](*operands)
    if name in ONE:
        return ONE[name](*operands).astype(operands[0].dtype)
    if name == "mul":
        return _product(words, *operands)
    if name == "mad":
        return _product(words, *operands[:2]) + operands[2]
    if name == "fma":
        exact = (
            operands[0].astype(np.float64) * operands[1] + operands[2]
        )  # rounded once to f32, but for double rounding
        return exact.astype(operands[0].dtype)
    if name == "div":
        return operands[0] / operands[1] if floating else _divide(*operands)
    if name == "rem":
        return operands[0] - _divide(*operands) * operands[1]
    if name in ("shl", "shr"):
        return _shift(operands[0], operands[1], left=name == "shl")
    if name == "prmt":
        return _permute_bytes(*operands)
    if name == "bfe":
        return _field(kind, *operands)
    if name == "bfi":
        return _insert(*operands)
    raise PtxFault(f"{'.'.join(words)} is not known to the interpreter")
