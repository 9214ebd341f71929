"""le: a <= b, as i1."""

from __future__ import annotations

import torch

from tritoncnn.ops.define import pointwise

le = pointwise("le", "{0} <= {1}", torch.le, None, arity=2, dtype="i1")
