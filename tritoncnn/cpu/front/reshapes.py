"""A reshape that only inserts axes of one element becomes expand_dims, which all analyses see through (triton 3.9 makes both).

tt.reshape %x : tensor<16xi64> -> tensor<1x16xi64>   =>   tt.expand_dims %x {axis = 0}
"""

from __future__ import annotations

from .cursor import Cursor
from .ttir import Function, Type


def rewrite_reshapes(function: Function) -> None:
    for op in function.ops:
        if op.name != "tt.reshape" or op.block is None:
            continue
        x, shape = op.operands[0], op.results[0].type.shape
        axes = _inserted(x.type.shape, shape)
        if not axes:
            continue
        x.users.remove(op)
        cursor = Cursor(op.block, op.block.ops.index(op))
        for axis in axes[:-1]:
            wider = (*x.type.shape[:axis], 1, *x.type.shape[axis:])
            x = cursor.make("tt.expand_dims", [x], Type(wider, x.type.elem, x.type.pointee), axis=axis)
        op.name, op.operands, op.attrs = "tt.expand_dims", [x], {"words": [], "axis": axes[-1]}
        x.users.append(op)


def _inserted(source: tuple[int, ...], shape: tuple[int, ...]) -> list[int]:
    """Where axes of one element were put, first axis first; none if that is not all that happened."""
    axes, d = [], 0
    for at, size in enumerate(shape):
        if d < len(source) and source[d] == size:
            d += 1
        elif size == 1:
            axes.append(at)
        else:
            return []
    return axes if d == len(source) else []
