"""tt.dot of three-dimensional tensors: a loop over the batch around the product of two matrices."""

from __future__ import annotations

from collections.abc import Sequence

from tritoncnn.cpu.emit.values import Buffer, Coord, Res
from tritoncnn.cpu.front.ttir import Op, Type, Value, unsupported

from .tiles import Dot


class Batches(Dot):
    """Products of matrices, and of batches of them."""

    def product(self, op: Op) -> None:
        """[M, K] x [K, N], or [L, M, K] x [L, K, N] from scratch memory."""
        a, b, c = op.operands
        r = op.results[0]
        if len(a.type.shape) == 2:
            self.dot(op)
            return
        if len(a.type.shape) != 3:
            raise unsupported(op, f"a product of tensors with {len(a.type.shape)} axes is not supported: take 2 or 3")
        factors = [self.materialise(x) for x in (a, b)]
        if self.may_overwrite(c, op):
            sums = self.buffers[c]
        else:
            sums = self.new_buffer(r, 2)
            self.fill(sums, c, 2)

        def one(at: Coord, _: list[str]) -> Sequence[str]:
            parts = []
            for x, whole in zip((a, b, c), (*factors, sums), strict=True):
                part = Value(x.name + "l", Type(x.type.shape[1:], x.type.elem), None, op.block)
                self.buffers[part] = self.layer(whole, at)
                parts.append(part)
            matrix = Op(op.name, parts, [], op.attrs, op.where, op.position, block=op.block)
            result = Value(r.name + "l", Type(r.type.shape[1:], r.type.elem), matrix, op.block)
            matrix.results = [result]
            for part in parts:
                part.users.append(matrix)
            self.dot(matrix)  # adds to the sums where they are
            return []

        self.loop(0, a.type.shape[0], 1, one)
        self.buffers[r] = Buffer(sums.ptr, sums.shape, sums.strides, sums.elem, self.depth)

    def layer(self, whole: Buffer, at: Coord) -> Buffer:
        """One matrix of a batch."""
        p = self.element(Res(whole.ptr, whole.lvl), whole.elem, (at,), (whole.strides[0],))
        return Buffer(p.v, whole.shape[1:], whole.strides[1:], whole.elem, self.depth)
