"""permute: dims in another order; always a view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from tritoncnn.errors import GraphError
from tritoncnn.ir import TensorType
from tritoncnn.ops.define import OpDef


def infer(x: TensorType, *, dims: tuple[int, ...]) -> TensorType:
    if sorted(dims) != list(range(x.rank)):
        raise GraphError(f"permute: dims must be a permutation of 0..{x.rank - 1}; got {list(dims)}")
    return TensorType.dense(x.dtype, tuple(x.shape[d] for d in dims))


def reference(x: torch.Tensor, *, dims: tuple[int, ...]) -> torch.Tensor:
    return x.permute(dims)


def grad(dy: Any, y: Any, x: Any, *, dims: tuple[int, ...]) -> tuple[Any]:
    return (permute(dy, dims=tuple(dims.index(d) for d in range(len(dims)))),)


def view(x: TensorType, *, dims: tuple[int, ...]) -> TensorType:
    return TensorType(x.dtype, tuple(x.shape[d] for d in dims), tuple(x.strides[d] for d in dims))


def before(x: TensorType, order: tuple[int, ...], *, dims: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(dims[d] for d in order)


def idle(x: TensorType, *, dims: tuple[int, ...]) -> bool:
    return tuple(dims) == tuple(range(x.rank))


def joined(first: Mapping[str, Any], second: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"dims": tuple(first["dims"][d] for d in second["dims"])}


permute = OpDef("permute", infer, reference, grad, view=view, before=before, idle=idle, joined=joined, samples=(
    (((2, 3, 4),), {"dims": (2, 0, 1)}), (((5, 1),), {"dims": (1, 0)}),
))  # fmt: skip
