from __future__ import annotations

from pathlib import Path

import pytest
import torch

import tritoncnn
from tests.computing import Computing
from tests.train.samples import write_idx
from tritoncnn import train as library
from tritoncnn.data import Facts
from tritoncnn.tasks import find_task
from tritoncnn.train import Options

TASK = find_task("stack")
FACTS = Facts(tuple("0123456789"), (0.0,), (1.0,))


@pytest.mark.parametrize("model", TASK.models)
def test_only_stacks_without_a_non_linearity_are_one_linear_map(model: str) -> None:
    torch.manual_seed(0)
    net = TASK.models[model](FACTS).double()
    a, b, zero = (
        torch.randn(1, 1, 28, 28).double(),
        torch.randn(1, 1, 28, 28).double(),
        torch.zeros(1, 1, 28, 28).double(),
    )
    with torch.no_grad():
        bent = (net(a + b) - net(a) - net(b) + net(zero)).abs().max()
    assert (bent < 1e-9) == (model in ("linear", "full-linear"))


def test_models_have_the_parts_that_their_names_say() -> None:
    def parts(model: str) -> list[str]:
        return [type(part).__name__ for part in TASK.models[model](FACTS).layers]  # type: ignore[union-attr]

    assert parts("filters") == ["Conv2d", "ReLU", "MaxPool2d"] * 3
    assert parts("depth-1") == ["Conv2d", "ReLU", "MaxPool2d"]
    assert parts("depth-2") == ["Conv2d", "ReLU", "MaxPool2d"] * 2
    assert parts("tanh") == ["Conv2d", "Tanh", "MaxPool2d"] * 3
    assert parts("mean-pooling") == ["Conv2d", "ReLU", "AvgPool2d"] * 3
    assert parts("no-pooling") == ["Conv2d", "ReLU"] * 3
    assert parts("linear") == ["Conv2d", "Identity", "AvgPool2d"] * 3
    assert parts("full") == ["Linear", "ReLU"] * 3
    assert parts("full-linear") == ["Linear", "Identity"] * 3


def test_a_stack_learns_by_our_kernels_alone(tmp_path: Path) -> None:
    data = write_idx(tmp_path / "mnist")
    options = Options.of(TASK, data="mnist", data_dir=str(data), batch_size=8, epochs=10)
    assert library.train(options, tmp_path / "run").summary["metrics"]["accuracy"] >= 0.9
    x, y = torch.rand(8, 1, 28, 28), torch.arange(8)
    step = tritoncnn.compile_step(TASK.models["filters"](FACTS), TASK.loss, tritoncnn.SGD(lr=0.01), (x, y))
    with Computing() as mode:
        step(x, y)
    assert set(mode.seen) <= {"aten::aminmax", "aten::_local_scalar_dense"}  # labels are looked at, not computed with
