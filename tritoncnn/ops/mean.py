"""mean: the mean over ``dims``, which vanish from the shape, of x, or of the fused expression ``expr`` over all operands.

That of equal elements is exactly their value, which a sum times 1 / count is not.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from tritoncnn.ir import Node
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.expand import expand
from tritoncnn.ops.reduction import lower_reduction, meaning, rule
from tritoncnn.ops.reshape import reshape
from tritoncnn.ops.window import Pair


def grad(dy: Any, y: Any, x: Any, *, dims: Pair) -> tuple[Any]:
    kept = tuple(1 if dim in dims else size for dim, size in enumerate(x.shape))
    share = dy * (1 / max(math.prod(x.shape[d] for d in dims), 1))
    return (expand(reshape(share, shape=kept), shape=tuple(x.shape)),)


def lower(node: Node, target: Target) -> Lowering:
    return lower_reduction(node, "mean", target)


SAMPLES: tuple[Any, ...] = (
    *(((shape,), {"dims": dims}) for shape, dims in (
        ((2, 3, 5, 7), (0, 2, 3)), ((4, 5), (1,)), ((1,), (0,)), ((33, 65), (0, 1)), ((3, 300), (1,)), ((300, 3), (0,)),
        ((40, 3000), (0, 1)),
    )),
    (((4, 300), (300,)), {"dims": (1,), "expr": "mul($0, add($1, 2.0))"}),
    (((2, 3, 5, 7), (2, 1, 5, 7)), {"dims": (1, 3), "expr": "mul($0, $1)"}),
    (((40, 1000), (40, 1)), {"dims": (0, 1), "expr": "mul($0, $1)"}),
)  # fmt: skip
mean = OpDef("mean", rule("mean"), meaning(torch.mean), grad, lower, reduces="mean", any_strides=True, samples=SAMPLES)
