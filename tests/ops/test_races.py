"""The programs of a launch do not depend on each other, and stay inside of their tensors: the CPU backend's own checks."""

from __future__ import annotations

import pytest

from tests.ops.run_node import Sample, node_of, operands_of, run_node, samples
from tritoncnn import cpu
from tritoncnn.ops import OPS, OpDef


@pytest.mark.parametrize("op", [pytest.param(op, id=op.name) for op in OPS.values() if op.lower is not None])
def test_no_op_has_a_race_or_leaves_its_tensors(op: OpDef) -> None:
    with cpu.races():
        run_node(node_of(op, op.samples[0], True), operands_of(op.samples[0]))


@pytest.mark.parametrize(("op", "sample"), samples(lambda op: op.lower is not None and op.name.startswith("conv")))
def test_no_convolution_leaves_its_tensors(op: OpDef, sample: Sample) -> None:
    """Taps and phases that lie outside the picture or the filter: every sample, on fast layouts."""
    with cpu.bounds():
        run_node(node_of(op, sample, True), operands_of(sample))
