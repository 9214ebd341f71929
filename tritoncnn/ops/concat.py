"""concat: tensors one after another along ``dim``.

A result that another op computes for this one alone is written straight into its part (see the pass ``write_into_parts``); the
others are copied, one launch each.
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels.pointwise import copy
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef, is_float, op_named


def infer(*tensors: TensorType, dim: int) -> TensorType:
    if not tensors:
        raise ShapeError("concat: it takes at least one tensor; got none")
    first = tensors[0]
    if not 0 <= dim < first.rank:
        raise ShapeError(f"concat: dim must be one of the {first.rank} dims of {list(first.shape)}; got {dim}")
    for t in tensors[1:]:
        if t.dtype != first.dtype:
            raise DTypeError(f"concat: tensors must have one dtype; got {first.dtype} and {t.dtype}")
        if t.rank != first.rank or any(
            d != dim and a != b for d, (a, b) in enumerate(zip(t.shape, first.shape, strict=True))
        ):
            raise ShapeError(
                f"concat: sizes must agree but along dim {dim}; got {list(first.shape)} and {list(t.shape)}"
            )
    length = sum(t.shape[dim] for t in tensors)
    return TensorType.dense(first.dtype, (*first.shape[:dim], length, *first.shape[dim + 1 :]))


def reference(*tensors: torch.Tensor, dim: int) -> torch.Tensor:
    return torch.cat(tensors, dim)


def grad(dy: Any, y: Any, *tensors: Any, dim: int) -> tuple[Any, ...]:
    found, start = [], 0
    for t in tensors:
        part = {"dim": dim, "start": start, "size": t.shape[dim]}
        found.append(op_named("narrow")(dy, **part) if is_float(t) else None)
        start += t.shape[dim]
    return tuple(found)


def parts(y: TensorType, operands: tuple[TensorType, ...], dim: int) -> list[tuple[TensorType, int]]:
    """(type, first element in y) of each operand's part of y."""
    found, start = [], 0
    for t in operands:
        found.append((TensorType(y.dtype, t.shape, y.strides), start * y.strides[dim]))
        start += t.shape[dim]
    return found


def lower(node: Node, target: Target) -> Lowering:
    y, operands = node.result.type, tuple(v.type for v in node.operands)
    copies = zip(parts(y, operands, node.attrs["dim"]), operands, strict=True)
    return Lowering(tuple(
        (copy(part, x, target=target), (f"r0+{first}", f"o{i}")) for i, ((part, first), x) in enumerate(copies) if x.numel
    ))  # fmt: skip


concat = OpDef("concat", infer, reference, grad, lower, arity=-1, follows=True, parts=parts, any_strides=True, samples=(
    (((2, 3, 5, 7), (2, 4, 5, 7)), {"dim": 1}),
    (((2, 3, 5, 7), (2, 3, 5, 1), (2, 3, 5, 16)), {"dim": 3}),
    (((3, 4), (0, 4), (2, 4)), {"dim": 0}),
    ((("i64", (3,), 9), ("i64", (4,), 9)), {"dim": 0}),
))  # fmt: skip
