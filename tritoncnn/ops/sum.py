"""sum: the sum over ``dims``, which vanish from the shape, of x, or of the fused expression ``expr`` over all operands.

With ``also``, a second expression over them, the sum of that is a second result.
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import DTypeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef, Types, is_float
from tritoncnn.ops.expand import expand
from tritoncnn.ops.reduction import lower_pair, lower_reduction, meaning, rule
from tritoncnn.ops.reshape import reshape
from tritoncnn.ops.window import Pair


def grad(dy: Any, y: Any, x: Any, *, dims: Pair) -> tuple[Any | None]:
    if not is_float(x):
        return (None,)
    kept = tuple(1 if dim in dims else size for dim, size in enumerate(x.shape))
    return (expand(reshape(dy, shape=kept), shape=tuple(x.shape)),)


def infer(*operands: TensorType, dims: Pair, expr: str = "", also: str = "") -> Types:
    y = rule("sum")(*operands, dims=dims, expr=expr)
    if not also:
        return y
    z = rule("sum")(*operands, dims=dims, expr=also)
    if not expr or {y.dtype, z.dtype} != {"f32"}:
        raise DTypeError(
            f"sum: two sums must be of expressions in f32; got {expr!r} of {y.dtype}, {also!r} of {z.dtype}"
        )
    return y, z


def reference(*operands: torch.Tensor, dims: Pair, expr: str = "", also: str = "") -> Any:
    first = meaning(torch.sum)(*operands, dims=dims, expr=expr)
    return (first, meaning(torch.sum)(*operands, dims=dims, expr=also)) if also else first


def lower(node: Node, target: Target) -> Lowering:
    return lower_pair(node, target) if "also" in node.attrs else lower_reduction(node, "sum", target)


SAMPLES: tuple[Any, ...] = tuple(
    ((shape,), {"dims": dims}) for shape, dims in (
        ((2, 3, 5, 7), (0, 2, 3)), ((4, 5), (0,)), ((4, 5), (1,)), ((1,), (0,)), ((0, 3), (0,)), ((33, 65), (0, 1)),
        ((2, 17, 7, 7), (2, 3)), ((2, 3, 4), (1,)), ((3, 300), (1,)), ((300, 3), (0,)),
    )
)  # fmt: skip
SAMPLES += tuple(
    ((a, b), {"dims": dims, "expr": "mul($0, add($1, 2.0))"}) for a, b, dims in (
        ((2, 3, 5, 7), (2, 3, 5, 7), (0, 2, 3)), ((2, 3, 5, 7), (2, 1, 5, 7), (1, 3)), ((2, 3, 5, 7), (1, 3, 1, 7), (0, 2)),
        ((4, 300), (300,), (1,)), ((300, 4), (4,), (0,)), ((33, 65), (1, 1), (0, 1)), ((0, 3), (3,), (0,)), ((5,), (), (0,)),
        ((40, 1000), (40, 1), (0, 1)),
    )
)  # fmt: skip
SAMPLES += tuple(
    ((("i64", shape, 2**40, -(2**40)),), {"dims": dims}) for shape, dims in (
        ((4, 5), (1,)), ((300, 3), (0,)), ((33, 65), (0, 1)), ((0, 3), (0,)), ((3, 40000), (1,)),
    )
)  # fmt: skip
SAMPLES += (
    (
        (("i64", (33, 65), 2**40), ("i64", (65,), 9)),
        {"dims": (0,), "expr": "where(gt($0, 3), mul($0, add($1, 2)), cast_i64(lt($1, 3)))"},
    ),
)
SAMPLES += tuple(
    (specs, {"dims": dims, "expr": "$0", "also": "mul($0, sub($1, 2.0))"}) for specs, dims in (
        (((2, 3, 5, 7), (1, 3, 1, 1)), (0, 2, 3)), (((40, 33), (33,)), (0,)), (((33, 40), (33, 1)), (1,)), (((5, 6), ()), (0, 1)),
        (((2, 3, 2, 3, 2), (2, 1, 2, 1, 2)), (1, 3)), (((2, 7, 1000), (7, 1)), (0, 2)), (((0, 3), (3,)), (0,)),
        (((8000, 3), (3,)), (0,)),
    )
)  # fmt: skip
sum_ = OpDef("sum", infer, reference, grad, lower, reduces="sum", any_strides=True, samples=SAMPLES)
