"""Gradients without an update, against torch's autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tritoncnn
from tritoncnn.errors import InputError, ShapeError, UnsupportedError

CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-6}


def new_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)).eval()


torch.manual_seed(0)
X, Y = torch.randn(2, 2, 4, 4), torch.tensor([0, 2])


def test_the_gradient_of_a_picture_is_torchs() -> None:
    net = new_net()

    def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(net(x), y)

    grad = tritoncnn.compile_grad(loss, wrt="x", example=(X, Y))
    x = X.clone().requires_grad_()
    wanted = loss(x, Y)
    (dx,) = torch.autograd.grad(wanted, x)
    value, got = grad(X, Y)
    torch.testing.assert_close(value, wanted.detach(), **CLOSE)
    torch.testing.assert_close(got, dx, **CLOSE)
    with torch.no_grad():
        net[3].bias.add_(1.0)
    torch.testing.assert_close(grad(X, Y)[0], loss(X, Y).detach(), **CLOSE)
    value, got = grad(X[:1], Y[:1])
    assert got.shape == (1, 2, 4, 4)


def test_parameters_and_inputs_together_with_a_cotangent() -> None:
    net = new_net()
    grad = tritoncnn.compile_grad(net, wrt=("input", "3.weight"), example=(X,))
    x = X.clone().requires_grad_()
    y = net(x)
    v = torch.randn_like(y)
    wanted = torch.autograd.grad(y, (x, net[3].weight), v)
    value, got = grad(X, cotangent=v)
    torch.testing.assert_close(value, y.detach(), **CLOSE)
    for ours, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)
    with pytest.raises(InputError, match=r"the result is \[2, 3\]: cotangent must be a tensor"):
        grad(X)
    with pytest.raises(ShapeError, match=r"cotangent must be f32 \[2, 3\]; got torch.float32 \[2\]"):
        grad(X, cotangent=torch.ones(2))


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        y = self.layer(x)
        return {"y": y, "more": [y.exp(), (y.sum(), y.argmax(1))]}


@pytest.mark.parametrize("there", [(0,), (1,), (2,), (0, 2), (0, 1, 2)], ids=str)
def test_each_of_several_results_may_have_a_cotangent(there: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    net = Several()
    grad = tritoncnn.compile_grad(net, wrt=("x", "layer.weight"), example=(torch.randn(4, 3),))
    for rows in (4, 2):  # another size gets a plan of its own
        x = torch.randn(rows, 3, requires_grad=True)
        results = net(x)
        ys = [results["y"], results["more"][0], results["more"][1][0]]
        dys = [torch.randn_like(y) if i in there else None for i, y in enumerate(ys)]
        wanted = torch.autograd.grad([ys[i] for i in there], (x, net.layer.weight), [dys[i] for i in there])
        value, got = grad(x.detach(), cotangent={"more": [dys[1], (dys[2], None)], "y": dys[0]})
        torch.testing.assert_close(value["more"][0], ys[1].detach(), **CLOSE)
        for ours, theirs in zip(got, wanted, strict=True):
            torch.testing.assert_close(ours, theirs, **CLOSE)


def test_wrong_cotangents_of_several_results_are_told() -> None:
    x = torch.ones(4, 3)
    grad = tritoncnn.compile_grad(Several(), wrt="x", example=(x,))
    for wrong, words in (
        ([x], "cotangent must be a tensor, or made as the result is, .*; got list"),
        (2.0, "made as the result is, .*; got float"),
        ({"y": None, "more": [None, (None, None)]}, "cotangent must hold a tensor; got None alone"),
        ({"y": None, "more": [None, (None, torch.ones(4).long())]}, "a result of i64 has no gradient"),
        (
            {"y": 3, "more": [None, (None, None)]},
            r"the result is \[4, 2\]: cotangent must be a tensor of that shape; got 3",
        ),
    ):
        with pytest.raises(InputError, match=words):
            grad(x, cotangent=wrong)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_result_of_one_number_may_have_a_cotangent(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.tensor([1.0, -2.0, 0.5], dtype=dtype)

    def function(x: torch.Tensor) -> torch.Tensor:
        return (x * x * x).sum().reshape(shape)

    grad = tritoncnn.compile_grad(function, wrt="x", example=(x,))
    leaf = x.clone().requires_grad_()
    for dy in (None, torch.full(shape, 2.5, dtype=dtype), torch.full(shape, -1.0, dtype=dtype)):
        value, dx = grad(x, cotangent=dy)
        (wanted,) = torch.autograd.grad(function(leaf), leaf, dy)
        assert value.shape == shape
        torch.testing.assert_close(dx, wanted, rtol=1e-2 if dtype == torch.bfloat16 else 1e-6, atol=0)
    with pytest.raises(ShapeError, match="cotangent must be"):
        grad(x, cotangent=torch.ones(2, dtype=dtype))
    with pytest.raises(InputError, match="cotangent must be a tensor of that shape; got 2.0"):
        grad(x, cotangent=2.0)


def test_the_last_small_batch_takes_its_cotangent_as_all_others() -> None:
    net = nn.Linear(3, 1).eval()
    grad = tritoncnn.compile_grad(net, wrt="weight", example=(torch.randn(4, 3),))
    for size in (4, 2, 1):
        x, dy = torch.randn(size, 3), torch.randn(size, 1)
        _, dw = grad(x, cotangent=dy)
        torch.testing.assert_close(dw, dy.T @ x, **CLOSE)


def test_wrong_names_and_results_are_told() -> None:
    net = new_net()
    with pytest.raises(InputError, match="wrt must name inputs or parameters, .*; got 'z'"):
        tritoncnn.compile_grad(lambda x: net(x).sum(), wrt="z", example=(X,))
    with pytest.raises(InputError, match="y holds i64, which has no gradient"):
        tritoncnn.compile_grad(lambda x, y: F.cross_entropy(net(x), y), wrt="y", example=(X, Y))
    with pytest.raises(InputError, match="must return a tensor of floats first"):
        tritoncnn.compile_grad(lambda x: None, wrt="x", example=(X,))
    train = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)).train()
    with pytest.raises((InputError, UnsupportedError), match="would change"):
        tritoncnn.compile_grad(lambda x: train(x).sum(), wrt="x", example=(X,))


def test_a_gradient_that_all_pixels_share_is_added_up_once() -> None:
    """Behind a mean over pixels, each pixel of a batch norm has the same gradient; that of its bias is one number, rounded three
    times (as 1/324, as a product, as a sum), not 324 numbers, whose roundings would all go to one side."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(64, track_running_stats=False)
    x, weight = torch.randn(1, 64, 18, 18), torch.randn(1, 64)
    compute = tritoncnn.compile_grad(lambda x: (norm(x).mean((2, 3)) * weight).sum(), wrt="norm.bias", example=x)
    _, found = compute(x)
    assert bool(((found - weight[0]).double().abs() <= 3 * 2.0**-24 * weight[0].abs()).all())
