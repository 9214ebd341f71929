"""The programs of a launch do not depend on each other, and stay inside of their tensors: the CPU backend's own checks."""

from __future__ import annotations

import pytest

from tests.ops.run_node import node_of, operands_of, run_node
from tritoncnn import cpu
from tritoncnn.ops import OPS, OpDef


@pytest.mark.parametrize("op", [pytest.param(op, id=op.name) for op in OPS.values() if op.lower is not None])
def test_no_op_has_a_race_or_leaves_its_tensors(op: OpDef) -> None:
    with cpu.races():
        run_node(node_of(op, op.samples[0], True), operands_of(op.samples[0]))
