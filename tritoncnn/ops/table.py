"""table: a small array of numbers that is known when the graph is made, such as 0, 1, ... C-1; kernels read it from memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from tritoncnn.errors import GraphError
from tritoncnn.ir import TensorType
from tritoncnn.ops.define import TORCH_DTYPE, OpDef, Sym, emit

Shape = tuple[int, ...]


def infer(*, numbers: tuple[float, ...], shape: Shape, dtype: str) -> TensorType:
    if len(numbers) != math.prod(shape):
        raise GraphError(f"table: {list(shape)} takes {math.prod(shape)} numbers; got {len(numbers)}")
    return TensorType.dense(dtype, shape)


def reference(*, numbers: tuple[float, ...], shape: Shape, dtype: str) -> torch.Tensor:
    return torch.tensor(numbers, dtype=TORCH_DTYPE[dtype]).reshape(shape)


table = OpDef("table", infer, reference, arity=0, number=lambda numbers, **_: numbers, again=True, samples=(
    ((), {"numbers": (0, 1, 2, 3, 4, 5), "shape": (2, 3), "dtype": "i64"}),
    ((), {"numbers": (0.5, -1.25), "shape": (2, 1), "dtype": "f32"}),
))  # fmt: skip


def table_for(x: Any, numbers: Sequence[float], shape: Shape, dtype: str) -> Any:
    """A table in the graph of ``x``; where x is a tensor, a tensor."""
    attrs = {"numbers": tuple(numbers), "shape": tuple(shape), "dtype": dtype}
    if not isinstance(x, Sym):
        return reference(**attrs)  # type: ignore[arg-type]
    (value,) = emit(x.graph, table, (), attrs, x.graph.source)
    return Sym(x.graph, value)
