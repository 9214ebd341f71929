"""tl.dot_scaled as casts, shifts and a plain product: factors in microscaling formats, spelt out before they are lowered.

tt.dot_scaled %a scale %s, %b, %c   =>   tt.dot (decoded a * 2**(s - 127)), (decoded b), c

An element of 4 or 8 bits times a power of two is a bf16 exactly, so the product goes as one of bf16 does; with a factor of
fp16 it is one of f32. Formats: OCP Microscaling Formats (MX) v1.0, 2023.
"""

from __future__ import annotations

from collections.abc import Sequence

from .cursor import Cursor
from .elements import FP8
from .ttir import Function, Op, Type, Value


def rewrite_scaled(function: Function) -> None:
    for op in function.ops:
        if op.name == "tt.dot_scaled" and op.block is not None:
            _rewrite(op)


def _rewrite(op: Op) -> None:
    assert op.block is not None
    for x in set(op.operands):
        x.users = [user for user in x.users if user is not op]
    words = op.words()
    formats = [words[words.index(side) + 2] for side in ("lhs", "rhs")]
    to = "f32" if "fp16" in formats else "bf16"
    code = Scaled(op)
    left = list(op.operands[:-1])
    factors = []
    for at, (side, kind) in enumerate(zip(("lhs", "rhs"), formats, strict=True)):
        x = left.pop(0)
        scale = left.pop(0) if op.attrs.get("scaled", [False] * 2)[at] else None  # type: ignore[index]
        red = len(x.type.shape) - (2 if at else 1)  # the axis along which products are added
        y = code.elements(
            x, kind, red if op.attrs.get(f"{side}_k_pack") != "false" else 2 * len(x.type.shape) - 3 - red
        )
        if scale is not None:
            y = code.times(y, code.spread(code.powers(scale), y.type.shape, turned=bool(at)))
        factors.append(code.as_float(y, to))
    op.name, op.operands, op.attrs = "tt.dot", [*factors, op.operands[-1]], {"words": []}
    for x in op.operands:
        x.users.append(op)


class Scaled(Cursor):
    """Makes the ops that decode a factor, in front of its product."""

    def __init__(self, op: Op) -> None:
        assert op.block is not None
        super().__init__(op.block, op.block.ops.index(op))

    def like(self, x: Value, name: str, elem: str, *operands: Value) -> Value:
        return self.make(name, [x, *operands], Type(x.type.shape, elem))

    def filled(self, x: Value, elem: str, number: str) -> Value:
        one = self.make("arith.constant", [], Type((), elem), value=number)
        return self.make("tt.splat", [one], Type(x.type.shape, elem))

    def as_float(self, x: Value, elem: str) -> Value:
        if x.type.elem == elem:
            return x
        if x.type.elem in FP8:
            return self.like(x, "tt.fp_to_fp", elem)
        return self.like(x, "arith.truncf" if elem == "bf16" else "arith.extf", elem)

    def times(self, x: Value, y: Value) -> Value:
        return self.like(x, "arith.mulf", "f32", y)

    def elements(self, x: Value, kind: str, packed: int) -> Value:
        """The elements of a factor as f32, fours of bits laid apart along the axis ``packed``."""
        return self.unpacked(x, packed) if kind == "e2m1" else self.as_float(x, "f32")

    def unpacked(self, x: Value, axis: int) -> Value:
        """Bytes of two e2m1, the lower bits first."""
        byte = self.like(x, "arith.extui", "i32")
        high = self.like(byte, "arith.shrui", "i32", self.filled(byte, "i32", "4"))
        halves = [self.from_e2m1(half) for half in (byte, high)]
        shape = (*x.type.shape, 2)
        joined = self.make("tt.join", halves, Type(shape, "f32"))
        order = (
            [d for d in range(len(shape) - 1) if d <= axis] + [len(shape) - 1] + list(range(axis + 1, len(shape) - 1))
        )
        apart = self.make("tt.trans", [joined], Type(tuple(shape[d] for d in order), "f32"), order=order)
        whole = tuple(2 * n if d == axis else n for d, n in enumerate(x.type.shape))
        return self.make("tt.reshape", [apart], Type(whole, "f32"))

    def from_e2m1(self, code: Value) -> Value:
        """The lowest 4 bits as f32: sign, exponent and fraction stand where an f32 has them; 2**126 makes up for the bias."""
        magnitude = self.masked(code, "7", "22")
        sign = self.masked(code, "8", "28")
        bits = self.like(magnitude, "arith.ori", "i32", sign)
        small = self.like(bits, "tt.bitcast", "f32")
        return self.times(small, self.filled(small, "f32", "8.50705917E+37"))

    def masked(self, code: Value, mask: str, shift: str) -> Value:
        part = self.like(code, "arith.andi", "i32", self.filled(code, "i32", mask))
        return self.like(part, "arith.shli", "i32", self.filled(part, "i32", shift))

    def powers(self, scale: Value) -> Value:
        """Scales as f32. e8m0: 2**(code - 127), of which the least is subnormal, and NaN for 255."""
        if scale.type.elem in FP8:
            return self.as_float(scale, "f32")
        code = self.like(scale, "arith.extui", "i32")
        normal = self.like(code, "arith.shli", "i32", self.filled(code, "i32", "23"))
        bits = self.like(normal, "arith.maxsi", "i32", self.filled(code, "i32", str(1 << 22)))
        number = self.like(bits, "tt.bitcast", "f32")
        broken = self.like(code, "arith.cmpi", "i1", self.filled(code, "i32", "255"))
        assert broken.op is not None
        broken.op.attrs["words"] = ["eq"]
        return self.make("arith.select", [broken, self.filled(code, "f32", "0x7FC00000"), number], number.type)

    def spread(self, scale: Value, shape: Sequence[int], turned: bool) -> Value:
        """[..., rows, groups] -> an element for each of the factor's; ``turned``: the factor is [..., K, columns]."""
        *batch, rows, groups = scale.type.shape
        each = (shape[-2] if turned else shape[-1]) // groups
        wide = self.make("tt.expand_dims", [scale], Type((*batch, rows, groups, 1), "f32"), axis=len(batch) + 2)
        wide = self.make("tt.broadcast", [wide], Type((*batch, rows, groups, each), "f32"))
        flat = self.make("tt.reshape", [wide], Type((*batch, rows, groups * each), "f32"))
        if not turned:
            return flat
        order = [*range(len(batch)), len(batch) + 1, len(batch)]
        return self.make("tt.trans", [flat], Type(tuple(shape), "f32"), order=order)
