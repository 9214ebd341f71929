"""log1p: the logarithm of 1 + x, accurate near 0: u = 1 + x, log(u) * x / (u - 1), where the rounding of u cancels.

Source: Kahan's formula, in Goldberg 1991, "What every computer scientist should know about floating-point arithmetic", thm 4.
"""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.ops.define import pointwise


def grad(dy: Any, y: Any, x: Any) -> tuple[Any]:
    return (dy / (x + 1.0),)


# What 1 + x loses altogether, and infinity, are their own logarithms.
TEXT = "tl.where((1.0 + {0} == 1.0) | ({0} == float('inf')), {0}, tl.log(1.0 + {0}) * ({0} / ((1.0 + {0}) - 1.0)))"
SAMPLES: tuple[Any, ...] = (((("positive", (2, 3, 5)),), {}), ((("positive", (0, 3)),), {}))
log1p = pointwise("log1p", TEXT, torch.log1p, grad, samples=SAMPLES)
