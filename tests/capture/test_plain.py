"""The light way of capture: the same graphs as torch.export's, for plain calls and for those alone."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.applied import Applied
from tritoncnn.capture import Captured, capture, export
from tritoncnn.capture.plain import trace_twice
from tritoncnn.capture.shadow import NotPlain
from tritoncnn.capture.sizes import SIZES
from tritoncnn.capture.traced import Traced
from tritoncnn.capture.watch import Watch
from tritoncnn.models.lenet import LeNet
from tritoncnn.models.resnet import resnet20

aten = torch.ops.aten


class Residual(nn.Module):
    """In place, in training: relu, a sum, batch norm's statistics and a counter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.relu = nn.ReLU(inplace=True)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.calls: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        y = self.relu(self.norm(self.conv(x)))
        y += x
        return y * self.calls


class Assigned(nn.Module):
    """A buffer that is set anew, one that is read as it was, and results of several kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.mean: torch.Tensor

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        before = self.mean + 0
        self.mean = 0.9 * self.mean + 0.1 * x.mean((0, 2, 3))
        low, high = x.chunk(2, dim=2)
        return {"x": x, "low": [low, high.transpose(1, 2)], "before": before, "most": x.max(dim=1)}


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x).detach()
        return F.dropout(self.second(y), 0.5, self.training).view_as(x).relu()


def both(monkeypatch: pytest.MonkeyPatch, make: Callable[[], Captured]) -> tuple[Captured, Captured]:
    """What the two ways give. The light one must have been taken."""
    taken: list[bool] = []
    plain = export._plain

    def told(*args: Any) -> Any:
        program = plain(*args)
        taken.append(not isinstance(program, str))
        return program

    with monkeypatch.context() as patch:
        patch.setattr(export, "_plain", told)
        ours = make()
        patch.setattr(export, "_plain", lambda *_: "not asked")
        theirs = make()
    assert taken == [True]
    assert (ours.way, theirs.way) == ("written down as the model ran", "by torch.export: not asked")
    return ours, theirs


def held(captured: Captured) -> dict[str, tuple[torch.dtype, Any]]:
    return {_bare(name): (tensor.dtype, tensor.tolist()) for name, tensor in captured.constants.items()}


def _bare(text: str) -> str:
    """Without the net's name, which torch.export gives what torch.tensor made, and the width that it takes."""
    return re.sub(" +", " ", text.replace("net.lifted", "lifted"))


def said(captured: Captured) -> dict[str, Any]:
    """All that a capture says, as what compares."""
    tensors = {name: id(tensor) for name, tensor in captured.tensors.items()}
    return {
        **vars(captured),
        "way": "",
        "constants": held(captured),
        "graph": _bare(str(captured.graph)),
        "tensors": tensors,
        "form": repr(captured.form),
    }


def _filled(x: torch.Tensor) -> torch.Tensor:
    y = torch.zeros(x.shape[-1])
    y += 2
    return x * y + torch.ones_like(x).mul_(3)


def _grid(x: torch.Tensor) -> torch.Tensor:
    places = [(torch.arange(n) + 0.5) / n for n in x.shape[-2:]]
    return x + torch.stack(torch.meshgrid(*places, indexing="ij")).sum(0) * torch.full((), 0.5, dtype=torch.float64)


IMAGE = torch.rand(2, 3, 6, 5)
MADE: dict[str, Callable[[torch.Tensor], Any]] = {
    "arange": lambda x: x * torch.arange(5) + torch.arange(1, 10, 2, dtype=torch.float32).flip(0),
    "linspace": lambda x: x * torch.linspace(-1, 1, 5),
    "grid": _grid,
    "filled": _filled,
    "shaped as x": lambda x: x + x.new_ones(5) + torch.full_like(x, 2),
    "eye": lambda x: x @ torch.eye(5) @ torch.ones(5, 5).tril(),
    "numbers": lambda x: x * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]) + torch.tensor([[1], [0], [2], [4], [5], [6]]),
    "one number": lambda x: x * torch.tensor(2) + torch.tensor(0.1, dtype=torch.float64),
    "as_tensor": lambda x: x + torch.as_tensor([0.1, 0.2, 0.3, 0.4, 0.5]),
    "changed numbers": lambda x: x + torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]).mul_(2).add_(1),
    "picked": lambda x: x[..., torch.tensor([4, 0, 0])],
    "as a result": lambda x: (x + 1, torch.arange(3), torch.tensor([True, False])),
    "random": lambda x: x + torch.rand(5),
    "a mask": lambda x: torch.where(torch.arange(5) > 2, x, torch.tensor(-1.0)),
}
CASES: dict[str, tuple[Callable[[], nn.Module], torch.Tensor]] = {
    "lenet": (LeNet, torch.rand(2, 1, 28, 28)),
    "resnet": (resnet20, torch.rand(2, 3, 16, 16)),
    "residual": (Residual, IMAGE),
    "pixels last": (lambda: nn.Sequential(nn.BatchNorm2d(3), nn.MaxPool2d(2), nn.ReLU()), IMAGE.mT),
    "assigned": (Assigned, IMAGE),
    "tied": (Tied, IMAGE),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 3, 2), nn.GELU(), nn.AvgPool2d(2)), IMAGE),
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(3, 4, 3, dilation=2), nn.MaxPool1d(2), nn.Flatten()), torch.rand(2, 3, 19)),
    "grouped": (lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.MaxPool2d(2, ceil_mode=True), nn.Tanh()), IMAGE),
    "dropout": (lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout2d(), nn.AdaptiveAvgPool2d((2, 3))), IMAGE),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("gradients", [False, True])
