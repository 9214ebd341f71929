"""What a traced call does beside computing, which a plan would drop: honoured, or refused by name."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tritoncnn
from tritoncnn import SGD
from tritoncnn.capture import capture
from tritoncnn.errors import UnsupportedError

X = torch.linspace(-1, 1, 12).reshape(2, 6)
Forward = Callable[[Any, torch.Tensor], torch.Tensor]


class Turn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> torch.Tensor:
        return -dy


TURN = Turn.apply  # taken before anything is traced


class Thing:
    count = 0


class Net(nn.Module):
    """``function(self, x)``, with a linear layer and things that are no state."""

    def __init__(self, function: Forward) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.line, self.function = nn.Linear(6, 6), function
        self.register_buffer("none", None)
        self.register_buffer("row", torch.zeros(6))
        self.register_buffer("one", torch.zeros(6))
        self.register_buffer("same", self.one)
        self.list: list[Any] = []
        self.dict: dict[str, torch.Tensor] = {}
        self.thing, self.word, self.maybe, self.tuple = Thing(), "a", None, ()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self, x)


def then(change: Callable[[Any, torch.Tensor], object]) -> Forward:
    """tanh of the layer, once ``change(net, y)`` has been done to its result y."""

    def forward(net: Net, x: torch.Tensor) -> torch.Tensor:
        y = net.line(x)
        change(net, y)
        return y.tanh()

    return forward


OWN = torch.Generator()


def _saved_hooks(net: Net, x: torch.Tensor) -> torch.Tensor:
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t * 2, lambda t: t):
        return net.line(x).tanh()


def _inference_mode(net: Net, x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        y = net.line(x)
    return y + net.line(x)


def _kept_tensor(net: Net, x: torch.Tensor) -> torch.Tensor:
    y = net.line(x)
    y = y + net.dict["y"] if "y" in net.dict else y
    net.dict["y"] = y
    return y


def _grown(net: Net, x: torch.Tensor) -> torch.Tensor:
    net.list.append(1)
    return net.line(x) * len(net.list)


def _counted(net: Net, x: torch.Tensor) -> torch.Tensor:
    net.thing.count += 1
    return net.line(x) * net.thing.count


def _other_word(net: Net, x: torch.Tensor) -> torch.Tensor:
    y = net.line(x) * (2 if net.word == "a" else 3)
    net.word = "b"
    return y


def _no_longer_none(net: Net, x: torch.Tensor) -> torch.Tensor:
    net.maybe = 1 if net.maybe is None else 2
    return net.line(x) * net.maybe


def _longer(net: Net, x: torch.Tensor) -> torch.Tensor:
    net.tuple = (*net.tuple, 1)
    return net.line(x) * len(net.tuple)


def _default(net: Net, x: torch.Tensor, seen: list[int] = []) -> torch.Tensor:  # noqa: B006  the mistake in question
    seen.append(1)
    return net.line(x) * len(seen)


def caught(read: Callable[[torch.Tensor], float]) -> Forward:
    """What the layer gives, times a number that is read out of it; times 3 where that raises, as it does in no real call."""

    def forward(net: Net, x: torch.Tensor) -> torch.Tensor:
        try:
            return net.line(x) * read(x)
        except Exception:  # whatever is raised
            return net.line(x) * 3

    return forward


def _caught_view(net: Net, x: torch.Tensor) -> torch.Tensor:
    """An exception that a real call raises, too."""
    try:
        return net.line(x).view(5)
    except RuntimeError:
        return net.line(x) * 2


GRADIENTS: dict[str, tuple[Forward, str]] = {
    "apply, taken before": (lambda net, x: TURN(net.line(x)), "the gradient of the autograd.Function Turn"),
    "hooks on saved tensors": (_saved_hooks, "saved_tensors_hooks"),
    "a hook of a node": (then(lambda net, y: y.grad_fn.register_hook(lambda *_: None)), r"grad_fn\.register_hook"),
    "a hook before a node": (then(lambda net, y: y.grad_fn.register_prehook(lambda *_: None)), r"grad_fn\.register_prehook"),
    "a parameter is frozen": (then(lambda net, y: net.line.bias.requires_grad_(False)), "requires_grad = False in forward"),
    "a parameter is set": (then(lambda net, y: setattr(net.line.bias, "requires_grad", False)), "requires_grad = False in"),
    "inference mode": (_inference_mode, "torch.inference_mode inside what is differentiated"),
    "a buffer is a parameter": (
        then(lambda net, y: setattr(net, "row", net.line.weight.detach()[0])), "self.row = a parameter in Net, with which"),
    "a change through data": (then(lambda net, y: y.data.mul_(2)), "mul_ changes, through detach or .data"),
    "a change through detach": (then(lambda net, y: y.detach()[:, 1:].zero_()), "zero_ changes, through detach or .data"),
}  # fmt: skip
ALWAYS: dict[str, tuple[Forward, str]] = {
    "a seed is set": (then(lambda net, y: torch.manual_seed(0)), "torch.manual_seed in forward: random numbers"),
    "the generator's state is set": (
        then(lambda net, y: torch.random.set_rng_state(torch.get_rng_state())), "torch.set_rng_state in forward"),
    "numbers of a generator": (lambda net, x: net.line(x) + torch.rand(6, generator=OWN), "rand by a generator of its own"),
    "choices of a generator": (
        lambda net, x: net.line(x) * torch.bernoulli(x.sigmoid(), generator=OWN), "bernoulli by a generator of its own"),
    "choices among some by a generator": (
        lambda net, x: net.line(x) * torch.multinomial(x.sigmoid(), 1, generator=OWN), "multinomial by a generator of its own"),
    "places by a generator": (lambda net, x: net.line(x) + torch.randint(0, 2, (6,), generator=OWN), "randint by a generator"),
    "numbers of a generator, in place": (
        lambda net, x: net.line(x) + torch.empty(6).normal_(generator=OWN), "random numbers by a generator of its own"),
    "an assertion": (then(lambda net, y: torch._assert_async((y < 9).all())), "an assertion about numbers of tensors"),
    "a caught question": (caught(lambda x: 1 if x.sum() > 0 else 2), r"__bool__\(\) of a tensor, which fails while it is traced"),
    "a caught number": (caught(lambda x: int(x.abs().max())), r"__int__\(\) of a tensor, which fails while it is traced"),
    "a caught array": (caught(lambda x: float(x.detach().numpy().max())), r"numpy\(\) of a tensor, which fails while"),
    "a caught text": (caught(lambda x: len(f"{x.detach().sum():.2f}")), r"__format__\(\) of a tensor, which fails while"),
    "a caught size": (caught(lambda x: 1.0 / float(x[x > 0].numel())), r"the size of a selection x\[mask\], which data decide"),
    "a number is read": (lambda net, x: net.line(x) * x.max().item(), r"item\(\), a number that depends on data"),
    "data are set": (then(lambda net, y: setattr(net.line.weight, "data", torch.ones(6, 6))), "an assignment to .data"),
    "a parameter is put": (then(lambda net, y: setattr(net, "line2", nn.Parameter(y))), "self.line2 = ... in the forward"),
    "a buffer that was None": (then(lambda net, y: setattr(net, "none", y)), "self.none = ... in the forward"),
    "a buffer that was None, in the dict": (
        then(lambda net, y: net._buffers.update(none=y)), "self.none = ..., where the buffer is None"),
    "a buffer of two names": (
        then(lambda net, y: setattr(net, "same", net.one + 1)), r"self.same = ... in Net, where the buffer has another name"),
    "a buffer is None": (
        then(lambda net, y: setattr(net, "row", None)), r"self.row = None in Net, where the buffer is torch.float32 \[6\]"),
    "Python's random numbers": (lambda net, x: net.line(x) * random.random(), "random numbers of Python or NumPy"),
    "NumPy's random numbers": (lambda net, x: net.line(x) * float(np.random.rand()), "random numbers of Python or NumPy"),
    "a tensor in a dict": (_kept_tensor, "keeps outside of parameters and buffers, a tensor"),
    "a list": (_grown, "would do something else in the next call"),
    "an object": (_counted, "would do something else in the next call"),
    "a word": (_other_word, "would do something else in the next call"),
    "None": (_no_longer_none, "self.maybe = ..."),
    "a tuple": (_longer, "would do something else in the next call"),
    "a default": (_default, "would do something else in the next call"),
}  # fmt: skip


@pytest.mark.parametrize("name", ALWAYS | GRADIENTS)
def test_what_a_plan_would_drop_is_refused_by_name(name: str) -> None:
    function, words = (ALWAYS | GRADIENTS)[name]
    for gradients in (True,) if name in GRADIENTS else (False, True):
        net = Net(function)
        with pytest.raises(UnsupportedError, match=words):
            capture({"net": net}, lambda x, net=net: net(x).sum(), (X,), ("x",), title="Net", gradients=gradients)


KEPT = ("a tensor in a dict", "a list", "an object", "a word", "a tuple", "a default")


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_is_refused_in_a_call_that_is_not_plain(name: str) -> None:
    function, words = ALWAYS[name]

    def forward(net: Net, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            scale = net.line.weight.abs().max()
        return function(net, x) / scale

    net = Net(forward)
    with pytest.raises(UnsupportedError, match=words):
        capture({"net": net}, lambda x: net(x).sum(), (X,), ("x",), title="Net", gradients=True)
    assert (net.list, net.dict, net.word, net.tuple) == ([], {}, "a", ())


def _memo(net: Net, x: torch.Tensor) -> torch.Tensor:
    """A constant made in the first call, and kept."""
    if "grid" not in net.dict:
        net.dict["grid"] = torch.arange(6.0)
    return net.line(x) * net.dict["grid"]


def _detached_in_place(net: Net, x: torch.Tensor) -> torch.Tensor:
    y = net.line(x)
    y.detach_()
    return y * net.line.bias


def _memo_beside_no_grad(net: Net, x: torch.Tensor) -> torch.Tensor:
    """Not plain, and with something kept that no call depends on."""
    with torch.no_grad():
        scale = net.line.weight.abs().max()
    net.list.append(scale)
    return _memo(net, x) / scale


def _twice_by_autocast(net: Net, x: torch.Tensor) -> torch.Tensor:
    """torch keeps the casts of parameters, for the second block too where there is an outer one."""
    with torch.autocast("cpu", torch.bfloat16, enabled=False):
        y = net.line(x)
    with torch.autocast("cpu", torch.bfloat16):
        z = net.line(x).detach()
    with torch.autocast("cpu", torch.bfloat16):
        return y + (net.line(x) - z).float()


INSTANCE = torch.autocast("cpu", torch.bfloat16)  # kept from call to call, as that of a decorated forward is


def _decorated(net: Net, x: torch.Tensor) -> torch.Tensor:
    y = net.line(x)
    with INSTANCE:
        z = net.line(x).detach()
    with INSTANCE:
        return y + (net.line(x) - z).float()


def _marked(net: Net, x: torch.Tensor) -> torch.Tensor:
    with torch.profiler.record_function("line"):
        y = net.line(x)
    with torch.no_grad(), torch.autograd.profiler.record_function("norm"):
        scale = net.line.weight.abs().max()
    return y / scale


def _no_generator(net: Net, x: torch.Tensor) -> torch.Tensor:
    """Random numbers that are the same ones each time."""
    ones = torch.rand(6, generator=None) < 2
    zeros = torch.randint(0, 1, (6,), generator=None) + torch.randperm(1, generator=None)
    return net.line(x) * ones + zeros + torch.randn(6, generator=None).abs().lt(0)


RIGHT: dict[str, Forward] = {
    "a caught exception that is the call's own": _caught_view,
    "an autocast that is kept": _decorated,
    "marks for the profiler": _marked,
    "a generator that is None": _no_generator,
    "a layer in two blocks of autocast": _twice_by_autocast,
    "a constant that is kept, in a call that is not plain": _memo_beside_no_grad,
    "detach_": _detached_in_place,
    "detach_, in a call that is not plain": lambda net, x: _detached_in_place(net, x[:, torch.tensor([0, 1, 2, 3, 4, 5])]),
    "data": lambda net, x: net.line(x) * net.line.weight.data.sum(),
    "grad_fn is asked for": lambda net, x: net.line(x) * (2.0 if net.line(x).grad_fn is None else 3.0),
    "a constant that is kept": _memo,
    "what was detached is changed, and not read otherwise": lambda net, x: net.line(x).detach().mul_(2) + net.line(x),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_what_can_be_honoured_is_torchs(name: str) -> None:
    ours, theirs = Net(RIGHT[name]), Net(RIGHT[name])
    step = tritoncnn.compile_step(ours, lambda y: y.square().mean(), SGD(0.1), (X,))
    optimizer = torch.optim.SGD(theirs.parameters(), 0.1)
    for _ in range(2):
        step(X)
        optimizer.zero_grad()
        theirs(X).square().mean().backward()
        optimizer.step()
    # Two steps of sums of 12 products: some ten roundings of numbers up to 3.
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=2 * 12 * 3 * 2**-24)
