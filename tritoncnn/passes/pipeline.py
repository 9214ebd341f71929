"""The pipeline: one list per stage, on one screen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tritoncnn import settings
from tritoncnn.ir import Graph, TensorType, verify
from tritoncnn.kernels.target import Target
from tritoncnn.ops import check_node
from tritoncnn.passes.choose_layout import ChooseLayout
from tritoncnn.passes.clamp_before_pool import ClampBeforePool
from tritoncnn.passes.decompose import Decompose
from tritoncnn.passes.define import Pass
from tritoncnn.passes.fuse_bias_grad import FuseBiasGrad
from tritoncnn.passes.fuse_epilogue import FuseEpilogue
from tritoncnn.passes.fuse_into_reduction import FuseIntoReduction
from tritoncnn.passes.fuse_pointwise import FusePointwise
from tritoncnn.passes.fuse_pool import FusePool
from tritoncnn.passes.fuse_prologue import FusePrologue
from tritoncnn.passes.fuse_statistics import FuseStatistics
from tritoncnn.passes.fuse_sums import FuseSums
from tritoncnn.passes.gather_updates import GatherUpdates
from tritoncnn.passes.mask_before_pool_grad import MaskBeforePoolGrad
from tritoncnn.passes.materialise_padding import MaterialisePadding
from tritoncnn.passes.recompute_light import RecomputeLight
from tritoncnn.passes.recompute_small import RecomputeSmall
from tritoncnn.passes.share_sums import ShareSums
from tritoncnn.passes.simplify import Simplify
from tritoncnn.passes.sink_reshape import SinkReshape
from tritoncnn.passes.write_into_parts import WriteIntoParts

FORWARD: tuple[Pass, ...] = (  # on the model's graph, before gradients
    Simplify(),
    SinkReshape(),
    Simplify(),  # after SinkReshape: reshapes that meet are one
    ClampBeforePool(),  # after SinkReshape, which takes the reshape out that stands behind a pooling of lines
)


def lowering(target: Target, results: tuple[TensorType, ...] = ()) -> tuple[Pass, ...]:
    """The passes on the whole graph, gradients included. ``results``: how the first outputs must lie in memory."""
    return (
        FuseStatistics(),  # before Decompose: takes norms as a whole
        Decompose(),
        SinkReshape(),  # before Simplify, as above
        Simplify(),
        ShareSums(),  # after Simplify: equal factors are one value
        MaskBeforePoolGrad(),  # before FusePool: frees the full-size activation
        FuseBiasGrad(),
        MaterialisePadding(),
        Simplify(),
        RecomputeLight(),  # after the last Simplify, which would merge the copies again
        RecomputeSmall(),  # after RecomputeLight, whose copies are readers of small values
        FusePointwise(),
        GatherUpdates(),  # after FusePointwise: takes whole expressions
        FuseEpilogue(),  # after FusePointwise: takes whole expressions
        FuseIntoReduction(),  # after FuseEpilogue: what a product can do on its way is free
        FuseSums(),  # after FuseIntoReduction: takes sums of whole expressions
        FusePrologue(),  # after FuseEpilogue, too: what is left between two products
        FusePool(),  # after FuseEpilogue: pooling comes last in the kernel
        ChooseLayout(target, results),  # strides are decided for the ops that are left
        WriteIntoParts(),  # after ChooseLayout: it gives parts the strides of their whole
    )


@dataclass(frozen=True)
class Stage:
    """The graph after one step of the compiler. ``note`` says in words what the step did."""

    name: str
    note: str
    graph: Graph


def run_passes(graph: Graph, passes: Iterable[Pass]) -> tuple[Graph, tuple[Stage, ...]]:
    """The graph after all ``passes``, and after each that changed it."""
    stages = []
    checked = settings.current().verify
    for step in passes:
        graph, note = step(graph)
        if checked:
            verify(graph, check_node, after=step.name)
        if note:
            stages.append(Stage(step.name, note, graph))
    return graph, tuple(stages)
