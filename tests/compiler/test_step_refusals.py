"""What a step refuses: code that no graph can hold, wrong inputs; nothing has changed then."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tritoncnn
from tests.compiler.small_net import Net, X, Y, follow, new_net, same_state
from tritoncnn import SGD, Adam, Update
from tritoncnn.errors import CheckpointError, DTypeError, InputError, ShapeError, TritonCNNError, UnsupportedError


class Flip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> torch.Tensor:
        return -dy


def _flips(net: Net, x: torch.Tensor) -> torch.Tensor:
    y: torch.Tensor = Flip.apply(net(x))  # type: ignore[no-untyped-call]
    return y


def _hooks(net: Net, x: torch.Tensor) -> torch.Tensor:
    y = net(x)
    y.register_hook(lambda dy: dy * 2)
    return y


def _keeps(net: Net, x: torch.Tensor) -> torch.Tensor:
    net.kept = x.mean(0)
    return net(x)


def _counts(net: Net, x: torch.Tensor) -> torch.Tensor:
    net.count = net.__dict__.get("count", 0) + 1
    net.count = net.count + 1
    return net(x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (_flips, r"the gradient of the autograd.Function Flip \(.*test_step_refusals.py:\d+\)"),
        (_hooks, r"Tensor.register_hook \(.*test_step_refusals.py:\d+\)"),
        (
            _keeps,
            r"self.kept = ... in the forward of Net: register_buffer\('kept', ...\) keeps it .*test_step_refusals.py:\d+",
        ),
        (_counts, r"self.count = ... in the forward of Net"),
    ],
    ids=["custom gradient", "hook", "kept tensor", "counter"],
)
def test_what_no_graph_can_hold_is_refused_by_name(call: Callable[..., torch.Tensor], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        tritoncnn.compile_step(
            nets=new_net(),
            losses=lambda net, x, y: F.cross_entropy(call(net, x), y),
            example=(X, Y),
            updates=[Update(by=SGD(0.1))],
        )


def test_hooks_that_parameters_and_modules_carry_are_refused() -> None:
    module = new_net()
    module.head.weight.register_hook(lambda g: g * 2)
    with pytest.raises(UnsupportedError, match="a gradient hook of the parameter weight of Linear"):
        tritoncnn.compile_step(module, F.cross_entropy, SGD(0.1), (X, Y))
    module = new_net()
    module.head.register_full_backward_hook(lambda *_: None)
    with pytest.raises(UnsupportedError, match="a backward hook of Linear"):
        tritoncnn.compile_step(module, F.cross_entropy, SGD(0.1), (X, Y))


NET = new_net()
compiled = functools.cache(lambda: tritoncnn.compile(new_net().eval(), X))


class Optional(nn.Module):
    def forward(self, x: torch.Tensor, *, scale: torch.Tensor | None = None) -> torch.Tensor:
        return x if scale is None else x * scale


def nested() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that nested tensors are a prototype
        return torch.nested.nested_tensor([X, X])


WRONG: list[tuple[str, Callable[[], Any], str]] = [
    ("no module", lambda: tritoncnn.compile(None, X), "module must be a torch.nn.Module; got a NoneType"),
    ("a function", lambda: tritoncnn.compile(F.relu, X), "got the function relu; wrap it in a module"),
    ("a class", lambda: tritoncnn.compile(Net, X), r"got the class Net; make one: Net\(\)"),
    ("no example", lambda: tritoncnn.compile_step(NET, F.cross_entropy, SGD(0.1), ()), "example must be a tuple"),
    ("torch's optimizer", lambda: tritoncnn.compile_step(NET, F.cross_entropy, torch.optim.SGD(NET.parameters(), 0.1), (X, Y)),
     "optimizer must be tritoncnn.SGD"),
    ("all frozen", lambda: tritoncnn.compile_step(new_net().requires_grad_(False), F.cross_entropy, SGD(0.1), (X, Y)),
     "all parameters are frozen .*there is nothing to train"),
    ("a frozen net", lambda: tritoncnn.compile_step(nets={"G": new_net().requires_grad_(False), "D": NET},
     losses=lambda n, x: n.D(n.G(x)[:, :1].expand(-1, 5)).sum(), example=(X,), updates=[Update(of="G", by=SGD(0.1))]),
     "all that is called 'G' is frozen .*there is nothing to train; parameters are G.body.weight"),
    ("no parameters", lambda: tritoncnn.compile_step(nn.ReLU(), F.cross_entropy, SGD(0.1), (X, Y)),
     "the losses read no parameter: there is nothing to train; parameters are none"),
    ("a loss of nothing", lambda: tritoncnn.compile_step(NET, lambda y, t: X.sum(), SGD(0.1), (X, Y)), "depends on none"),
    ("a loss of no parameter", lambda: tritoncnn.compile_step(NET, lambda y, t: y.detach().sum(), SGD(0.1), (X, Y)),
     "depends on none of the parameters"),
    ("no scalar", lambda: tritoncnn.compile_step(NET, lambda y, t: y, SGD(0.1), (X, Y)), "a tensor of one float; got a"),
    ("an unknown loss", lambda: tritoncnn.compile_step(nets=NET, losses=lambda n, x: {"a": n(x).sum()}, example=(X,),
     updates=[Update("b", by=SGD(0.1))]), "no loss is called 'b'; there are 'a'"),
    ("losses without the one that is meant", lambda: tritoncnn.compile_step(NET, lambda y, t: {"a": y.sum()}, SGD(0.1), (X, Y)),
     "a loss must be called 'loss' where no Update names one; there are 'a'"),
    ("no losses", lambda: tritoncnn.compile_step(NET, lambda y, t: {}, SGD(0.1), (X, Y)), "there is none"),
    ("a whole number as loss", lambda: tritoncnn.compile_step(NET, lambda y, t: t.sum(), SGD(0.1), (X, Y)), "got .* i64"),
    ("no size yet", lambda: tritoncnn.compile(nn.LazyLinear(3), X), "LazyLinear.weight has no size yet: call the module once"),
    ("sizes that data decide", lambda: tritoncnn.compile(nn.AdaptiveLogSoftmaxWithLoss(5, 9, [3]), (X, Y)), "depend on data"),
    ("a keyword that the example lacks", lambda: tritoncnn.compile(Optional(), X)(X, scale=Y),
     r"Optional was compiled without the inputs scale; compile it with an example that has them"),
    ("an unknown name in a state", lambda: compiled().load_state_dict({**compiled().state_dict(), "other": X}),
     "'other' is no parameter or buffer here"),
    ("no optimizer state", lambda: tritoncnn.compile_step(new_net(), F.cross_entropy, SGD(0.1), (X, Y)).load_optimizer_state(3),  # type: ignore[arg-type]
     "an optimizer state must map names to tensors; got int"),
    ("an unknown net", lambda: tritoncnn.compile_step(nets={"G": NET}, losses=lambda n, x: n.G(x).sum(), example=(X,),
     updates=[Update(of="H", by=SGD(0.1))]), "is called 'H'"),
    ("an option that only torch has", lambda: Adam(1e-3, fused=True),  # type: ignore[call-arg]
     "Adam: there is no option 'fused'; there are lr, betas, eps, weight_decay, amsgrad, clip_norm"),
    ("parameters for an optimizer", lambda: SGD(NET.parameters(), lr=0.1),  # type: ignore[misc,arg-type]
     "SGD: options are lr, momentum.* and no parameters: the step knows these; got multiple values for argument 'lr'"),
    ("too much dampening", lambda: SGD(momentum=0.9, dampening=1.5), r"SGD: dampening must lie in \[0, 1\]; got 1.5"),
    ("Nesterov's dampening", lambda: SGD(momentum=0.9, dampening=0.5, nesterov=True), "nesterov needs dampening 0; got 0.5"),
    ("a word for lr", lambda: SGD(lr="0.1"), "lr must be a finite number from 0; got '0.1'"),  # type: ignore[arg-type]
    ("one beta", lambda: Adam(betas=(0.9,)), "betas must be two numbers"),  # type: ignore[arg-type]
    ("a momentum above 1", lambda: SGD(momentum=1.5), r"momentum must lie in \[0, 1\); got 1.5"),
    ("an unknown option of a group", lambda: SGD(groups={"*": {"speed": 1}}), "group '\\*' may change lr, momentum"),
    ("a group that fits nothing", lambda: tritoncnn.compile_step(NET, F.cross_entropy, SGD(groups={"no.*": {"lr": 1.0}}), (X, Y)),
     "no trained parameter is called 'no.\\*'"),
    ("a word for a switch", lambda: SGD(momentum=0.9, nesterov="no"), "SGD: nesterov must be True or False; got 'no'"),  # type: ignore[arg-type]
    ("an array of numpy as example", lambda: tritoncnn.compile(new_net(), X.numpy()), "an array must be a tensor; got ndarray"),
    ("an array of numpy", lambda: compiled()(X.numpy()), r"got ndarray \[6, 5\]: use torch.as_tensor"),
    ("a nested tensor", lambda: compiled()(nested()), "a tensor must be dense; got a nested tensor; use .to_padded_tensor"),
    ("an input called x", lambda: compiled()(X.double()), "^input x must be torch.float32"),
    ("an input called input", lambda: tritoncnn.compile(nn.Tanh(), X)(X.double()), "^input must be torch.float32"),
    ("no state", lambda: compiled().load_state_dict(None), "a state dict must map names to tensors; got NoneType"),  # type: ignore[arg-type]
    ("no path to save", lambda: compiled().save(None), "path of a model's file must be text or a Path; got None"),  # type: ignore[arg-type]
    ("no path to load", lambda: tritoncnn.load(3), "path of a model's file must be text or a Path; got 3"),  # type: ignore[arg-type]
    ("one number for wrt", lambda: tritoncnn.compile_grad(torch.sum, wrt=0, example=(X,)),  # type: ignore[arg-type]
     "wrt must hold names of inputs or parameters; got 0"),
    ("a number for wrt", lambda: tritoncnn.compile_grad(torch.sum, wrt=(0,), example=(X,)),  # type: ignore[arg-type]
     "wrt must hold names of inputs or parameters; got 0"),
    ("a complex loss", lambda: tritoncnn.compile_step(NET, lambda y, t: y.sum() + 1j, SGD(0.1), (X, Y)), "the complex number 1j"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_wrong_inputs_are_told(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TritonCNNError, match=message):
        call()


def test_wrong_calls_change_nothing() -> None:
    module = new_net()
    step = tritoncnn.compile_step(module, F.cross_entropy, SGD(0.1), (X, Y))
    before = step.state_dict()
    for batch, kind in (
        ((X.double(), Y), DTypeError),
        ((X,), InputError),
        ((X, Y[:2]), ShapeError),
        ((X.to_sparse(), Y), InputError),
    ):
        with pytest.raises(kind):
            step(*batch)
    for state in ({}, {**before, "head.bias": None}, {**before, "head.bias": torch.zeros(3, device="meta")}):
        with pytest.raises(CheckpointError):
            step.load_state_dict(state)
    assert all(torch.equal(t, before[name]) for name, t in step.state_dict().items())


def test_a_refused_batch_leaves_the_rate_that_was_set_for_the_next_step() -> None:
    ours, theirs = new_net(), new_net()
    step = tritoncnn.compile_step(ours, F.cross_entropy, SGD(0.1), (X, Y))
    step.lr = 0.5
    with pytest.raises(InputError):
        step(torch.randn(6, 7), Y)  # the net takes 5 numbers
    step(X, Y)
    follow(theirs, lambda: F.cross_entropy(theirs(X), Y), torch.optim.SGD(theirs.parameters(), 0.5), steps=1)
    same_state(ours, theirs)


@pytest.mark.parametrize("kind", ["a parameter", "a view", "turned", "a buffer"])
def test_a_trained_parameter_in_the_memory_of_another_one_is_refused(kind: str) -> None:
    """torch changes both by one update; a step moves what it trains."""
    net, weight = nn.Linear(4, 4), torch.randn(4, 4)
    net.weight = nn.Parameter(weight)
    if kind == "a buffer":
        net.register_buffer("other", weight)
    else:
        net.other = nn.Parameter({"a view": weight[1:3], "turned": weight.T}.get(kind, weight))
    before = net.weight.data_ptr()
    with pytest.raises(InputError, match=r"(weight and other|other and weight) lie in the same memory, and a trained"):
        tritoncnn.compile_step(net, lambda y: (y @ net.other.mT).sum(), SGD(0.1), (torch.randn(2, 4),))
    assert net.weight.data_ptr() == before


def test_parameters_that_lie_side_by_side_in_one_memory_are_trained() -> None:
    wanted, net = nn.Linear(4, 4), nn.Linear(4, 4)
    flat = torch.randn(20)
    for one in (wanted, net):
        torch.nn.utils.vector_to_parameters(flat.clone(), one.parameters())
    x = torch.randn(3, 4)
    step = tritoncnn.compile_step(net, lambda y: y.square().mean(), SGD(0.1), (x,))
    optimizer = torch.optim.SGD(wanted.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        wanted(x).square().mean().backward()
        optimizer.step()
        step(x)
    torch.testing.assert_close(net.state_dict(), wanted.state_dict())


def test_a_trained_parameter_that_other_processes_share_is_refused() -> None:
    """They would go on reading the memory that it is moved from."""
    net = new_net().share_memory()
    before = net.head.weight.data_ptr()
    with pytest.raises(InputError, match="body.weight lies in memory that other processes share"):
        tritoncnn.compile_step(net, F.cross_entropy, SGD(0.1), (X, Y))
    assert net.head.weight.data_ptr() == before
    net.body.requires_grad_(False)  # what is only read stays where it is
    net.head = nn.Linear(4, 3)
    step = tritoncnn.compile_step(net, F.cross_entropy, SGD(0.1), (X, Y))
    step(X, Y)
    assert net.body.weight.is_shared()
