"""What reductions share: their shape rule, and launches for a tensor or for a fused expression."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from tritoncnn.errors import GraphError, ShapeError
from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels import pointwise as pointwise_kernel
from tritoncnn.kernels import reduce as kernel
from tritoncnn.kernels.launch import Launch
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering
from tritoncnn.ops.lowering import in_parts, refs_of
from tritoncnn.ops.pointwise import pointwise_op
from tritoncnn.ops.slot import ALSO, make_slot
from tritoncnn.ops.window import Pair, check_float


def reduced_type(op: str, operands: tuple[TensorType, ...], dims: Pair, expr: str) -> TensorType:
    """The shape without ``dims``. Raises GraphError, ShapeError, DTypeError."""
    if not expr and len(operands) != 1:
        raise GraphError(f"{op} takes 1 operand, or an expression over several; got {len(operands)}")
    x = pointwise_op.infer(*operands, expr=expr) if expr else operands[0]
    assert isinstance(x, TensorType)
    if x.dtype != "i64":
        check_float(op, x, "x")
    if not dims or list(dims) != sorted(set(dims)) or dims[0] < 0 or dims[-1] >= x.rank:
        raise ShapeError(f"{op}: dims must be dims of x {list(x.shape)}, ascending, at least one; got {list(dims)}")
    return TensorType.dense(x.dtype, tuple(size for dim, size in enumerate(x.shape) if dim not in dims))


def rule(op: str) -> Callable[..., TensorType]:
    """The ``infer`` of a reduction."""

    def infer(*operands: TensorType, dims: Pair, expr: str = "") -> TensorType:
        return reduced_type(op, operands, dims, expr)

    return infer


def meaning(reduce: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """The ``reference`` of a reduction: ``reduce(x, dims)`` of x, or of the expression over all operands."""

    def reference(*operands: torch.Tensor, dims: Pair, expr: str = "") -> torch.Tensor:
        return reduce(pointwise_op.reference(*operands, expr=expr) if expr else operands[0], dims)

    return reference


def lower_reduction(node: Node, kind: str, target: Target) -> Lowering:
    """An expression whose dims do not merge into two kept and two reduced ones is written to a workspace first."""
    y, dims = node.result.type, node.attrs["dims"]
    types = tuple(v.type for v in node.operands)
    if "expr" not in node.attrs:
        launches, workspace = kernel.reduce(y, types[0], dims, kind=kind, target=target)
        return in_parts(node, launches, workspace, 1)
    expr = str(node.attrs["expr"])
    whole = pointwise_op.infer(*types, expr=expr)
    assert isinstance(whole, TensorType)
    walk = kernel.walk_dims(y, types, whole.shape, dims) if whole.numel else None
    operands = refs_of(node)[1:]
    if walk is not None:
        slot = make_slot(expr, walk.out, walk.operands)
        launches, workspace = kernel.reduce(y, None, dims, kind=kind, slot=slot, walk=walk, target=target)
        if workspace is None:
            return Lowering(((launches[0], ("r0", *operands)),))
        return Lowering(((launches[0], ("w0", *operands)), (launches[1], ("r0", "w0"))), (workspace,))
    out, flat = pointwise_kernel.flatten_when_dense(whole, types)
    first = pointwise_kernel.pointwise(out, flat, make_slot(expr, out, flat), target=target)
    launches, workspace = kernel.reduce(y, whole, dims, kind=kind, target=target)
    if workspace is None:
        return Lowering(((first, ("w0", *operands)), (launches[0], ("r0", "w0"))), (whole,))
    return Lowering(
        ((first, ("w0", *operands)), (launches[0], ("w1", "w0")), (launches[1], ("r0", "w1"))), (whole, workspace)
    )


def lower_pair(node: Node, target: Target) -> Lowering:
    """Two sums over the same dims: of one loop where their dims merge into two kept and two reduced ones, else one by one."""
    y, z = (value.type for value in node.results)
    types = tuple(v.type for v in node.operands)
    texts = (str(node.attrs["expr"]), str(node.attrs["also"]))
    whole = pointwise_op.infer(*types, expr=texts[0])
    assert isinstance(whole, TensorType)
    walk = kernel.walk_dims(y, types, whole.shape, node.attrs["dims"]) if whole.numel else None
    if walk is None or y != z or not y.is_row_major:
        return _one_by_one(node, texts, target)
    operands = refs_of(node)[2:]
    slot = make_slot(ALSO.join(texts), walk.out, walk.operands)
    launches, workspace = kernel.sum_pair(y, z, slot=slot, walk=walk, target=target)
    if workspace is None:
        return Lowering(((launches[0], ("r0", "r1", *operands)),))
    return Lowering(((launches[0], ("w0", *operands)), (launches[1], ("r0", "r1", "w0"))), (workspace,))


def _one_by_one(node: Node, texts: Sequence[str], target: Target) -> Lowering:
    """Each expression's sum by launches of its own."""
    steps: list[tuple[Launch, tuple[str, ...]]] = []
    spaces: list[TensorType] = []
    for i, (value, text) in enumerate(zip(node.results, texts, strict=True)):
        attrs = {"dims": node.attrs["dims"], "expr": text}
        one = lower_reduction(Node(node.op, node.operands, (value,), attrs, node.source), "sum", target)
        names = {"r0": f"r{i}", **{f"w{j}": f"w{j + len(spaces)}" for j in range(len(one.workspaces))}}
        steps += [(launch, tuple(names.get(ref, ref) for ref in refs)) for launch, refs in one.steps]
        spaces += one.workspaces
    return Lowering(tuple(steps), tuple(spaces))
