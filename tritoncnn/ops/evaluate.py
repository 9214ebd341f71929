"""Run a graph with every op's torch reference: the oracle of the tests, and what TRITONCNN_REFERENCE=1 runs."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from tritoncnn.ir import ACC, Expr, Graph, Node, TensorType, parse_expr
from tritoncnn.ops.define import OPS, SLOTS, TORCH_DTYPE


def evaluate_expr(expr: Expr, acc: torch.Tensor | None, operands: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """What a fused expression means: each word's reference."""
    if expr.op == ACC and not expr.args:
        assert acc is not None
        return acc
    if expr.operand is not None:
        return operands[expr.operand]
    if isinstance(expr.constant, int):
        return torch.tensor(expr.constant)
    if expr.constant is not None:
        like = acc if acc is not None else next((t for t in operands if t.is_floating_point()), torch.empty(()))
        return torch.tensor(expr.constant, dtype=like.dtype)
    return OPS[expr.op].reference(*(evaluate_expr(arg, acc, operands) for arg in expr.args))


def run_reference(node: Node, operands: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """The results of one node by its op's reference: its fused prologue, the op, its fused epilogue, its fused pooling."""
    op = OPS[node.op]
    fused = (*SLOTS, "pool", "index") if op.epilogue and "pool" in node.attrs else SLOTS
    attrs = {key: value for key, value in node.attrs.items() if key not in fused}
    slots = any(key in node.attrs for key in SLOTS)
    base, extra = (operands[: op.arity], operands[op.arity :]) if slots else (operands, ())
    if "prologue" in node.attrs:
        base = (evaluate_expr(parse_expr(str(node.attrs["prologue"])), base[0], extra), *base[1:])
    results = op.reference(*base, **attrs)
    results = results if isinstance(results, tuple) else (results,)
    if "epilogue" in node.attrs:
        results = (evaluate_expr(parse_expr(str(node.attrs["epilogue"])), results[0], extra), *results[1:])
    if "pool" in fused:
        window = node.attrs["pool"]
        pooled = OPS["max_pool2d"].reference(results[0], window=window, stride=window, padding=(0, 0), dilation=(1, 1),
                                             ceil_mode=False)  # fmt: skip
        results = pooled[: len(node.results)]
    return results


def laid_out(tensor: torch.Tensor, type: TensorType) -> torch.Tensor:
    """``tensor`` with the strides its type says (fresh memory when they differ)."""
    if tensor.stride() == type.strides or not tensor.numel() or 0 in type.strides:
        return tensor
    fresh = torch.empty_strided(type.shape, type.strides, dtype=tensor.dtype)
    return fresh.copy_(tensor)


def evaluate(graph: Graph, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """The outputs of ``graph`` for tensors by input name, computed by torch references.

    Float tensors may be fp64 whatever the graph says, so the same graph serves as its own fp64 oracle.
    """
    known = {value: inputs[value.name] for value in graph.inputs}
    oracle = any(tensor.dtype == torch.float64 for tensor in inputs.values())
    for node in graph.nodes:
        results = run_reference(node, tuple(known[v] for v in node.operands))
        for value, tensor in zip(node.results, results, strict=True):
            if tuple(tensor.shape) != value.type.shape:
                raise AssertionError(f"{node.op}: reference gives {list(tensor.shape)}, the graph says {value.type}")
            if (
                not (tensor.is_floating_point() and value.type.is_float)
                and tensor.dtype != TORCH_DTYPE[value.type.dtype]
            ):
                raise AssertionError(f"{node.op}: reference gives {tensor.dtype}, the graph says {value.type}")
            if tensor.dim() and not oracle:  # a constant that was stretched
                tensor = tensor.to(TORCH_DTYPE[value.type.dtype])
            known[value] = laid_out(tensor, value.type)
    return tuple(known[v] for v in graph.outputs)
