"""uniform: ``count`` numbers in [0, 1) from a seed, each from the seed and its place, from ``first`` on, alone; no gradient."""

from __future__ import annotations

import torch

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import uniform as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.lowering import one_launch


def infer(seed: TensorType, *, count: int, first: int = 0) -> TensorType:
    if seed.numel != 1 or count < 0 or first < 0:
        raise ShapeError(
            f"uniform: seed must be one number, count and first not negative; got {list(seed.shape)}, {count}, {first}"
        )
    if seed.dtype != "i64":
        raise DTypeError(f"uniform: seed must be i64; got {seed.dtype}")
    return TensorType.dense("f32", (count,))


def reference(seed: torch.Tensor, *, count: int, first: int = 0) -> torch.Tensor:
    return kernel.uniform_torch(seed, count, first)


def lower(node: Node, target: Target) -> Lowering:
    return one_launch(node, kernel.uniform(node.result.type, node.operands[0].type, int(node.attrs.get("first", 0))))  # type: ignore[call-overload]


uniform = OpDef("uniform", infer, reference, lower=lower, again=True, any_strides=True, samples=(
    ((("i64", (), 1000),), {"count": 1000}), ((("i64", (), 2**40),), {"count": 1}), ((("i64", (), 9),), {"count": 0}),
    ((("i64", (), 77),), {"count": 50, "first": 1001}),
))  # fmt: skip
