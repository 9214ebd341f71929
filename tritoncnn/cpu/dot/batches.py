"""tt.dot of three-dimensional tensors: a loop over the batch around the product of two matrices."""

from __future__ import annotations

from collections.abc import Sequence

from tritoncnn.cpu.emit.buffers import fill, materialise
from tritoncnn.cpu.emit.scratch import new_buffer
from tritoncnn.cpu.emit.state import State
from tritoncnn.cpu.emit.values import Buffer, Coord, Res
from tritoncnn.cpu.front.ttir import Op, Type, Value, unsupported

from .matrix import matrix_product, may_overwrite


def product(code: State, op: Op) -> None:
    """[M, K] x [K, N], or [L, M, K] x [L, K, N] from scratch memory."""
    a, b, c = op.operands
    r = op.results[0]
    if len(a.type.shape) == 2:
        matrix_product(code, op)
        return
    if len(a.type.shape) != 3:
        raise unsupported(op, f"a product of tensors with {len(a.type.shape)} axes is not supported: take 2 or 3")
    factors = [materialise(code, x) for x in (a, b)]
    if may_overwrite(code, c, op):
        sums = code.buffers[c]
    else:
        sums = new_buffer(code, r, 2)
        fill(code, sums, c, 2)

    def one(at: Coord, _: list[str]) -> Sequence[str]:
        parts = []
        for x, whole in zip((a, b, c), (*factors, sums), strict=True):
            part = Value(x.name + "l", Type(x.type.shape[1:], x.type.elem), None, op.block)
            code.buffers[part] = _layer(code, whole, at)
            parts.append(part)
        matrix = Op(op.name, parts, [], op.attrs, op.where, op.position, block=op.block)
        result = Value(r.name + "l", Type(r.type.shape[1:], r.type.elem), matrix, op.block)
        matrix.results = [result]
        for part in parts:
            part.users.append(matrix)
        matrix_product(code, matrix)  # adds to the sums where they are
        return []

    code.loop(0, a.type.shape[0], 1, one)
    code.buffers[r] = Buffer(sums.ptr, sums.shape, sums.strides, sums.elem, code.depth)


def _layer(code: State, whole: Buffer, at: Coord) -> Buffer:
    """One matrix of a batch."""
    p = code.element(Res(whole.ptr, whole.lvl), whole.elem, (at,), (whole.strides[0],))
    return Buffer(p.v, whole.shape[1:], whole.strides[1:], whole.elem, code.depth)
