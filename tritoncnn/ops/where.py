"""where: a where c holds, else b."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise, sum_to


def reference(c: torch.Tensor, a: Any, b: Any) -> torch.Tensor:
    return torch.where(c, a, b)


def grad(dy: Any, y: Any, c: Any, a: Any, b: Any) -> tuple[Any, ...]:
    da = None if isinstance(a, float) else sum_to(where(c, dy, 0.0), a.shape)
    db = None if isinstance(b, float) else sum_to(where(c, 0.0, dy), b.shape)
    return None, da, db


SAMPLES: tuple[Any, ...] = (
    ((("i1", (2, 3, 4)), (2, 3, 4), (2, 3, 4)), {}),
    ((("i1", (3, 1)), (1, 4), ()), {}),
    ((("i1", (0, 2)), (0, 2), (2,)), {}),
)
where = pointwise("where", "tl.where({0}, {1}, {2})", reference, grad, arity=3, samples=SAMPLES)
