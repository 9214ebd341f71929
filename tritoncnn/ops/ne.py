"""ne: a != b, as i1."""

from __future__ import annotations

import torch

from tritoncnn.ops.define import pointwise

ne = pointwise("ne", "{0} != {1}", torch.ne, None, arity=2, dtype="i1")
