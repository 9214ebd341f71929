"""No kernel of ours reads element by element what lies side by side: asked of the CPU backend's ``explain``."""

from __future__ import annotations

from collections.abc import Iterator

import torch

import tritoncnn
from tests.ops.run_node import node_of, samples
from tests.targets import CPU
from tritoncnn import cpu
from tritoncnn.errors import UnsupportedError
from tritoncnn.kernels.launch import Launch
from tritoncnn.models.lenet import LeNet

# Loads that gather although they might not, and why they may: (kernel, argument) -> reason.
ALLOWED = {
    ("matmul_kernel", "b_ptr"): "a small transposed B is packed once a launch; squares are turned when its depth fits",
}
# Loads of small samples in which no vector lies side by side: (op, argument) -> reason.
SPREAD = {
    ("copy", "x_ptr"): "the order of the axes changes, or rows are shorter than a vector",
    ("pointwise", "args.1"): "broadcast along an axis of three elements",
    ("sum", "x_ptr"): "the reduced axes do not lie side by side",
    ("sum", "args.0"): "the reduced axes do not lie side by side",
    ("sum", "args.1"): "the reduced axes do not lie side by side",
    ("mean", "x_ptr"): "the same",
    ("mean", "args.0"): "the same",
    ("mean", "args.1"): "the same",
    ("amax", "x_ptr"): "the same",
    ("argsort", "x_ptr"): "the sorted axis does not lie innermost",
    ("scan", "x_ptr"): "the summed axis does not lie innermost",
    ("max_taps", "x_ptr"): "taps are looked up by a table",
    ("max_taps", "i_ptr"): "one tap for all lanes of a row, and rows are shorter than a vector",
    ("put", "y_ptr"): "rows are looked up by numbers",
    ("put_max", "y_ptr"): "the same",
    ("put_max", "base_ptr"): "the same",
    ("put_prod", "y_ptr"): "the same",
    ("put_prod", "base_ptr"): "the same",
    ("overwrite", "base_ptr"): "the same",
    ("conv2d_wgrad", "x_ptr"): "one channel in a group",
    ("conv2d", "x_ptr"): "a channel read by several filters, depthwise",
    ("conv2d_dgrad", "dy_ptr"): "several filters of each channel, depthwise",
    ("conv2d_dgrad", "w_ptr"): "the same",
    ("resample", "x_ptr"): "along the innermost axis",
    ("resample", "i_ptr"): "one tap for all lanes of a row, and rows are shorter than a vector",
    ("resample", "w_ptr"): "the same",
}


BY_INDEX = {  # what is looked up by numbers goes as the looked-up rows lie, and the numbers with it
    ("take", "i_ptr"), ("take", "x_ptr"), ("put", "i_ptr"), ("put", "x_ptr"), ("put_max", "i_ptr"), ("put_max", "x_ptr"),
    ("put_prod", "i_ptr"), ("put_prod", "x_ptr"),
    ("overwrite", "i_ptr"), ("overwrite", "x_ptr"), ("write", "i_ptr"), ("write", "x_ptr"),
}  # fmt: skip
BY_ELEMENT = {"scan_kernel", "put_kernel"}  # running sums, entries that meet at one place: one element after the other
FEW_CLASSES = {("cross_entropy", "x_ptr")}  # fewer than a vector holds: lanes run over rows


def gathering(launch: Launch) -> Iterator[cpu.Access]:
    said = cpu.explain(cpu.request(launch.kernel, launch.signature, launch.constants))
    assert said.accesses or launch.kernel.__name__ in BY_ELEMENT
    yield from (note for note in said.slow if note.op == "load")


def test_lenet_gathers_nowhere_in_inference_and_training() -> None:
    x, target = torch.zeros(32, 1, 28, 28), torch.zeros(32, dtype=torch.int64)
    loss = torch.nn.functional.cross_entropy
    model = tritoncnn.compile(LeNet(), x)
    steps = [tritoncnn.compile_step(LeNet(), loss, o, (x, target)) for o in (tritoncnn.SGD(0.1), tritoncnn.AdamW(0.1))]
    calls = [call for program in (model, *steps) for call in program.plan.calls]
    assert len(calls) > 40
    for call in calls:
        for note in gathering(call.launch):
            turned = len({operand.order for operand in call.launch.operands}) > 1  # no order suits both sides of a copy
            copies = call.launch.kernel.__name__ == "pointwise_kernel" and turned
            assert copies or (call.launch.kernel.__name__, note.argument) in ALLOWED, str(note)


def test_no_sample_of_an_op_gathers_what_lies_side_by_side() -> None:
    found = set()
    for op, sample in (parameter.values for parameter in samples(lambda op: op.lower is not None)):
        try:
            steps = op.lower(node_of(op, sample, True), CPU).steps
        except UnsupportedError:  # a sample for the reference only
            continue
        for launch, _ in steps:
            for note in gathering(launch):
                if (op.name, note.argument) not in BY_INDEX | FEW_CLASSES:
                    assert note.contiguous is None, str(note)
                    found.add((op.name, note.argument))
    assert found == set(SPREAD)
