"""trigamma: derivative of digamma, torch.polygamma(1, x)."""

from __future__ import annotations

import torch

from tritoncnn.ops.define import pointwise


def _trigamma(x: torch.Tensor) -> torch.Tensor:
    return torch.polygamma(1, x)


trigamma = pointwise("trigamma", "special.trigamma({0})", _trigamma, None)