def test_what_the_code_makes_of_numbers_is_plain(name: str, gradients: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Applied(MADE[name])

    def make() -> Captured:
        return capture({"net": net}, lambda x: net(x), (IMAGE,), ("x",), title="Net", gradients=gradients)

    ours, theirs = both(monkeypatch, make)
    assert said(ours) == said(theirs)


def test_numbers_are_those_of_the_capture() -> None:
    """A later change of the array from which a tensor was made is not seen, as it is not by torch.export."""
    array = np.array([1.0, 2.0], np.float32)
    net = Applied(lambda x: x + torch.as_tensor(array))
    found = capture({"net": net}, lambda x: net(x), (torch.rand(2),), ("x",), title="Net")
    array[:] = 7
    assert held(found) == {"lifted_tensor_0": (torch.float32, [1.0, 2.0])}


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", CASES)
def test_both_ways_give_the_same_capture(name: str, training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    make, x = CASES[name]
    module = make().train(training)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    ours, theirs = both(monkeypatch, lambda: capture({"net": module}, lambda x: module(x), (x,), ("x",), title="Net"))
    assert said(ours) == said(theirs)
    for key, value in module.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)


@pytest.mark.parametrize(
    "loss", [F.cross_entropy, lambda y, target: F.cross_entropy(y, target, label_smoothing=0.1, reduction="sum")]
)  # fmt: skip
def test_both_ways_give_the_same_loss(loss: Callable[..., torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    module, batch = resnet20().train(), (torch.rand(2, 3, 16, 16), torch.tensor([1, 7]))

    def make() -> Captured:
        return capture({"net": module}, lambda x, y: loss(module(x), y), batch, ("x", "y"), title="Net", gradients=True)

    ours, theirs = both(monkeypatch, make)
    assert said(ours) == said(theirs)


@pytest.mark.parametrize("plain", [True, False])
def test_a_tensor_that_is_given_twice_is_two_inputs(plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not plain:
        monkeypatch.setattr(export, "_plain", lambda *_: "not asked")
    net, x = nn.Linear(3, 3), torch.rand(3, 3)
    found = capture({"net": net}, lambda a, b, c: net(a) - b / c, (x, x, net.weight), ("a", "b", "c"), title="Net")
    used = {value.name for node in found.graph.nodes for value in node.operands}
    assert {"a", "b", "c", "net.weight"} <= used


class Views(nn.Module):
    """Two buffers in one memory, one of which is changed."""

    def __init__(self) -> None:
        super().__init__()
        memory = torch.zeros(6)
        self.register_buffer("whole", memory)
        self.register_buffer("part", memory[:3])
        self.whole: torch.Tensor
        self.part: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.whole.add_(1)
        return x + self.part


class Holds(nn.Module):
    """Tensors that are no state, and a change of what others see."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        self.held = torch.arange(3.0)
        self.weight = nn.Parameter(torch.ones(3))
        self.seen: list[Any] = []
        self.call = forward

    def forward(self, x: torch.Tensor) -> Any:
        self.seen.append(x)
        return self.call(self, x)


def _view_then_write(net: Holds, x: torch.Tensor) -> torch.Tensor:
    y = x + 1
    y[0] = 0.0
    return y


def _write_then_view(net: Holds, x: torch.Tensor) -> torch.Tensor:
    y = x + 1
    z = y.view(-1)
    y.mul_(2)
    return z


def _changed_by_data(y: torch.Tensor) -> torch.Tensor:
    y.data.add_(1)
    return y


def _no_grad(net: Holds, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        y = x * net.weight
    return y + x


def _autocast(net: Holds, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return F.linear(x, net.weight)


NOT_PLAIN: dict[str, Callable[[Holds, torch.Tensor], Any]] = {
    "a number is read": lambda net, x: x * x.sum().item(),
    "a branch on data": lambda net, x: x if x.sum() > 0 else -x,
    "an array is made": lambda net, x: x + float(x.detach().numpy()[0]),
    "an attribute": lambda net, x: x + net.held,
    "a result that is an attribute": lambda net, x: (x + 1, net.held),
    "the input is changed": lambda net, x: x.add_(1),
    "a parameter's memory is changed": lambda net, x: x + net.weight.detach().add_(1),
    "data of a tensor": lambda net, x: (x + 1).data * 2,
    "data of numbers": lambda net, x: _changed_by_data(torch.zeros(3)) + x,
    "a view is changed": _view_then_write,
    "what has a view is changed": _write_then_view,
    "out=": lambda net, x: torch.add(x, 1, out=torch.empty(3)),
    "another dtype in place": lambda net, x: (x + 1).gt_(2),
    "random in place": lambda net, x: F.dropout(x + 1, 0.5, True, inplace=True),
    "vmap": lambda net, x: torch.vmap(lambda y: y * 2)(x),
    "no_grad": _no_grad,
    "autocast": _autocast,
    "a convolution of other layouts": lambda net, x: F.conv2d(
        torch.rand(1, 4, 5, 3).permute(0, 3, 1, 2), torch.rand(2, 3, 2, 2)
    ),
    "alpha dropout beside a change": lambda net, x: F.alpha_dropout(x, 0.5, True).mul_(2),
    "another device": lambda net, x: x.to("meta"),
    "an exception": lambda net, x: x @ torch.ones(7, 7),
}


FAILS = {"an array is made", "vmap", "an exception"}  # torch or the module raises something of its own


def traced(net: nn.Module) -> nn.Module:
    module = Traced({"net": net}, lambda x: net(x))
    module.result.watch = Watch()
    return module


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_what_is_not_plain_is_torch_exports(name: str) -> None:
    net = Holds(NOT_PLAIN[name])
    with pytest.raises(Exception) as raised:  # noqa: PT011  NotPlain, or what the module raises
        trace_twice(traced(net), (torch.rand(3),), [])
    assert type(raised.value) is NotPlain or name in FAILS
    assert net.seen == []  # the module is as it was
    assert type(net.weight) is nn.Parameter


def test_a_change_of_memory_that_two_buffers_have_is_torch_exports() -> None:
    net = Views()
    with pytest.raises(NotPlain, match="in place"):
        trace_twice(traced(net), (torch.rand(3),), [])


def test_classifiers_are_captured_and_steps_compiled_without_dynamo_and_sympy() -> None:
    code = """
import sys, torch, torch.nn.functional as F, tritoncnn
from tritoncnn.capture import capture_loss, capture_module
from tritoncnn.models import alexnet, googlenet, lenet, resnet, vgg
for make, sizes in ((lenet.LeNet, (1, 28)), (resnet.resnet18, (3, 64)), (vgg.vgg11_bn, (3, 32)), (alexnet.alexnet32, (3, 32))):
    module, x = make(), torch.rand(2, sizes[0], sizes[1], sizes[1])
    capture_module(module.eval(), (x,))
    capture_loss(module.train(), F.cross_entropy, (x,), torch.tensor([0, 1]))
batch = torch.rand(2, 3), torch.tensor([0, 1])
tritoncnn.compile_step(torch.nn.Linear(3, 3), F.cross_entropy, tritoncnn.SGD(lr=0.1), batch)(*batch)
print([name for name in ("torch._dynamo", "sympy", "torch._inductor", "torch.distributed.tensor") if name in sys.modules])
"""
    root = Path(__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False)
    assert ran.stdout == "[]\n", ran.stderr


X, W, B, C = torch.rand(2, 4, 7, 6), torch.rand(6, 2, 3, 2), torch.rand(6), torch.rand(4)
LAYOUTS = (X, X.contiguous(memory_format=torch.channels_last), X.transpose(1, 2).contiguous().transpose(1, 2), X[:, :, ::2],
           X[:1].expand(2, 4, 7, 6), torch.rand(1, 7, 6, 4).permute(0, 3, 1, 2)[..., :1])  # fmt: skip
VOLUMES = (torch.rand(2, 3, 4, 5, 6), torch.rand(2, 3, 4, 5, 6).to(memory_format=torch.channels_last_3d))
M, TARGET = torch.rand(3, 5), torch.tensor([0, 4, 2])
SAMPLES: dict[Any, list[tuple[Any, ...]]] = {
    aten.convolution.default: [
        (X, W, B, [2, 1], [1, 0], [1, 2], False, [0, 0], 2),
        (torch.rand(2, 4, 9), torch.rand(3, 4, 3), None, [1], [2], [3], False, [0], 1),
    ],
    aten.max_pool2d_with_indices.default: [(X, [3, 2]), (X, [3, 2], [2, 2], [1, 1], [1, 2])],
    aten._adaptive_avg_pool2d.default: [(X, [3, 2])],
    aten.addmm.default: [(torch.rand(4), M, torch.rand(5, 4)), (torch.rand(1), M, torch.rand(4, 5).t())],
    aten._native_batch_norm_legit.default: [(X, C, C, C.clone(), C.clone(), True, 0.1, 1e-5)],
    aten._native_batch_norm_legit_no_training.default: [(X, C, C, C, C, 0.1, 1e-5), (X, None, None, C, C, 0.1, 1e-5)],
    aten.mean.dim: [(X, [-1, 1]), (X, [2], True), (X, None)],
    aten.native_dropout.default: [(X, 0.5, True)],
    aten._log_softmax.default: [(M, -1, False)],
    aten.nll_loss_forward.default: [(M, TARGET, None, kind, -100) for kind in (0, 1, 2)],
    aten.relu.default: [(X,)],
    aten.relu_.default: [(X.clone(),)],
    aten.add.Tensor: [(X, X), (X, 2.0), (torch.tensor(3), 1)],
    aten.add_.Tensor: [(X.clone(), X), (torch.tensor(3), 1)],
    aten.log_sigmoid.default: [(x,) for x in LAYOUTS],
    aten.log_sigmoid_forward.default: [(x,) for x in LAYOUTS],
    aten.roll.default: [
        (x, *how) for x in LAYOUTS for how in (([3],), ([1, -1], [2, 3]), ([1, 0], [-1, 0]), ([7, 4, 1], [2, 1, 1]))
    ],
    aten.channel_shuffle.default: [(x, groups) for x in LAYOUTS for groups in (1, 2)],
    aten.native_channel_shuffle.default: [(x, 2) for x in LAYOUTS],
    aten.pad.default: [(x, [1, 1, 2, 0], "reflect") for x in LAYOUTS[:3]]
    + [(x, [1] * 6, "replicate") for x in VOLUMES],
    aten.reflection_pad3d.default: [(x, [1, 1, 2, 0, 1, 0]) for x in VOLUMES],
    aten.replication_pad3d.default: [(x, [1, 1, 2, 0, 1, 0]) for x in VOLUMES],
    aten.max_unpool2d.default: [(x, torch.zeros(x.shape, dtype=torch.int64), [9, 8]) for x in LAYOUTS[:2]],
}


@pytest.mark.parametrize("op", SIZES, ids=str)
def test_a_rule_gives_the_sizes_that_torch_computes(op: Any) -> None:
    for args in SAMPLES[op]:
        twins = [x.to("meta") if isinstance(x, torch.Tensor) else x for x in args]
        found, wanted = SIZES[op](*twins), op(*args)
        alone = not isinstance(wanted, tuple)
        for ours, theirs in zip((found,) if alone else found, (wanted,) if alone else wanted, strict=True):
            assert (ours.shape, ours.dtype, ours.stride()) == (theirs.shape, theirs.dtype, theirs.stride())


WRONG: list[tuple[Any, tuple[Any, ...]]] = [
    (aten.convolution.default, (X, W, B, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)),
    (aten.convolution.default, (X, W, B, [1, 1], [0, 0], [4, 1], False, [0, 0], 2)),
    (aten.max_pool2d_with_indices.default, (X, [8, 2])),
    (aten.max_pool2d_with_indices.default, (X, [2, 2], [1, 1], [2, 2])),
    (aten.addmm.default, (B, M, torch.rand(4, 5))),
    (aten.mean.dim, (X, [4])),
    (aten._log_softmax.default, (M, 2, False)),
    (aten.nll_loss_forward.default, (M, TARGET[:2], None, 1, -100)),
    (aten.roll.default, (X, [1, 2], [1])),
    (aten.channel_shuffle.default, (X, 3)),
    (aten.channel_shuffle.default, (M, 1)),
]


@pytest.mark.parametrize(("op", "args"), WRONG)
def test_what_torch_refuses_has_no_size(op: Any, args: tuple[Any, ...]) -> None:
    with pytest.raises((RuntimeError, IndexError, ValueError)):
        op(*args)
    assert SIZES[op](*(x.to("meta") if isinstance(x, torch.Tensor) else x for x in args)) is None
