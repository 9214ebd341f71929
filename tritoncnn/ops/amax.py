"""amax: the largest value over ``dims``, which the result lacks; NaN wins. Equal values share the gradient, NaN makes it NaN."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ir import Node
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef, dtype_of, is_float, op_named
from tritoncnn.ops.eq import eq
from tritoncnn.ops.reduction import lower_reduction, meaning, rule
from tritoncnn.ops.reshape import reshape
from tritoncnn.ops.sum import sum_
from tritoncnn.ops.window import Pair


def grad(dy: Any, y: Any, x: Any, *, dims: Pair) -> tuple[Any | None]:
    if not is_float(x):
        return (None,)
    kept = tuple(1 if dim in dims else size for dim, size in enumerate(x.shape))
    best = eq(x, reshape(y, shape=kept))
    ones = op_named(f"cast_{dtype_of(x).replace('f64', 'f32')}")(best)
    return (ones * reshape(dy / sum_(ones, dims=dims), shape=kept),)


def lower(node: Node, target: Target) -> Lowering:
    return lower_reduction(node, "max", target)


SAMPLES: tuple[Any, ...] = (
    *((((shape,)), {"dims": dims}) for shape, dims in (
        ((2, 3, 5, 7), (0, 2, 3)), ((4, 5), (1,)), ((1,), (0,)), ((33, 65), (0, 1)), ((3, 300), (1,)), ((300, 3), (0,)),
    )),
    (((4, 300), (300,)), {"dims": (1,), "expr": "mul($0, $1)"}),
    ((("i64", (4, 300), 2**40, -(2**40)),), {"dims": (1,)}),
    ((("i64", (2, 30, 3), 0, -(2**40)),), {"dims": (0, 1)}),
)  # fmt: skip
amax = OpDef("amax", rule("amax"), meaning(torch.amax), grad, lower, reduces="max", samples=SAMPLES)
