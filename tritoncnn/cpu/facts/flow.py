"""Which values become which at the borders of regions, blocks and functions: (those that they become, those that come)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tritoncnn.cpu.front.blocks import edges
from tritoncnn.cpu.front.ttir import Function, Op, Value

Flows = Iterator[tuple[Sequence[Value], Sequence[Value]]]


def _yields(op: Op) -> list[list[Value]]:
    """What each region of an op hands back."""
    return [region[-1].ops[-1].operands if region[-1].ops else [] for region in op.regions]


def loop(op: Op, function: Function, callees: Mapping[str, Function]) -> Flows:
    """``scf.for``."""
    for sources in (op.operands[3:], _yields(op)[0]):
        yield op.regions[0][0].args[1:], sources
        yield op.results, sources


def while_loop(op: Op, function: Function, callees: Mapping[str, Function]) -> Flows:
    """``scf.while``: the first thing that its first region hands on is its condition."""
    before, after = (region[0].args for region in op.regions)
    handed_on, again = _yields(op)
    yield before, op.operands
    yield before, again
    yield after, handed_on[1:]
    yield op.results, handed_on[1:]


def branch(op: Op, function: Function, callees: Mapping[str, Function]) -> Flows:
    """``scf.if``."""
    for sources in _yields(op):
        yield op.results, sources


def jump(op: Op, function: Function, callees: Mapping[str, Function]) -> Flows:
    """``cf.br`` and ``cf.cond_br``."""
    assert op.block is not None
    owner = op.block.owner
    region = function.blocks if owner is None else next(r for r in owner.regions if op.block in r)
    blocks = {block.label: block for block in region}
    for label, values in edges(op.block):
        yield blocks[label].args, values


def call(op: Op, function: Function, callees: Mapping[str, Function]) -> Flows:
    """``tt.call``: whatever its function returns may be its result."""
    callee = callees[str(op.attrs["callee"])]
    yield callee.args, op.operands
    for block in callee.blocks:
        if not edges(block):
            yield op.results, block.ops[-1].operands
