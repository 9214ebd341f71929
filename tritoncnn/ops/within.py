"""within: x itself, whole numbers which must lie from ``low`` to below ``high``, or be ``but``: places that ``what`` uses.

No kernel checks it: what follows from one of a caller's tensors is looked at before a plan runs (runtime/ranges.py).
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import DTypeError
from tritoncnn.ir import TensorType
from tritoncnn.ops.define import OpDef


def infer(x: TensorType, *, what: str, low: int, high: int, but: int | None = None) -> TensorType:
    if x.is_float:
        raise DTypeError(f"{what}: index must hold whole numbers; got {x.dtype}")
    return TensorType.dense(x.dtype, x.shape)


def reference(x: torch.Tensor, *, what: str, low: int, high: int, but: int | None = None) -> torch.Tensor:
    return x


def grad(dy: Any, y: Any, x: Any, *, what: str, low: int, high: int, but: int | None = None) -> tuple[None]:
    return (None,)


def view(x: TensorType, *, what: str, low: int, high: int, but: int | None = None) -> TensorType:
    return x


def idle(x: TensorType, *, what: str, low: int, high: int, but: int | None = None) -> bool:
    return True


within = OpDef("within", infer, reference, grad, view=view, idle=idle, promises=True, samples=(
    ((("i64", (4, 3), 5),), {"what": "gather", "low": 0, "high": 5}),
    ((("u8", (6,), 9, 2),), {"what": "cross_entropy", "low": 0, "high": 9, "but": 255}),
    ((("i32", (0,), 3),), {"what": "take", "low": -3, "high": 3}),
))  # fmt: skip
