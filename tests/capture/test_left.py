"""Tables that user code keeps of the call that was traced have numbers afterwards, for later calls and captures."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tritoncnn
from tritoncnn import SGD, Update
from tritoncnn.errors import InputError, UnsupportedError

X = torch.linspace(-1, 1, 12).reshape(2, 6)
Table = Callable[[int], torch.Tensor]


def _written(size: int) -> torch.Tensor:
    table = torch.zeros(3, size)
    table[1] = 2
    table[:, ::2].add_(torch.arange(3.0)[:, None])
    return table.t()[:, 1]


TABLES: dict[str, Table] = {
    "arange": lambda size: torch.arange(float(size)),
    "numbers": lambda size: torch.tensor([0.5 * i for i in range(size)]),
    "ops": lambda size: torch.linspace(0, 1, size).sin()[None].expand(2, size)[1] * 3,
    "window": lambda size: torch.hann_window(size),
    "mask": lambda size: torch.full((size, size), float("-inf")).triu(1).softmax(0)[0],
    "written": _written,
    "whole numbers": lambda size: torch.arange(size) % 3,
}


class Net(nn.Module):
    """x + table(width of x), ``plain`` or with a change in place that the light tracer does not follow."""

    def __init__(self, table: Table, plain: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.plain, self.line = functools.lru_cache(table), plain, nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.line(x)
        if not self.plain:
            y = y * 1
            y[:, 0].mul_(2)
        y = y + self.table(x.shape[1])
        return y.tanh() * self.table(x.shape[1])  # autograd keeps the table for the gradient of y


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "by torch.export"])
@pytest.mark.parametrize("name", TABLES)
def test_cached_tables_are_those_of_a_real_call(name: str, plain: bool) -> None:
    net = Net(TABLES[name], plain).eval()
    model = tritoncnn.compile(net, X)
    before = net.table.cache_info()
    kept = net.table(6)
    assert (before.currsize, net.table.cache_info().misses) == (1, before.misses)
    assert type(kept) is torch.Tensor
    assert torch.equal(kept, TABLES[name](6))
    with torch.no_grad():
        want = net(X)
        torch.testing.assert_close(model(X), want, rtol=0, atol=1e-6)  # a product of 6 numbers and tanh in f32
        torch.testing.assert_close(
            model(X[:1]), want[:1], rtol=0, atol=1e-6
        )  # captured again, with the table in the cache
        other = tritoncnn.compile(Net(TABLES[name], plain).eval(), X)
        torch.testing.assert_close(other(X), want, rtol=0, atol=1e-6)


def test_a_step_captured_again_finds_the_cached_table() -> None:
    net, twin = Net(TABLES["arange"], True), Net(TABLES["arange"], True)
    step = tritoncnn.compile_step(net, F.mse_loss, SGD(0.1), (X, X))
    optimizer = torch.optim.SGD(twin.parameters(), 0.1)
    for x in (X, X[:1], X):
        step(x, x)
        optimizer.zero_grad()
        F.mse_loss(twin(x), x).backward()
        optimizer.step()
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)  # three moves by sums of 12 products in f32


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "by torch.export"])
def test_a_table_of_random_numbers_that_is_kept_is_refused(plain: bool) -> None:
    with pytest.raises(UnsupportedError, match=r"keeps outside of parameters and buffers, a tensor"):
        tritoncnn.compile(Net(lambda size: torch.randn(size), plain), X)


class Counting(Net):
    """A Net whose calls differ, with a table in a cache or as an attribute that is no buffer."""

    def __init__(self, plain: bool, cached: bool) -> None:
        super().__init__(TABLES["arange"], plain)
        if not cached:
            held = torch.arange(6.0)
            self.table = lambda size: held
        self.calls: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.append(1)
        y: torch.Tensor = super().forward(x)
        return y * len(self.calls)


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "held"])
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "by torch.export"])
def test_a_counter_is_found_beside_a_table(plain: bool, cached: bool) -> None:
    with pytest.raises(
        UnsupportedError, match=r"keeps outside of parameters and buffers: it would do something else in"
    ):
        tritoncnn.compile(Counting(plain, cached), X)


def test_what_follows_from_an_input_says_that_it_has_no_numbers() -> None:
    net, seen = nn.Sequential(nn.Linear(6, 6), nn.ReLU()), {}
    net[0].register_forward_hook(lambda module, inputs, output: seen.__setitem__("y", output))

    def losses(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return net(x).sum() + seen["y"].square().mean()

    tritoncnn.compile_step(nets=net, losses=losses, example=X, updates=[Update(by=SGD(0.1))])
    with pytest.raises(
        InputError, match=r"aten.add.Tensor cannot read a tensor that holds no numbers: .*; call the module"
    ):
        seen["y"] + 1
    net(X)
    assert torch.isfinite(seen["y"]).all()


def test_weights_of_a_module_in_a_list_are_read_as_they_are_now() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).eval()]  # in a list, of which no module knows

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = layer(x)
            return x

    net, x = Hidden().eval(), torch.linspace(-1, 1, 75).reshape(1, 3, 5, 5)
    model = tritoncnn.compile(net, x)
    with torch.no_grad():
        for layer in net.layers:
            layer.weight.mul_(3)
            torch.testing.assert_close(model(x), net(x), rtol=0, atol=1e-5)  # sums of 27 products up to about 10
