"""From a node to its launches: what the ``lower`` functions of ops share."""

from __future__ import annotations

from collections.abc import Sequence

from tritoncnn.ir import Node, TensorType
from tritoncnn.kernels.launch import Launch, Slot
from tritoncnn.ops.define import Lowering
from tritoncnn.ops.slot import make_slot


def types_of(node: Node) -> tuple[tuple[TensorType, ...], tuple[TensorType, ...]]:
    """(types of the results, types of the operands)."""
    return tuple(v.type for v in node.results), tuple(v.type for v in node.operands)


def epilogue_of(node: Node, arity: int, out: TensorType | None = None) -> Slot | None:
    """The slot of the node's fused expression, if it has one; ``out`` is the tensor that it is computed for."""
    if "epilogue" not in node.attrs:
        return None
    extra = tuple(v.type for v in node.operands[arity:])
    return make_slot(str(node.attrs["epilogue"]), out or node.results[0].type, extra)


def refs_of(node: Node) -> tuple[str, ...]:
    """All results, then all operands: the usual order of a kernel's pointers."""
    return (*(f"r{i}" for i in range(len(node.results))), *(f"o{i}" for i in range(len(node.operands))))


def one_launch(node: Node, launch: Launch) -> Lowering:
    """A node computed by one launch, whose pointers are the node's results and operands in order."""
    return Lowering(((launch, refs_of(node)),))


def in_parts(node: Node, launches: Sequence[Launch], workspace: TensorType | None, arity: int) -> Lowering:
    """A reduction that may be split: the first launch writes parts into the workspace, the second adds them up.

    The first reads the node's ``arity`` operands; the epilogue, with its operands, belongs to the second.
    """
    if workspace is None:
        (launch,) = launches
        return one_launch(node, launch)
    first, second = launches
    results, operands = refs_of(node)[: len(node.results)], refs_of(node)[len(node.results) :]
    return Lowering(((first, ("w0", *operands[:arity])), (second, (*results, "w0", *operands[arity:]))), (workspace,))
