from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tritoncnn
from tests.computing import Computing
from tests.train.samples import write_idx
from tritoncnn import train as library
from tritoncnn.data import Facts
from tritoncnn.models.stack import ACTIVATIONS
from tritoncnn.tasks import find_task
from tritoncnn.train import Options

TASK = find_task("stack")
FACTS = Facts(tuple("0123456789"), (0.0,), (1.0,))


def stack(model: str = "filters", **own: Any) -> torch.nn.Module:
    return Options.of(TASK, model=model, **own).build_model(FACTS)


@pytest.mark.parametrize("model", TASK.models)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("depth", [0, 1, 4])
def test_only_stacks_without_a_non_linearity_are_one_linear_map(model: str, activation: str, depth: int) -> None:
    torch.manual_seed(0)
    pool = {"pool": "avg"} if model == "filters" else {}
    net = stack(model, activation=activation, depth=depth, **pool).double()
    a, b, zero = (
        torch.randn(1, 1, 28, 28).double(),
        torch.randn(1, 1, 28, 28).double(),
        torch.zeros(1, 1, 28, 28).double(),
    )
    with torch.no_grad():
        bent = (net(a + b) - net(a) - net(b) + net(zero)).abs().max()
    assert (bent < 1e-9) == (activation == "none" or depth == 0)


def test_options_are_the_parts_of_the_model() -> None:
    def parts(model: str = "filters", **own: Any) -> list[str]:
        return [type(part).__name__ for part in stack(model, **own).layers]  # type: ignore[union-attr]

    assert parts() == ["Conv2d", "ReLU", "MaxPool2d"] * 3
    assert parts(depth=1) == ["Conv2d", "ReLU", "MaxPool2d"]
    assert parts(depth=4, activation="tanh") == ["Conv2d", "Tanh", "MaxPool2d"] * 4
    assert parts(pool="avg") == ["Conv2d", "ReLU", "AvgPool2d"] * 3
    assert parts(pool="none", activation="none") == ["Conv2d", "Identity"] * 3
    assert parts("full") == ["Linear", "ReLU"] * 3
    assert parts("full", depth=0, activation="none") == []


def test_a_stack_learns_by_our_kernels_alone(tmp_path: Path) -> None:
    data = write_idx(tmp_path / "mnist")
    options = Options.of(TASK, data="mnist", data_dir=str(data), batch_size=8, epochs=10, depth=2)
    assert library.train(options, tmp_path / "run").summary["metrics"]["accuracy"] >= 0.9
    x, y = torch.rand(8, 1, 28, 28), torch.arange(8)
    step = tritoncnn.compile_step(stack(), TASK.loss, tritoncnn.SGD(lr=0.01), (x, y))
    with Computing() as mode:
        step(x, y)
    assert set(mode.seen) <= {"aten::aminmax", "aten::_local_scalar_dense"}  # labels are looked at, not computed with
