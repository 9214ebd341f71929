"""ge: a >= b, as i1."""

from __future__ import annotations

import torch

from tritoncnn.ops.define import pointwise

ge = pointwise("ge", "{0} >= {1}", torch.ge, None, arity=2, dtype="i1")
