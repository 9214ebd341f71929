"""What callers do to inputs, modules and results around a compile: aliases, other orders, parts replaced, hidden tensors."""

from __future__ import annotations

import copy
import pickle
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tritoncnn
from tests.applied import Applied
from tests.compiler.small_net import CLOSE, Net, X, Y, new_net
from tritoncnn import SGD, Update
from tritoncnn.errors import InputError, TritonCNNError, UnsupportedError


class Weighed(nn.Module):
    """a w - 2 b."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.linspace(1, 2, 5))

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a * self.w - 2 * b


class Batch:
    """No dataclass."""

    def __init__(self, x: torch.Tensor) -> None:
        self.x = [x]


class Slots:
    __slots__ = ("x",)

    def __init__(self, x: torch.Tensor) -> None:
        self.x = x


OTHER = X.flip(0) + 1


def test_gradients_of_one_tensor_given_twice_are_two() -> None:
    gradient = tritoncnn.compile_grad(lambda a, b: (a * b * b).sum(), wrt=("a", "b"), example=(X, X))
    for a, b in ((X, X), (X, OTHER), (OTHER, X)):
        _, (da, db) = gradient(a, b)
        torch.testing.assert_close(da, b * b, **CLOSE)
        torch.testing.assert_close(db, 2 * a * b, **CLOSE)


def test_entries_of_a_dict_come_in_any_order() -> None:
    class Named(nn.Module):
        def forward(self, batch: dict[str, Any]) -> torch.Tensor:
            a: torch.Tensor = batch["a"] - 2 * batch["rest"]["b"]
            return a

    model = tritoncnn.compile(Named(), ({"a": X, "rest": {"b": OTHER, "k": 1}},))
    for batch in ({"rest": {"k": 1, "b": OTHER}, "a": X}, {"a": X, "rest": {"b": OTHER, "k": 1}}):
        assert torch.equal(model(batch), X - 2 * OTHER)
    with pytest.raises(InputError, match="must have b, k, as in the example; got b, c"):
        model({"a": X, "rest": {"b": OTHER, "c": 1}})


HIDDEN: list[tuple[str, Callable[[torch.Tensor], Any], str]] = [
    ("an object", Batch, "a Batch, which holds tensors"),
    ("an object in a list", lambda x: [Batch(x)], "a Batch, which holds tensors"),
    ("an object with slots", Slots, "a Slots, which holds tensors"),
    ("a set", lambda x: {x}, "a set, which holds tensors"),
    ("a queue", lambda x: deque([x]), "a deque, which holds tensors"),
    ("an iterator", lambda x: iter([x]), "a list_iterator, which can be read only once"),
    ("a generator", lambda x: (t for t in [x]), "a generator, which can be read only once"),
    ("a module", lambda x: new_net(), "a Net, which holds tensors"),
    (
        "a distribution",
        lambda x: torch.distributions.Normal(x, 1.0, validate_args=False),
        "a Normal, which holds tensors",
    ),
]
NUMBERS: list[tuple[str, Callable[[torch.Tensor], Any], str]] = [
    ("an item", lambda x: x.mean().item(), "a number that depends on data"),
    ("numbers", lambda x: {"all": x[0].tolist()}, "a number that depends on data"),
]


@pytest.mark.parametrize(("make", "message"), [c[1:] for c in HIDDEN + NUMBERS], ids=[c[0] for c in HIDDEN + NUMBERS])
def test_tensors_hidden_in_a_result_are_refused(make: Callable[[torch.Tensor], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tritoncnn.compile(Applied(make), X)


@pytest.mark.parametrize(("make", "message"), [c[1:] for c in HIDDEN], ids=[c[0] for c in HIDDEN])
def test_tensors_hidden_in_an_input_are_refused(make: Callable[[torch.Tensor], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tritoncnn.compile(Weighed(), (X, make(X)))


def _replace(net: Net) -> None:
    net.head = nn.Linear(4, 3)


def _grow(net: Net) -> None:
    net.head = nn.Linear(4, 7)


def _remove(net: Net) -> None:
    del net.head


def _add(net: Net) -> None:
    net.add_module("more", nn.Linear(1, 1))


@pytest.mark.parametrize("change", [_replace, _grow, _remove, _add])
def test_other_parts_than_were_compiled_are_refused(change: Callable[[Net], None]) -> None:
    net = new_net()
    calls = [
        tritoncnn.compile(net, X),
        tritoncnn.compile_grad(net, wrt="head.weight", example=(X,)),
        tritoncnn.compile_step(net, F.cross_entropy, SGD(0.1), (X, Y)),
    ]
    change(net)
    for call in calls:
        with pytest.raises(InputError, match="the parts of Net are not those that were compiled: compile it again"):
            call(*((X, Y) if call is calls[2] else (X,)))


def test_a_parameter_frozen_after_the_step_was_compiled_is_told() -> None:
    net = new_net()
    step = tritoncnn.compile_step(net, F.cross_entropy, SGD(0.1), (X, Y))
    net.body.requires_grad_(False)
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(
        InputError, match=r"parameter body.weight was frozen \(requires_grad=False\) after compile_step"
    ):
        step(X, Y)
    assert all(torch.equal(before[name], t) for name, t in net.state_dict().items())
    net.body.requires_grad_(True)
    step(X, Y)


def test_what_is_compiled_in_inference_mode_serves_outside() -> None:
    net, other = new_net(), new_net()
    with torch.inference_mode():
        x = X * 1.0  # such a tensor cannot be saved for backward
        step = tritoncnn.compile_step(net, F.cross_entropy, SGD(0.1), (x, Y))
        step(x, Y)
        gradient = tritoncnn.compile_grad(net, wrt="x", example=(x,))
        model = tritoncnn.compile(net, x)
    F.cross_entropy(other(X), Y).backward()
    torch.optim.SGD(other.parameters(), 0.1).step()
    F.cross_entropy(net(X), Y).backward()  # its parameters are no inference tensors
    torch.testing.assert_close(net.head.weight, other.head.weight, **CLOSE)
    result, _ = gradient(x, cotangent=torch.ones(6, 3))
    torch.testing.assert_close(result, model(X), **CLOSE)


def test_what_is_made_in_inference_mode_draws_and_changes_outside(tmp_path: Path) -> None:
    file = str(tmp_path / "net.safetensors")
    tritoncnn.compile(new_net(), X).save(file)
    noise = nn.Dropout(0.5).train()
    with torch.inference_mode():
        loaded = tritoncnn.load(file)
        copied = pickle.loads(pickle.dumps(loaded))
        drawing = tritoncnn.compile(noise, X)
        gradient = tritoncnn.compile_grad(lambda x: noise(x).sum(), wrt="x", example=(X,))
    assert not torch.equal(drawing(X), drawing(X))
    assert not torch.equal(gradient(X)[1], gradient(X)[1])
    for model in (loaded, copied):
        model.load_state_dict({name: t + 1 for name, t in new_net().state_dict().items()})
        torch.testing.assert_close(model(X), plus_1(new_net())(X).detach(), **CLOSE)


def plus_1(net: nn.Module) -> nn.Module:
    net.load_state_dict({name: t + 1 for name, t in net.state_dict().items()})
    return net


def test_modules_made_in_inference_mode_are_refused() -> None:
    """torch counts no changes of their tensors, so nobody would know when what follows from them is old."""
    with torch.inference_mode():
        net = new_net()
        for make in (
            lambda: tritoncnn.compile(net, X),
            lambda: tritoncnn.compile_step(net, F.cross_entropy, SGD(0.1), (X, Y)),
            lambda: tritoncnn.compile_grad(net, wrt="x", example=(X,)),
        ):
            with pytest.raises(UnsupportedError, match="body.weight was made under torch.inference_mode, "):
                make()


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, pickle.dumps])
def test_copies_of_a_gradient_are_refused(copied: Callable[[Any], Any]) -> None:
    gradient = tritoncnn.compile_grad(lambda x: (x * x).sum(), example=(X,))
    with pytest.raises(InputError, match="a compiled gradient cannot be pickled or deep-copied"):
        copied(gradient)


def test_constants_of_a_dtype_that_there_is_not_are_told_by_their_line() -> None:
    double = torch.ones(5, dtype=torch.float64)
    for make in (
        lambda x: x * double,
        lambda x: x + torch.stack([double, double * 2]).sum(0),
        lambda x: torch.cat([x[0], double]),
    ):
        with pytest.raises(TritonCNNError, match="constant .* must be f32 or .* it is f64"):
            tritoncnn.compile(Applied(make), X)


def test_calls_go_on_while_another_thread_compiles_the_same_modules() -> None:
    """A capture puts tensors without content into the modules that it traces, and into parts that others have compiled."""
    net = new_net()
    whole, part = tritoncnn.compile(net, X), tritoncnn.compile(net.body, X)
    step = tritoncnn.compile_step(
        nets={"body": net.body},
        losses=lambda nets, x: nets.body(x).square().mean(),
        example=(X,),
        updates=[Update(by=SGD(0.0))],
    )
    wanted, over, wrong = [(call, call(X)) for call in (whole, part, step)], Event(), []

    def use(call: Callable[[torch.Tensor], torch.Tensor], want: torch.Tensor) -> None:
        while not over.is_set():
            try:
                assert torch.equal(call(X), want)
            except Exception as error:
                wrong.append(error)
                return

    threads = [Thread(target=use, args=pair) for pair in wanted]
    for thread in threads:
        thread.start()
    for _ in range(5):
        tritoncnn.compile(net, X)
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[0]
