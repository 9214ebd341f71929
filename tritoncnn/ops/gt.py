"""gt: a > b, as i1."""

from __future__ import annotations

import torch

from tritoncnn.ops.define import pointwise

gt = pointwise("gt", "{0} > {1}", torch.gt, None, arity=2, dtype="i1")
