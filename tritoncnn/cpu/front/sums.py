"""Products into f16 or bf16 are summed in f32 and rounded once.

tt.dot %a, %b, %c : f16   =>   truncf (tt.dot %a, %b, (extf %c) : f32)
"""

from __future__ import annotations

from .cursor import Cursor
from .ttir import Function, Type, Value


def rewrite_sums(function: Function) -> None:
    for op in list(function.ops):
        if op.name != "tt.dot" or op.block is None or op.results[0].type.elem not in ("f16", "bf16"):
            continue
        at, start, result = op.block.ops.index(op), op.operands[2], op.results[0]
        wide = Type(result.type.shape, "f32")
        start.users.remove(op)
        before = Cursor(op.block, at)
        op.operands[2] = before.make("arith.extf", [start], wide)
        op.operands[2].users.append(op)
        op.results = [Value(result.name + "wide", wide, op, op.block)]
        Cursor(op.block, before.at + 1).make("arith.truncf", op.results, result.type, result)
