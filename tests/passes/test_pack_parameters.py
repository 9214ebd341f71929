"""Parameters are stored as the ops that read them like them: no launch copies one into another order."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import tritoncnn
from tritoncnn.compiler import compile, compile_step
from tritoncnn.ir import Graph, TensorType, Value, parse_graph
from tritoncnn.passes.pack_parameters import ARENA, lay_out


class _Tokens(nn.Module):
    """An embedding, whose rows are picked, before a convolution over the words."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 6)
        self.conv = nn.Conv1d(6, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(self.words(torch.zeros(2, 5, dtype=torch.int64)).transpose(1, 2)) + x
        return y


class _Scaled(nn.Module):
    """Filters that are computed from two parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.g = nn.Parameter(torch.randn(4, 1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(x, self.v * self.g)


CASES: list[tuple[str, Callable[[], nn.Module], tuple[int, ...]]] = [
    ("linear", lambda: nn.Linear(7, 5), (3, 7)),
    ("conv1d", lambda: nn.Conv1d(4, 6, 3, padding=1), (2, 4, 9)),
    ("conv1d of one tap", lambda: nn.Conv1d(4, 6, 1), (2, 4, 9)),
    ("conv1d in groups", lambda: nn.Conv1d(4, 6, 3, groups=2), (2, 4, 9)),
    ("depthwise conv1d", lambda: nn.Conv1d(6, 6, 3, groups=6), (2, 6, 9)),
    ("conv2d", lambda: nn.Conv2d(4, 6, 3, 2), (2, 4, 7, 7)),
    ("conv3d", lambda: nn.Conv3d(3, 6, 2), (1, 3, 4, 5, 4)),
    ("conv_transpose1d", lambda: nn.ConvTranspose1d(4, 6, 4, 2, 1), (2, 4, 5)),
    ("conv_transpose2d", lambda: nn.ConvTranspose2d(4, 6, 3, 2), (2, 4, 5, 5)),
    ("conv_transpose2d in groups", lambda: nn.ConvTranspose2d(4, 6, 3, 2, groups=2), (2, 4, 5, 5)),
    ("conv_transpose3d", lambda: nn.ConvTranspose3d(3, 4, 2, 2), (1, 3, 3, 2, 3)),
    ("flatten", lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(4 * 9, 5)), (2, 2, 5, 5)),
    ("flatten of a line", lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.Flatten(), nn.Linear(4 * 5, 5)), (2, 2, 7)),
    ("embedding", _Tokens, (2, 4, 5)),
    ("scaled filters", _Scaled, (2, 3, 6, 6)),
]
TRAINED = [case for case in CASES if case[0].startswith(("conv1d", "conv3d", "conv_transpose", "flatten of", "scaled"))]
BY_NAME = pytest.mark.parametrize(("make", "shape"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])


def _copies(graph: Graph) -> list[str]:
    """What is copied and comes from parameters alone."""
    known = {value for value in graph.inputs if value.name == ARENA}
    found = []
    for node in graph.nodes:
        if node.operands and all(v in known for v in node.operands):
            known.update(node.results)
            if node.op == "copy":
                found.append(str(node))
    return found


@BY_NAME
def test_inference_copies_no_parameter_and_gives_torchs_numbers(
    make: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    module, x = make().eval(), torch.randn(shape)
    model = compile(module, x)
    assert _copies(model.plan.graph) == []
    # Sums of at most 81 products of values of order 1, in f32.
    torch.testing.assert_close(model(x), module(x).detach(), rtol=1e-4, atol=1e-4)
    for name, tensor in module.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


@pytest.mark.parametrize(("make", "shape"), [case[1:] for case in TRAINED], ids=[case[0] for case in TRAINED])
def test_a_step_on_parameters_so_stored_is_torchs(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module, x = make(), torch.randn(shape)
    target = torch.randn_like(module(x))
    step = compile_step(copy.deepcopy(module), nn.functional.mse_loss, tritoncnn.SGD(lr=0.5), (x, target))
    torch.testing.assert_close(step(x, target), nn.functional.mse_loss(module(x), target).detach())
    optimizer: Any = torch.optim.SGD(module.parameters(), lr=0.5)
    nn.functional.mse_loss(module(x), target).backward()
    optimizer.step()
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(step.state_dict()[name], tensor, rtol=1e-4, atol=1e-4)


def test_the_first_op_that_asks_decides_and_others_lie_row_by_row() -> None:
    graph = parse_graph("""
graph g(x: f32[1,2,5,5], w: f32[3,2,3,3], b: f32[3,2]) {
  %1 = conv2d_dgrad(x, w) {input_shape=[1,2,5,5], stride=[1,1], padding=[1,1], dilation=[1,1]} : f32[1,2,5,5]
  %2 = conv2d(%1, w) {stride=[1,1], padding=[1,1], dilation=[1,1]} : f32[1,3,5,5]
  %3 = relu(b) : f32[3,2]
  return %2, %3
}""")
    layout = lay_out(graph, (graph.input("w"), graph.input("b")))
    orders = {part.name: part.type.order for part in layout.slices}
    assert orders == {"w": (2, 3, 0, 1), "b": (0, 1)}
    assert lay_out(graph, (Value("unread", TensorType.dense("f32", (2, 3))),)).slices[0].type.order == (0, 1)
