"""group_mean: each channel of x [N, C] gets the mean of its group, one of ``groups`` of neighbours, in the shape of x.

What group norm asks for between sums over pixels and work on all channels: a matrix of blocks of equal numbers, its own
transpose, which is the gradient.
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import group_mean as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef, op_named
from tritoncnn.ops.lowering import epilogue_of, one_launch, types_of
from tritoncnn.ops.window import check_float


def infer(x: TensorType, *, groups: int) -> TensorType:
    check_float("group_mean", x, "x")
    if x.rank != 2 or groups < 1 or x.shape[1] % groups:
        raise ShapeError(
            f"group_mean: x must be [N, C], its groups must divide C; got {list(x.shape)}, {groups} groups"
        )
    return TensorType.dense(x.dtype, x.shape)


def grad(dy: Any, y: Any, x: Any, *, groups: int) -> tuple[Any]:
    return (op_named("group_mean")(dy, groups=groups),)


def reference(x: torch.Tensor, *, groups: int) -> torch.Tensor:
    means = x.unflatten(1, (groups, -1)).mean(2, keepdim=True) if x.numel() else x.unsqueeze(2)
    return means.expand(-1, -1, x.shape[1] // groups).reshape(x.shape)


def lower(node: Node, target: Target) -> Lowering:
    (y,), (x, *_) = types_of(node)
    launch = kernel.group_mean(y, x, node.attrs["groups"], epilogue=epilogue_of(node, 1), target=target)  # type: ignore[arg-type]
    return one_launch(node, launch)


SAMPLES = tuple(
    ((shape,), {"groups": groups})
    for shape, groups in (
        ((2, 12), 3),
        ((3, 8), 4),
        ((1, 5), 1),
        ((4, 6), 6),
        ((0, 4), 2),
        ((33, 64), 32),
        ((2, 320), 32),
    )
)
group_mean = OpDef("group_mean", infer, reference, grad, lower, epilogue=True, samples=SAMPLES)
