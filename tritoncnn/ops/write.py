"""write: overwrite, in place, a buffer that outlives the plan: only places that the index names are touched; no gradient."""

from __future__ import annotations

from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import take as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef
from tritoncnn.ops.lowering import types_of
from tritoncnn.ops.overwrite import SAMPLES, reference
from tritoncnn.ops.overwrite import infer as overwritten


def infer(buffer: TensorType, x: TensorType, index: TensorType, *, dim: int) -> TensorType:
    overwritten(buffer, x, index, dim=dim)
    return TensorType.dense(buffer.dtype, buffer.shape)


def lower(node: Node, target: Target) -> Lowering:
    (y,), (_, x, index) = types_of(node)
    launch = kernel.put(y, x, index, int(node.attrs["dim"]), join="last", kept=True, target=target)  # type: ignore[call-overload]
    return Lowering(((launch, ("r0", "o1", "o2")),))


write = OpDef("write", infer, reference, lower=lower, arity=3, inplace=((0, 0),), samples=SAMPLES)
