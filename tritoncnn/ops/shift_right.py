"""shift_right: the bits of the whole number a, b places down, its sign kept; only the sign is left where b is no place of a."""

from __future__ import annotations

import torch

from tritoncnn.ops.define import pointwise
from tritoncnn.ops.shift_left import SAMPLES


def reference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    width = 8 * a.element_size()
    inside = (b >= 0) & (b < width)
    return torch.where(inside, a >> torch.where(inside, b, 0), torch.where(a < 0, -1, 0).to(a.dtype))


shift_right = pointwise("shift_right", "device.shift_right({0}, {1})", reference, None, arity=2, samples=SAMPLES)
