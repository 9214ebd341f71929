"""Python's collector waits while a model is compiled, and is afterwards as it was before."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import tritoncnn
from tritoncnn import garbage
from tritoncnn.errors import UnsupportedError

X = torch.ones(2, 3)
SEEN: list[bool] = []  # not the module's: torch.export puts its containers back


class Watching(nn.Module):
    """Notes whether the collector is on while it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        SEEN.append(gc.isenabled())
        return self.linear(x)


def first_call(net: nn.Module) -> Any:
    model = tritoncnn.compile(net.eval())
    assert gc.isenabled()
    return model(X)


WAYS: dict[str, Callable[[nn.Module], Any]] = {
    "compile": lambda net: tritoncnn.compile(net.eval(), X),
    "first call": first_call,
    "step": lambda net: tritoncnn.compile_step(net, nn.MSELoss(), tritoncnn.SGD(0.1), (X, X)),
    "gradient": lambda net: tritoncnn.compile_grad(net, "x", X),
}


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    gc.enable()
    SEEN.clear()
    yield
    gc.enable()


@pytest.mark.parametrize("way", WAYS)
def test_the_collector_waits_and_goes_on(way: str) -> None:
    net = Watching()
    WAYS[way](net)
    assert SEEN
    assert not any(SEEN)
    assert gc.isenabled()


def test_calls_for_other_sizes_wait_too_and_other_calls_do_not() -> None:
    net = Watching()
    model = tritoncnn.compile(net.eval(), X)
    model(torch.ones(5, 3))
    assert SEEN
    assert not any(SEEN)
    traced = len(SEEN)
    model(X)
    assert len(SEEN) == traced
    assert gc.isenabled()


def test_it_goes_on_after_a_refusal() -> None:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(UnsupportedError):
        tritoncnn.compile(Branching(), X)
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    tritoncnn.compile(nn.Linear(3, 3).eval(), X)
    assert not gc.isenabled()


def test_the_outermost_block_lets_it_go_on() -> None:
    with garbage.later():
        with garbage.later():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
