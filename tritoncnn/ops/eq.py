"""eq: a == b, as i1."""

from __future__ import annotations

import torch

from tritoncnn.ops.define import pointwise

eq = pointwise("eq", "{0} == {1}", torch.eq, None, arity=2, dtype="i1")
