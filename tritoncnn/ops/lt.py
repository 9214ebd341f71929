"""lt: a < b, as i1."""

from __future__ import annotations

import torch

from tritoncnn.ops.define import pointwise

lt = pointwise("lt", "{0} < {1}", torch.lt, None, arity=2, dtype="i1")
