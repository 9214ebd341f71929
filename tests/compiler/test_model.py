"""Compiled models: any inputs and results, other sizes, memory formats, tensors that kernels cannot read."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import tritoncnn
from tritoncnn.errors import InputError, TritonCNNError

CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-6}
torch.manual_seed(0)
X = torch.randn(2, 3, 6, 5)


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None, *, twice: bool = False) -> dict[str, Any]:
        y = F.relu(self.conv(x if mask is None else x * mask))
        return {"y": y, "parts": [(y.mean((2, 3)), x)], "twice": y * 2 if twice else None}


def new(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind().eval()


def test_named_inputs_defaults_and_nested_results() -> None:
    module, mask = new(Masked), torch.rand(2, 1, 6, 5)
    model = tritoncnn.compile(module, {"x": X, "mask": mask, "twice": True})
    out, want = model(mask=mask, x=X, twice=True), module(X, mask, twice=True)
    assert list(out) == ["y", "parts", "twice"]
    torch.testing.assert_close(out.y, want["y"].detach(), **CLOSE)
    torch.testing.assert_close(out["parts"][0][0], want["parts"][0][0].detach(), **CLOSE)
    assert torch.equal(out.parts[0][1], X)
    plain = tritoncnn.compile(module, [X])
    assert plain(X).twice is None
    with pytest.raises(InputError, match="must be a tensor, as in the example; got None"):
        model(X, None, twice=True)


def test_sizes_that_come_later_get_plans_of_their_own() -> None:
    module = new(Masked)
    model = tritoncnn.compile(module)
    for shape in ((2, 3, 6, 5), (1, 3, 6, 5), (2, 3, 9, 9), (2, 3, 6, 5)):
        x = torch.randn(shape)
        torch.testing.assert_close(model(x).y, module(x)["y"].detach(), **CLOSE)


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(3, 4))
        self.register_buffer("offset", torch.randn(3, 4))

    def forward(self, x: torch.Tensor, y: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        return x * self.scale - 2 * y + self.offset + sum(more, torch.zeros(()))


@pytest.mark.parametrize("place", ["twice", "thrice", "a parameter", "its data", "a buffer", "a view"])
def test_an_example_that_comes_twice_is_still_several_inputs(place: str) -> None:
    """torch's tracer tells tensors apart by identity; what they are called with later need not be alike."""
    module, x = new(Scaled), torch.randn(3, 4)
    example: tuple[Any, ...] = {
        "twice": (x, x), "thrice": (x, x, x), "a parameter": (module.scale, x), "its data": (x, module.scale.data),
        "a buffer": (x, module.offset), "a view": (x, x.view(3, 4)),
    }[place]  # fmt: skip
    given = [torch.randn(3, 4) for _ in example]
    with torch.no_grad():
        torch.testing.assert_close(tritoncnn.compile(module, example)(*given), module(*given), **CLOSE)


def test_an_example_that_the_function_also_holds_is_an_input_beside_it() -> None:
    held, given = torch.randn(3, 4), torch.randn(3, 4)
    grad = tritoncnn.compile_grad(lambda x: (x * x * held).sum(), wrt="x", example=(held,))
    torch.testing.assert_close(grad(given)[1], 2 * given * held, **CLOSE)


def test_a_step_whose_target_is_its_input_learns_other_targets() -> None:
    net, x, target = nn.Linear(4, 4), torch.randn(3, 4), torch.randn(3, 4)
    step = tritoncnn.compile_step(net, F.mse_loss, tritoncnn.SGD(0.1), (x, x))
    wanted = F.mse_loss(net(x), target).detach()
    torch.testing.assert_close(step(x, target), wanted, **CLOSE)


def test_a_picture_in_another_memory_format_gives_the_same() -> None:
    module = new(Masked)
    last = X.to(memory_format=torch.channels_last)
    for example in (X, last):
        model = tritoncnn.compile(module, example)
        for x in (X, last, X[:1].expand(2, -1, -1, -1)):
            torch.testing.assert_close(model(x).y, module(x)["y"].detach(), **CLOSE)


def test_a_gradient_through_a_compiled_model_is_refused() -> None:
    model = tritoncnn.compile(new(Masked), X)
    with pytest.raises(InputError, match="a compiled model gives none: use tritoncnn.compile_grad"):
        model(X.clone().requires_grad_())
    with torch.no_grad():
        model(X.clone().requires_grad_())


