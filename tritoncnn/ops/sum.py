"""sum: the sum over ``dims``, which vanish from the shape, of x, or of the fused expression ``expr`` over all operands."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ir import Node
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef, is_float
from tritoncnn.ops.expand import expand
from tritoncnn.ops.reduction import lower_reduction, meaning, rule
from tritoncnn.ops.reshape import reshape
from tritoncnn.ops.window import Pair


def grad(dy: Any, y: Any, x: Any, *, dims: Pair) -> tuple[Any | None]:
    if not is_float(x):
        return (None,)
    kept = tuple(1 if dim in dims else size for dim, size in enumerate(x.shape))
    return (expand(reshape(dy, shape=kept), shape=tuple(x.shape)),)


def lower(node: Node, target: Target) -> Lowering:
    return lower_reduction(node, "sum", target)


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
sum_ = OpDef("sum", rule("sum"), meaning(torch.sum), grad, lower, reduces="sum", any_strides=True, samples=SAMPLES)
