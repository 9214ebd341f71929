"""Places and class numbers that are out of range: refused before anything runs, where torch raises too."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tritoncnn
from tests.computing import Computing
from tritoncnn import SGD, Update
from tritoncnn.errors import InputError, OutOfRangeError


class Call(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rows, self.function = nn.Embedding(5, 4), function

    def forward(self, x: torch.Tensor, i: torch.Tensor) -> Any:
        return self.function(self.rows, x, i)


def _put(x: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y[i] = 0.0
    return y


ONES = torch.ones(3, 4)
# name -> (function of a table with 5 rows, x [5, 4] and i [3] of numbers below 4; the first number that is too large; too small)
OPS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "embedding": (lambda rows, x, i: rows(i), 5, -1),
    "gather": (lambda rows, x, i: x.gather(1, i[:, None]), 4, -1),
    "index_select": (lambda rows, x, i: x.index_select(0, i), 5, -1),
    "indexing": (lambda rows, x, i: x[i], 5, -6),
    "indexing with two": (lambda rows, x, i: x[torch.arange(3), i], 4, -5),
    "take": (lambda rows, x, i: torch.take(x, i), 20, -21),
    "take_along_dim": (lambda rows, x, i: torch.take_along_dim(x, i), 20, -1),
    "one_hot": (lambda rows, x, i: F.one_hot(i, 4), 4, -1),
    "scatter": (lambda rows, x, i: x.scatter(1, i[:, None], 2.0), 4, -1),
    "scatter_add": (lambda rows, x, i: x.scatter_add(0, i[:, None], ONES), 5, -1),
    "scatter_reduce": (lambda rows, x, i: x.scatter_reduce(0, i[:, None].expand(3, 4), ONES, "amax"), 5, -1),
    "index_add": (lambda rows, x, i: x.index_add(0, i, ONES), 5, -1),
    "index_copy": (lambda rows, x, i: x.index_copy(0, i, ONES), 5, -1),
    "index_fill": (lambda rows, x, i: x.index_fill(1, i, 1.0), 4, -5),
    "index_put": (lambda rows, x, i: _put(x, i), 5, -6),
    "cross_entropy": (lambda rows, x, i: F.cross_entropy(x[:3], i), 4, -1),
    "cross_entropy, smoothed": (lambda rows, x, i: F.cross_entropy(x[:3], i, label_smoothing=0.1), 4, -1),
    "cross_entropy of pixels": (lambda rows, x, i: F.cross_entropy(x[None, :, :3], i[None]), 5, -1),
    "nll_loss": (lambda rows, x, i: F.nll_loss(x[:3].log_softmax(1), i), 4, -1),
    "a part of the input": (lambda rows, x, i: rows(i[1:]), 5, -1),
    "behind views": (lambda rows, x, i: rows(i.reshape(3, 1).t().expand(2, 3)), 5, -1),
    "counted from 1": (lambda rows, x, i: rows(i + 1), 4, -2),
    "of another width": (lambda rows, x, i: rows(i.int()), 5, -1),
}


@pytest.mark.parametrize("name", OPS)
def test_a_number_that_names_no_place_is_refused_as_in_torch(name: str) -> None:
    function, above, below = OPS[name]
    net, x, good = Call(function).eval(), torch.randn(5, 4), torch.tensor([0, 3, 2])
    model = tritoncnn.compile(net, (x, good))
    wanted = model(x, good)
    torch.testing.assert_close(wanted, net(x, good).detach())
    for number, legal in ((above, above - 1), (below, below + 1)):
        wrong, right = good.clone(), good.clone()
        wrong[1], right[1] = number, legal
        with pytest.raises((IndexError, RuntimeError)):
            net(x, wrong)
        got = number + 1 if name == "counted from 1" else number
        with pytest.raises(
            OutOfRangeError, match=rf"^\w+: input i must hold numbers from .*; got {re.escape(str(got))}$"
        ):
            model(x, wrong)
        torch.testing.assert_close(model(x, right), net(x, right).detach())
    assert torch.equal(model(x, good), wanted)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_labels_of_every_width_are_looked_at_and_ignore_index_passes(dtype: torch.dtype) -> None:
    x, t = torch.randn(4, 3), torch.tensor([0, 2, 250, 1], dtype=dtype)

    def loss(out: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(out, t.long(), ignore_index=250)

    net = nn.Linear(3, 3)
    step = tritoncnn.compile_step(net, loss, SGD(0.1), (x, t))
    assert float(step(x, t)) > 0
    before = {name: p.clone() for name, p in net.state_dict().items()}
    t[3] = 3
    with pytest.raises(
        OutOfRangeError, match=r"cross_entropy: input target must hold numbers from 0 to 2, or 250; got 3"
    ):
        step(x, t)
    assert all(torch.equal(p, before[name]) for name, p in net.state_dict().items())


# name -> the loss of x [6, 4], class numbers t [6] and a mask m [6]
SELECTED: dict[str, Callable[..., torch.Tensor]] = {
    "cross entropy": lambda x, t, m: F.cross_entropy(x[m], t[m]),
    "cross entropy, smoothed": lambda x, t, m: F.cross_entropy(x[m], t[m], label_smoothing=0.1),
    "negative likelihood": lambda x, t, m: F.nll_loss(x.log_softmax(1)[m], t[m], reduction="sum"),
    "torch.where": lambda x, t, m: F.cross_entropy(x, torch.where(m, t, -100)),
    "rows": lambda x, t, m: F.embedding(t[m], x[:4]).square().mean(),
    "gather": lambda x, t, m: x[m].gather(1, t[m][:, None]).square().sum(),
    "one_hot": lambda x, t, m: (x[m] * F.one_hot(t[m], 4)).square().sum(),
    "a mask of numbers": lambda x, t, m: F.cross_entropy(x[m.long() > 0], t[m.long() > 0]),
    "two masks": lambda x, t, m: F.cross_entropy(x[m & (t != 7)], t[m & (t != 7)]),
}


@pytest.mark.parametrize("name", SELECTED)
def test_a_class_number_behind_a_mask_counts_where_it_is_selected_alone(name: str) -> None:
    function = SELECTED[name]
    x, m = torch.randn(6, 4), torch.tensor([1, 1, 0, 1, 0, 1]).bool()
    t = torch.tensor([0, 3, 9, 2, -5, 1])
    leaf = x.clone().requires_grad_()
    wanted = function(leaf, t, m)
    (wanted_dx,) = torch.autograd.grad(wanted, leaf)
    grad = tritoncnn.compile_grad(function, wrt="x", example=(x, t, m))
    y, dx = grad(x, t, m)
    torch.testing.assert_close(y, wanted.detach())
    torch.testing.assert_close(dx, wanted_dx)
    for wrong in (4, -1):
        t[3] = wrong
        with pytest.raises((IndexError, RuntimeError)):
            function(x, t, m)
        with pytest.raises(OutOfRangeError, match=rf"input t must hold numbers from 0 to 3.*; got {wrong}"):
            grad(x, t, m)


def test_the_error_is_caught_as_torchs_and_as_ours() -> None:
    assert issubclass(OutOfRangeError, IndexError)
    assert issubclass(OutOfRangeError, InputError)


def test_gradients_nested_inputs_and_saved_models_are_checked_too(tmp_path: Path) -> None:
    x, i = torch.randn(5, 4), torch.tensor([0, 3, 2])
    net = Call(OPS["embedding"][0]).eval()
    grad = tritoncnn.compile_grad(lambda x, i: F.cross_entropy(x[:3], i), wrt="x", example=(x, i))
    step = tritoncnn.compile_step(
        nets=net, losses=lambda net, batch: net.function(net.rows, batch["x"], batch["i"]["rows"]).sum(),
        example={"x": x, "i": {"rows": i}}, updates=[Update(by=SGD(0.1))],
    )  # fmt: skip
    model = tritoncnn.compile(net, (x, i))
    model.save(tmp_path / "net.safetensors")
    wrong = torch.tensor([0, 7, 2])
    for call, name in (
        (lambda: grad(x, wrong), "i"), (lambda: step({"x": x, "i": {"rows": wrong}}), "batch_i_rows"),
        (lambda: tritoncnn.load(tmp_path / "net.safetensors")(x, wrong), "i"),
    ):  # fmt: skip
        with pytest.raises(OutOfRangeError, match=f"input {name} must hold numbers from 0 to .*; got 7"):
            call()


def test_places_that_are_computed_from_floats_become_nan() -> None:
    net, x = Call(lambda rows, x, i: rows((x[:3, 0] * 100).long().clamp(min=6))).eval(), torch.rand(5, 4)
    assert tritoncnn.compile(net, (x, torch.zeros(3)))(x, torch.zeros(3)).isnan().all()


def test_take_along_a_dim_goes_round_and_round_as_in_torch() -> None:
    net, x, i = (
        Call(lambda rows, x, i: torch.take_along_dim(x[:, :3], i[:, None], 1)),
        torch.rand(7, 4),
        torch.arange(-4, 3),
    )
    model = tritoncnn.compile(net, (x, i))
    for given in (i, i + 5, i * 7):
        torch.testing.assert_close(model(x, given), net(x, given))


def test_an_empty_index_is_taken() -> None:
    net, x = Call(OPS["embedding"][0]).eval(), torch.rand(5, 4)
    assert tritoncnn.compile(net, (x, torch.zeros(0, dtype=torch.int64)))(
        x, torch.zeros(0, dtype=torch.int64)
    ).shape == (0, 4)


class Rows(nn.Module):
    """Rows of a table that bytes name, or truth values; or those behind them."""

    def __init__(self, rows: int, behind: int) -> None:
        super().__init__()
        self.table, self.behind = nn.Embedding(rows, 2), behind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = x[:, 1:].long()
        return self.table(places + self.behind if self.behind else places)


@pytest.mark.parametrize(
    ("dtype", "rows", "behind", "looked"),
    [(torch.uint8, 256, 0, False), (torch.uint8, 300, 0, False), (torch.uint8, 255, 0, True), (torch.uint8, 256, 1, True),
     (torch.bool, 2, 0, False), (torch.bool, 1, 0, True), (torch.int64, 256, 0, True)],
)  # fmt: skip
def test_what_a_dtype_rules_out_is_not_looked_for(dtype: torch.dtype, rows: int, behind: int, looked: bool) -> None:
    x = torch.zeros(2, 3, dtype=dtype)
    rows_of = Rows(rows, behind)
    model = tritoncnn.compile(rows_of, x)
    with Computing() as mode:
        model(x)
        assert bool(mode.seen) == looked
    worst = torch.full_like(x, 1 if dtype is torch.bool else 255 if dtype is torch.uint8 else 256)
    if looked:
        with pytest.raises(OutOfRangeError, match="got 1" if dtype is torch.bool else "got 25"):
            model(worst)
    else:
        torch.testing.assert_close(model(worst), rows_of(worst).detach())