def test_tensors_that_are_not_what_memory_says_are_resolved_or_refused() -> None:
    class Double(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2

    x = torch.arange(4.0)
    model = tritoncnn.compile(Double(), x)
    negative = torch.complex(torch.zeros(4), -x).conj().imag  # a view that negates
    assert negative.is_neg()
    assert torch.equal(model(negative), x * 2)
    assert torch.equal(model(torch._efficientzerotensor(4)), torch.zeros(4))
    with FakeTensorMode() as mode, pytest.raises(InputError, match="a plain tensor with memory; got FakeTensor"):
        model(mode.from_tensor(x))
    with pytest.raises(TritonCNNError, match="meta"):
        model(x.to("meta"))
    with pytest.raises(InputError, match=r"inside a torch.func transform"):
        torch.func.vmap(model)(torch.randn(3, 4))
    with pytest.raises(InputError, match="inside a torch.func transform|requires a gradient"):
        torch.func.grad(lambda t: model(t).sum())(x)
    with pytest.raises(InputError, match="forward-mode tangent|inside a torch.func transform"):
        torch.func.jvp(model, (x,), (x,))
    with pytest.raises(InputError):
        model(None)


def test_a_default_device_without_memory_changes_nothing() -> None:
    module = new(Masked)
    torch.set_default_device("meta")
    try:
        model = tritoncnn.compile(module, X)
        got = model(X).y
    finally:
        torch.set_default_device(None)
    torch.testing.assert_close(got, module(X)["y"].detach(), **CLOSE)


def test_modules_are_compiled_in_several_threads() -> None:
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            torch.manual_seed(seed)
            module = nn.Linear(3, 2)
            x = torch.ones(4, 3)
            torch.testing.assert_close(tritoncnn.compile(module, x)(x), module(x).detach(), **CLOSE)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_a_call_never_sees_half_of_a_loaded_state() -> None:
    module = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(6)))
    ones = {name: torch.eye(8) for name in module.state_dict()}
    twos = {name: 2 * torch.eye(8) for name in module.state_dict()}
    x = torch.ones(1, 8)
    model = tritoncnn.compile(module, x)
    model.load_state_dict(ones)
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            model.load_state_dict(twos)
            model.load_state_dict(ones)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        found = {float(model(x)[0, 0]) for _ in range(300)}
    finally:
        stop.set()
        thread.join()
    assert found <= {1.0, 64.0}


def test_the_autocast_around_compile_counts_for_every_plan() -> None:
    """Also for one that is made later, outside; and the module's own regions stand inside it."""

    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line, self.conv = nn.Linear(4, 4), nn.Conv1d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            with torch.autocast("cpu", enabled=False):
                exact = self.line(x)
            return self.conv(self.line(x)), exact

    torch.manual_seed(0)
    net, x = Half().eval(), torch.randn(2, 3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        model = tritoncnn.compile(net, x)
        grad = tritoncnn.compile_grad(lambda x: net(x)[0].float().sum(), wrt="x", example=(x,))
    for given in (x, torch.randn(5, 3, 4)):
        with torch.autocast("cpu", torch.bfloat16):
            leaf = given.clone().requires_grad_()
            wanted = net(leaf)
            (dx,) = torch.autograd.grad(wanted[0].float().sum(), leaf)
        for ours, theirs in zip((*model(given), grad(given)[1]), (*wanted, dx), strict=True):
            assert ours.dtype == theirs.dtype
            torch.testing.assert_close(
                ours, theirs.detach(), rtol=2**-7, atol=2**-6
            )  # two roundings to bf16 of numbers up to 2
    assert tritoncnn.compile(net, x)(x)[0].dtype == torch.float32


class Sized(nn.Module):
    """Its result follows from the input's sizes and from the switch, not from its numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor, scale: Any = 1) -> torch.Tensor:
        return self.weight * x.shape[0] / scale + (10.0 if scale is True else 0.0)


def test_sizes_count_of_an_input_that_no_kernel_reads() -> None:
    model = tritoncnn.compile(new(Sized), torch.zeros(2, 3))
    assert [float(model(torch.zeros(n, 3))) for n in (2, 5, 5, 2)] == [2.0, 5.0, 5.0, 2.0]


def test_constants_that_are_equal_but_of_other_kinds_are_told_apart() -> None:
    x = torch.zeros(2, 3)
    model = tritoncnn.compile(new(Sized), (x, 1))
    for scale in (1, True, 1.0, True, 1):
        assert torch.equal(model(x, scale), new(Sized)(x, scale).detach())


def test_state_that_changes_between_equal_calls_shows() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    model = tritoncnn.compile(module, X)
    conv, norm = module[0], module[1]
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    mean = norm.running_mean
    assert mean is not None

    def write_unseen() -> None:
        conv.weight.data.mul_(2)
        model.refresh()

    def move() -> None:
        conv.weight.data = conv.weight.data.clone()

    def replace() -> None:
        conv.weight = nn.Parameter(conv.weight.flip(0).to(memory_format=torch.channels_last))

    changes = (
        write_unseen,
        lambda: mean.add_(1),
        lambda: setattr(norm, "running_mean", torch.full((4,), 0.5)),
        move,
        replace,
        lambda: module.load_state_dict({k: t * 0.5 for k, t in module.state_dict().items()}),
    )
    with torch.no_grad():
        for change in changes:
            before = model(X)
            change()
            torch.testing.assert_close(model(X), module(X), **CLOSE)
            torch.testing.assert_close(model(X), module(X), **CLOSE)  # by the short way
            if change is not move:
                assert not torch.equal(model(X), before)
