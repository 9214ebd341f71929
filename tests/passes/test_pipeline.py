"""Every pass of the pipeline keeps the meaning of LeNet's training step, and leaves a graph that verifies."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.passes import lenet
from tests.targets import CPU
from tritoncnn.autodiff import differentiate
from tritoncnn.ir import Graph, parse_graph, verify
from tritoncnn.ops import check_node
from tritoncnn.ops.evaluate import evaluate
from tritoncnn.optim import SGD, AdamW, Optimizer, Unit, add_optimizers
from tritoncnn.passes import FORWARD, lowering, run_passes
from tritoncnn.passes.pack_parameters import ARENA, ParameterLayout, lay_out, pack_outputs, pack_parameters


def step_graph(optimizer: Optimizer) -> tuple[Graph, ParameterLayout]:
    graph, _ = run_passes(lenet.lenet_loss(), FORWARD)
    trained = tuple(graph.input(name) for name in lenet.SHAPES)
    layout = lay_out(graph, trained)
    graph = pack_outputs(pack_parameters(differentiate(graph, trained), layout), layout)
    return add_optimizers(graph, 1, [Unit("", 0, 0, 0, layout, optimizer)]), layout


def step_inputs(layout: ParameterLayout, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    tensors = lenet.inputs()
    arena = torch.zeros(layout.size, dtype=torch.float64)
    for part in layout.slices:
        stored = arena.as_strided(part.type.shape, part.type.strides, part.offset)
        stored.copy_(tensors.pop(part.name).reshape(part.type.shape))
    states = {name: torch.zeros_like(arena) for name in optimizer.state}
    return {**tensors, ARENA: arena, "lr": torch.tensor(0.01, dtype=torch.float64), "step": torch.tensor(0), **states}


@pytest.mark.parametrize("optimizer", [SGD(0.01, momentum=0.9), AdamW()], ids=["sgd", "adamw"])
def test_every_pass_keeps_the_meaning_of_the_training_step(optimizer: Optimizer) -> None:
    graph, layout = step_graph(optimizer)
    tensors = step_inputs(layout, optimizer)
    wanted = evaluate(graph, tensors)
    for step in lowering(CPU):
        graph, _ = step(graph)
        verify(graph, check_node, after=step.name)
        assert parse_graph(str(graph)) == graph
        for got, want in zip(evaluate(graph, tensors), wanted, strict=True):
            # fp64 both ways; only the order of sums may change: 784 * 3 terms at most, values of order 1.
            torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


def test_the_step_is_torchs_step() -> None:
    graph, layout = step_graph(SGD(0.01, momentum=0.9))
    tensors = step_inputs(layout, SGD(0.01, momentum=0.9))
    graph, _ = run_passes(graph, lowering(CPU))
    loss, _, parameters, _ = evaluate(graph, tensors)
    p = {name: t.requires_grad_() for name, t in lenet.inputs().items() if name in lenet.SHAPES}
    x = lenet.inputs()["x"]
    for name, padding in (("conv1", 2), ("conv2", 0)):
        x = F.max_pool2d(F.relu(F.conv2d(x, p[f"{name}.weight"], p[f"{name}.bias"], padding=padding)), 2)
    x = x.flatten(1)
    for name in ("fc1", "fc2", "fc3"):
        x = F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])
        x = x if name == "fc3" else F.relu(x)
    wanted = F.cross_entropy(x, lenet.inputs()["target"])
    wanted.backward()
    torch.testing.assert_close(loss, wanted.detach(), rtol=1e-12, atol=0.0)
    for part in layout.slices:
        got = parameters.as_strided(part.type.shape, part.type.strides, part.offset).reshape(lenet.SHAPES[part.name])
        tensor = p[part.name]
        assert tensor.grad is not None
        torch.testing.assert_close(got, (tensor - 0.01 * tensor.grad).detach(), rtol=1e-12, atol=1e-14)


def test_the_fused_step_has_one_node_per_layer() -> None:
    graph, _ = run_passes(step_graph(SGD(0.01))[0], lowering(CPU))
    forward = [
        node for node in graph.nodes if node.op in ("conv2d", "matmul") and "relu" in str(node.attrs.get("epilogue"))
    ]
    assert [node.op for node in forward] == ["conv2d", "conv2d", "matmul", "matmul"]
    assert all(node.attrs["pool"] == (2, 2) for node in forward[:2])
    views = ("slice", "reshape", "permute", "pack")
    # One of them is a copy that flattens: weights that the module shares keep the shape they have in torch.
    assert sum(node.op not in views for node in graph.nodes) == 23
