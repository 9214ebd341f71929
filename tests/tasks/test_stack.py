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
    parts = {"filters": {"pool": "avg", "pairs": 1, "residual": True}, "pyramid": {"pool": "avg"}, "full": {}}[model]
    net = stack(model, activation=activation, depth=depth, **parts).double()
    a, b, zero = (
        torch.randn(1, 1, 28, 28).double(),
        torch.randn(1, 1, 28, 28).double(),
        torch.zeros(1, 1, 28, 28).double(),
    )
    with torch.no_grad():
        bent = (net(a + b) - net(a) - net(b) + net(zero)).abs().max()
    assert (bent < 1e-9) == (activation == "none" or (depth == 0 and model != "filters"))


def test_options_are_the_parts_of_the_model() -> None:
    def parts(model: str = "filters", **own: Any) -> list[str]:
        return [type(part).__name__ for part in stack(model, **own).layers]  # type: ignore[union-attr]

    assert parts() == ["Conv2d", "ReLU", "MaxPool2d"] * 3
    assert parts(depth=1) == ["Conv2d", "ReLU", "MaxPool2d"]
    assert parts(depth=4, activation="tanh") == ["Conv2d", "Tanh", "MaxPool2d"] * 4
    assert parts(pool="avg") == ["Conv2d", "ReLU", "AvgPool2d"] * 3
    assert parts(pool="stride") == ["Conv2d", "ReLU", "Stride"] * 3
    assert parts(pool="none", activation="none") == ["Conv2d", "Identity"] * 3
    assert parts(depth=1, pairs=2) == ["Conv2d", "ReLU", "MaxPool2d", "Pair", "Pair"]
    assert parts("pyramid") == ["Conv2d"] * 3
    assert parts("full") == ["Linear", "ReLU"] * 3
    assert parts("full", depth=0, activation="none") == []


def test_a_residual_pair_adds_to_what_comes_in() -> None:
    x = torch.rand(2, 1, 28, 28)
    plain, residual = (stack(depth=0, pairs=1, residual=switch) for switch in (False, True))
    residual.load_state_dict(plain.state_dict())
    pair = plain.layers[0]  # type: ignore[index]
    y = pair.second(torch.relu(pair.first(x)))
    torch.testing.assert_close(plain(x), plain.head(torch.relu(y).flatten(1)))  # type: ignore[operator]
    torch.testing.assert_close(residual(x), plain.head(torch.relu(x + y).flatten(1)))  # type: ignore[operator]


@pytest.mark.parametrize("depth", [0, 1, 3, 4])
@pytest.mark.parametrize("pool", ["max", "stride", "none"])
def test_a_pyramid_lays_one_layer_on_each_size_of_the_picture(depth: int, pool: str) -> None:
    net, x = stack("pyramid", depth=depth, pool=pool), torch.rand(2, 1, 28, 28)
    found, now, last = [], x, depth - 1
    for level in range(depth):
        y = torch.relu(net.layers[level](now))  # type: ignore[index,operator]
        if pool != "none":
            cell = 2 ** (last - level)
            cells = y.unfold(2, cell, cell).unfold(3, cell, cell)
            y = cells.amax((4, 5)) if pool == "max" else cells[..., 0, 0]
        found.append(y.flatten(1))
        now = torch.nn.functional.avg_pool2d(now, 2)
    torch.testing.assert_close(net(x), net.head(torch.cat(found, 1) if found else x.flatten(1)))  # type: ignore[operator]


def test_a_stack_learns_by_our_kernels_alone(tmp_path: Path) -> None:
    data = write_idx(tmp_path / "mnist")
    options = Options.of(TASK, data="mnist", data_dir=str(data), batch_size=8, epochs=10, depth=2)
    assert library.train(options, tmp_path / "run").summary["metrics"]["accuracy"] >= 0.9
    x, y = torch.rand(8, 1, 28, 28), torch.arange(8)
    step = tritoncnn.compile_step(stack(), TASK.loss, tritoncnn.SGD(lr=0.01), (x, y))
    with Computing() as mode:
        step(x, y)
    assert set(mode.seen) <= {"aten::aminmax", "aten::_local_scalar_dense"}  # labels are looked at, not computed with
