"""reshape: the same elements in the same (row-major) order under another shape; a view where the strides allow."""

from __future__ import annotations

import math
from typing import Any

import torch

from tritoncnn.errors import GraphError
from tritoncnn.ir import TensorType
from tritoncnn.ops.define import OpDef


def infer(x: TensorType, *, shape: tuple[int, ...]) -> TensorType:
    if math.prod(shape) != x.numel:
        raise GraphError(f"reshape: {list(x.shape)} has {x.numel} elements; {list(shape)} has {math.prod(shape)}")
    return TensorType.dense(x.dtype, shape)


def reference(x: torch.Tensor, *, shape: tuple[int, ...]) -> torch.Tensor:
    return x.reshape(shape)


def grad(dy: Any, y: Any, x: Any, *, shape: tuple[int, ...]) -> tuple[Any]:
    return (reshape(dy, shape=tuple(x.shape)),)


def view(x: TensorType, *, shape: tuple[int, ...]) -> TensorType | None:
    """Strides of the result in x's memory, by torch's own rule, or None when it takes a copy."""
    try:
        strides = torch.empty_strided(x.shape, x.strides, device="meta").view(shape).stride()
    except (RuntimeError, ValueError):  # the latter from torch.compile's fake tensors
        return None
    return TensorType(x.dtype, tuple(shape), tuple(strides))


def idle(x: TensorType, *, shape: tuple[int, ...]) -> bool:
    return x.shape == tuple(shape)


def before(x: TensorType, order: tuple[int, ...], *, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The order of x in which the result lies in ``order``: dims that become one, or come out of one, must stay together."""
    if not x.numel:
        return None
    dims = tuple(d for d in order if shape[d] != 1)
    found: list[int] = []
    for group in sorted(dim_groups(x.shape, shape), key=lambda g: [dims.index(d) for d in g[1]]):
        if dims[: len(group[1])] != group[1]:
            return None
        found += group[0]
        dims = dims[len(group[1]) :]
    return (*found, *(d for d in range(x.rank) if x.shape[d] == 1))


def dim_groups(a: tuple[int, ...], b: tuple[int, ...]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The fewest neighbouring dims of shape a that are together as large as some of b, pair by pair; without those of size 1."""
    rest_a, rest_b = ([d for d, size in enumerate(shape) if size != 1] for shape in (a, b))
    found = []
    while rest_a:
        one, other = [rest_a.pop(0)], [rest_b.pop(0)]
        while (size := math.prod(a[d] for d in one)) != (wanted := math.prod(b[d] for d in other)):
            if size < wanted:
                one.append(rest_a.pop(0))
            else:
                other.append(rest_b.pop(0))
        found.append((tuple(one), tuple(other)))
    return found


reshape = OpDef(
    "reshape", infer, reference, grad, view=view, idle=idle, joined=lambda first, second: second, reshapes=True, before=before,
    samples=((((2, 3, 4),), {"shape": (6, 4)}), (((0, 3),), {"shape": (3, 0)}), (((1,),), {"shape": ()})),
)  # fmt: skip
