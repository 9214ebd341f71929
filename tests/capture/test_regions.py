"""Blocks inside models that change what torch does: no_grad, detach, autocast, checkpoint. Losses and gradients against torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from tritoncnn.autodiff import differentiate
from tritoncnn.capture import capture_loss, capture_module
from tritoncnn.errors import UnsupportedError
from tritoncnn.ops.evaluate import evaluate


class Net(nn.Module):
    """``function(self, x)``, where self has a linear layer, a convolution, and a buffer."""

    def __init__(self, function: Callable[[Net, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.line, self.conv = nn.Linear(4, 4), nn.Conv1d(3, 3, 1)
        self.register_buffer("kept", torch.ones(4))
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self, x)


def no_grad(net: Net, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        y = net.line(x) * 2
        z = y + net.conv(x)
    return net.line(x) * y + z


def no_grad_and_in_place(net: Net, x: torch.Tensor) -> torch.Tensor:
    """A change in place sends the whole graph through torch's functional form."""
    with torch.no_grad():
        y = net.line(x)
    return F.relu_((net.line(x) * y).add_(1))


def in_place_inside(net: Net, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        y = net.line(x)
        y[:, 0] = 3
        y.mul_(2)
    return net.conv(x) * y


def nested(net: Net, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        y = net.line(x)
        with torch.enable_grad():
            z = net.conv(x) * y
        w = z * 2
    return z + w + net.line(x)


@torch.no_grad()
def frozen(net: Net, x: torch.Tensor) -> torch.Tensor:
    return net.line(x)


def moving_average(net: Net, x: torch.Tensor) -> torch.Tensor:
    y = net.line(x)
    with torch.no_grad():
        net.kept.mul_(0.9).add_(y.mean((0, 1)), alpha=0.1)
    return y * net.kept + y


def straight_through(net: Net, x: torch.Tensor) -> torch.Tensor:
    y = net.line(x)
    return y + (y.round() - y).detach()


def detach_and_in_place(net: Net, x: torch.Tensor) -> torch.Tensor:
    y = net.line(x)
    return F.relu_(y * y.detach() + net.conv(x).detach())


def checkpointed(net: Net, x: torch.Tensor) -> torch.Tensor:
    return checkpoint(lambda a: net.line(a).tanh(), net.conv(x), use_reentrant=False)  # type: ignore[no-any-return]


REGIONS = (no_grad, no_grad_and_in_place, in_place_inside, nested, lambda net, x: frozen(net, x) * net.conv(x),
           moving_average, straight_through, detach_and_in_place, checkpointed)  # fmt: skip


def loss(y: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (y * target).sum()


def gradients(function: Any, dtype: torch.dtype = torch.float64) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """(loss and gradients of our graph in fp64, torch's in ``dtype``)."""
    torch.manual_seed(1)
    x, target = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    captured = capture_loss(Net(function), loss, (x,), target)
    names = list(captured.parameters)
    graph = differentiate(captured.graph, tuple(captured.graph.input(name) for name in names))
    net = Net(function)
    inputs = {"x": x, "target": target, **captured.constants} | dict(net.state_dict())
    found = evaluate(graph, {name: tensor.detach().double().clone() for name, tensor in inputs.items()})
    net, x, target = net.to(dtype), x.to(dtype), target.to(dtype)
    value = loss(net(x), target)
    parameters = dict(net.named_parameters())
    wanted = torch.autograd.grad(value, [parameters[name] for name in names], allow_unused=True, materialize_grads=True)
    theirs = [tensor.detach().double() for tensor in (value, *wanted)]
    return [found[0], *found[len(found) - len(names) :]], theirs


@pytest.mark.parametrize("function", REGIONS)
def test_gradients_stop_where_torch_stops_them(function: Any) -> None:
    for ours, theirs in zip(*gradients(function), strict=True):
        torch.testing.assert_close(ours, theirs)


def autocast(net: Net, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        y = net.conv(net.line(x))  # both in bf16
        assert y.dtype == torch.bfloat16
        z = F.mse_loss(y, x) + y.exp().float().mean()  # losses in f32
        assert z.dtype == torch.float32
        w = torch.cat([y, x])  # the wider of the two
        assert w.dtype == torch.float32
        with torch.autocast("cpu", enabled=False):
            v = net.line(x)
    return v + y + z + w[:2]


def autocast_and_in_place(net: Net, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            y = net.line(x).mul_(2)
        z = net.conv(x)
    return F.relu_(net.line(x)) * y.float() + z


def autocast_then_no_grad(net: Net, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        y = net.line(x)
    with torch.no_grad():
        z = net.line(x)
    return net.conv(x) * y + z


@pytest.mark.parametrize("function", [autocast, autocast_and_in_place, autocast_then_no_grad])
def test_autocast_regions_round_where_torch_does(function: Any) -> None:
    """16 units of bf16: torch rounds each result, ours stays in fp64."""
    for ours, theirs in zip(*gradients(function, torch.float32), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=16 * 2**-8, atol=16 * 2**-8 * float(theirs.abs().max()))


def test_casts_of_an_autocast_region_stand_in_the_graph() -> None:
    graph = capture_module(Net(autocast), (torch.randn(2, 3, 4),)).graph
    assert {"cast_bf16", "cast_f32"} <= {node.op for node in graph.nodes}


def test_a_change_in_place_under_no_grad_of_what_has_a_gradient_is_refused() -> None:
    def wrong(net: Net, x: torch.Tensor) -> torch.Tensor:
        y = net.line(x)
        with torch.no_grad():
            y.mul_(2)
        return y

    with pytest.raises(UnsupportedError, match="mul_ changes, inside torch.no_grad, a tensor that has a gradient"):
        capture_loss(Net(wrong), loss, (torch.randn(2, 3, 4),), torch.randn(2, 3, 4))


@pytest.mark.parametrize("inner", [frozen, lambda net, x: no_grad(net, x)])
def test_no_grad_inside_autocast_is_refused_where_gradients_matter(inner: Any) -> None:
    def wrong(net: Net, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return inner(net, x) + net.line(x)  # type: ignore[no-any-return]

    with pytest.raises(UnsupportedError, match=r"torch.no_grad inside torch.autocast: .*put autocast inside no_grad"):
        capture_loss(Net(wrong), loss, (torch.randn(2, 3, 4),), torch.randn(2, 3, 4))
    assert capture_module(Net(wrong), (torch.randn(2, 3, 4),)).graph.nodes


@pytest.mark.parametrize(
    "flow", [lambda y: torch.cond(y.sum() > 0, lambda a: a * 2, lambda a: a + 1, (y,)),
             lambda y: torch.while_loop(lambda a: a.sum() < 3, lambda a: (a + 1,), (y,))[0]]
)  # fmt: skip
def test_control_flow_is_refused_by_name(flow: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"control flow inside the model|cannot be captured"):
        capture_module(Net(lambda net, x: flow(net.line(x))), (torch.randn(2, 3, 4),))
