"""Makes ops in front of a place in a block, for rewrites of TTIR."""

from __future__ import annotations

from collections.abc import Sequence

from .elements import BITS
from .ttir import Block, Op, Type, Value


class Cursor:
    """Makes ops in front of a place in a block."""

    def __init__(self, block: Block, at: int) -> None:
        self.block, self.at = block, at
        near = block.ops[min(at, len(block.ops) - 1)]
        self.where, self.position = near.where, near.position

    def make(
        self, name: str, operands: Sequence[Value], type: Type, result: Value | None = None, **attrs: object
    ) -> Value:
        """A new op; its result is a new value, or takes over an old one."""
        op = Op(name, list(operands), [], {"words": [], **attrs}, self.where, self.position, block=self.block)
        value = result or Value(f"%rewritten{self.at}", type)
        value.op, value.block = op, self.block
        op.results = [value]
        for x in operands:
            x.users.append(op)
        self.block.ops.insert(self.at, op)
        self.at += 1
        return value

    def number(self, n: int, elem: str) -> Value:
        return self.make("arith.constant", [], Type((), elem), value=str(n))

    def cast(self, v: Value, elem: str, unsigned: bool = False) -> Value:
        """A scalar integer in another width."""
        wide, wanted = BITS[v.type.elem], BITS[elem]
        if wide == wanted:
            return v
        name = "arith.trunci" if wide > wanted else "arith.extui" if unsigned else "arith.extsi"
        return self.make(name, [v], Type((), elem))

    def scalar(self, v: Value) -> Value:
        """The one element of a uniform tensor."""
        if not v.type.shape:
            return v
        assert v.op is not None
        if v.op.name == "arith.constant":
            return self.make("arith.constant", [], Type((), v.type.elem), value=v.op.attrs["value"])
        if v.op.name in ("tt.splat", "tt.broadcast", "tt.expand_dims"):
            return self.scalar(v.op.operands[0])
        made = self.make(v.op.name, [self.scalar(x) for x in v.op.operands], Type((), v.type.elem))
        assert made.op is not None
        made.op.attrs = dict(v.op.attrs)
        return made

    def total(self, parts: list[tuple[int, Value]], elem: str) -> Value:
        """The sum of what is added to each element: (sign, tensor or scalar) each."""
        found: Value | None = None
        for sign, x in parts:
            one = self.cast(self.scalar(x), elem)
            if found is None and sign > 0:
                found = one
                continue
            name = "arith.addi" if sign > 0 else "arith.subi"
            found = self.make(name, [found or self.number(0, elem), one], one.type)
        return found or self.number(0, elem)

    def moved(self, start: Value, by: Value, result: Value) -> None:
        """``result = start + splat(by)``."""
        spread = self.make("tt.splat", [by], Type(start.type.shape, by.type.elem)) if start.type.shape else by
        name = "tt.addptr" if start.type.elem == "ptr" else "arith.addi"
        self.make(name, [start, spread], start.type, result)
