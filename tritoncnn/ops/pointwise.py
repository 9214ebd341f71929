"""pointwise: a fused expression of pointwise ops, one pass over its operands: ``{expr='mul($0, gt($1, 0.0))'}``."""

from __future__ import annotations

import torch

from tritoncnn.errors import GraphError
from tritoncnn.ir import Expr, Node, TensorType, parse_expr
from tritoncnn.kernels import pointwise as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import OPS, Lowering, OpDef, broadcast_shape, types_tuple
from tritoncnn.ops.evaluate import evaluate_expr
from tritoncnn.ops.slot import make_slot


def _type(expr: Expr, types: tuple[TensorType, ...]) -> TensorType | None:
    """Type of a subexpression; None for a bare number, which takes its dtype from its neighbours."""
    if expr.operand is not None:
        if expr.operand >= len(types):
            raise GraphError(f"pointwise: {expr.op} is used, but there are {len(types)} operands")
        return types[expr.operand]
    if isinstance(expr.constant, bool):
        return TensorType.dense("i1", ())
    if expr.constant is not None:
        return None
    args = [_type(arg, types) for arg in expr.args]
    whole = all(isinstance(arg.constant, int) for arg, t in zip(expr.args, args, strict=True) if t is None)
    dtype = next(
        (t.dtype for t in args if t is not None and t.dtype != "i1"), "i64" if None in args and whole else "f32"
    )
    given = (t if t is not None else TensorType.dense(dtype, ()) for t in args)
    return types_tuple(OPS[expr.op].infer(*given))[0]


def infer(*types: TensorType, expr: str) -> TensorType:
    tree = parse_expr(expr)
    found = _type(tree, types)
    dtype = found.dtype if found is not None else "f32"
    return TensorType.dense(dtype, broadcast_shape(*(t.shape for t in types)))


def reference(*tensors: torch.Tensor, expr: str) -> torch.Tensor:
    shape = torch.broadcast_shapes(*(t.shape for t in tensors))
    return evaluate_expr(parse_expr(expr), None, tensors).expand(shape).clone()


def lower(node: Node, target: Target) -> Lowering:
    types = tuple(v.type for v in node.operands)
    out, flat = kernel.flatten_when_dense(node.result.type, types)
    launch = kernel.pointwise(out, flat, make_slot(str(node.attrs["expr"]), out, flat), target=target)
    return Lowering(((launch, ("r0", *(f"o{i}" for i in range(len(types))))),))


pointwise_op = OpDef("pointwise", infer, reference, lower=lower, arity=-1, expression=True, any_strides=True, samples=(
    (((2, 3, 5, 7), (1, 3, 1, 1)), {"expr": "relu(add($0, $1))"}),
    (((0, 3), (3,)), {"expr": "mul($0, add($1, 2.0))"}),
    (((5, 3),), {"expr": "add(mul(cast_f32(3), $0), mul(cast_f32(relu(2.0)), 0.5))"}),
))  # fmt: skip
