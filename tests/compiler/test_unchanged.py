"""What is changed about modules after they were compiled is seen, or refused in one sentence; never silently ignored."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import tritoncnn
from tritoncnn import SGD
from tritoncnn.errors import CheckpointError, InputError, TritonCNNError

X = torch.linspace(-1, 1, 24).reshape(4, 6)


def net(tied: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6, bias=False))
    if tied:
        made[2].weight = made[0].weight
    return made


def loss(y: torch.Tensor) -> torch.Tensor:
    return y.square().mean()


def untie(m: Any) -> None:
    m[2].weight = nn.Parameter(torch.eye(6))


def tie(m: Any) -> None:
    m[2].weight = m[0].weight


def add_bias(m: Any) -> None:
    m[2].bias = nn.Parameter(torch.ones(6))


CHANGES: dict[str, tuple[bool, Callable[[Any], Any], str]] = {  # tied before; the change; what is said of a model
    "a forward hook": (False, lambda m: m[0].register_forward_hook(lambda m, i, y: 2 * y), "a forward hook of Linear was added"),
    "a hook before forward": (False, lambda m: m.register_forward_pre_hook(lambda m, x: x), "a forward pre hook of Sequential"),
    "a bias": (False, add_bias, "had no bias when it was compiled"),
    "a part": (False, lambda m: m.append(nn.ReLU()), "the parts of Sequential"),
    "untied weights": (True, untie, "weight of Linear was one tensor with another part's weight"),
    "doubles": (False, lambda m: m.double(), "the module now has torch.float64"),
    "no memory any more": (False, lambda m: m[0].weight.untyped_storage().resize_(0), "no memory any more|memory .* was moved"),
    "no memory": (False, lambda m: m.to("meta"), "on meta"),
}  # fmt: skip
GRADIENTS: dict[str, tuple[bool, Callable[[Any], Any], str]] = {
    "a backward hook": (False, lambda m: m[2].register_full_backward_hook(lambda m, i, y: i), "a backward hook of Linear"),
    "a hook of a parameter": (False, lambda m: m[2].weight.register_hook(lambda g: 0 * g), "a gradient hook of the parameter"),
    "tied weights": (False, tie, "0.weight and 2.weight were two tensors"),
    "shared memory": (False, lambda m: m.share_memory(), "share_memory"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_model_refuses_what_is_no_longer_as_it_was_compiled(name: str) -> None:
    tied, change, words = CHANGES[name]
    module = net(tied)
    model = tritoncnn.compile(module, X)
    change(module)
    with pytest.raises((InputError, CheckpointError), match=words):
        model(X)


@pytest.mark.parametrize("name", CHANGES | GRADIENTS)
def test_a_step_refuses_what_is_no_longer_as_it_was_compiled(name: str) -> None:
    tied, change, words = (CHANGES | GRADIENTS)[name]
    module = net(tied)
    step = tritoncnn.compile_step(module, loss, SGD(0.1), (X,))
    change(module)
    held = {
        key: t for key, t in module.state_dict().items() if t.device.type != "meta" and t.untyped_storage().nbytes()
    }
    before = copy.deepcopy(held)
    with pytest.raises((InputError, CheckpointError), match=words):
        step(X)
    assert all(torch.equal(tensor, before[key]) for key, tensor in held.items())


def test_a_hook_that_was_compiled_and_is_removed_is_missed() -> None:
    module = net()
    handle = module[0].register_forward_hook(lambda m, i, y: 2 * y)
    model = tritoncnn.compile(module, X)
    torch.testing.assert_close(model(X), module(X).detach())
    handle.remove()
    with pytest.raises(InputError, match="a forward hook of Linear was added or removed"):
        model(X)


def test_hooks_of_other_modules_and_of_gradients_are_no_matter_to_a_model() -> None:
    module = net()
    model = tritoncnn.compile(module, X)
    nn.ReLU().register_forward_hook(lambda m, i, y: y)
    module[0].weight.register_hook(lambda g: 2 * g)
    torch.testing.assert_close(model(X), module(X).detach())


def test_a_backward_hook_of_all_modules_is_refused() -> None:
    handle = nn.modules.module.register_module_full_backward_hook(lambda m, i, y: i)
    try:
        with pytest.raises(TritonCNNError, match="a backward hook of all modules"):
            tritoncnn.compile_step(net(), loss, SGD(0.1), (X,))
    finally:
        handle.remove()


@pytest.mark.parametrize("where", ["parameters", "buffers", "tensors that the code holds"])
def test_state_without_memory_is_refused(where: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(6, device="meta" if where == "parameters" else "cpu"))
            self.register_buffer("b", torch.ones(6, device="meta" if where == "buffers" else "cpu"))
            self.__dict__["t"] = torch.ones(6, device="meta" if where == "tensors that the code holds" else "cpu")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.w + self.b * self.t

    with pytest.raises(TritonCNNError):
        tritoncnn.compile(Net(), X)(X)


def test_numbers_of_an_optimizer_that_are_compiled_in_cannot_be_set() -> None:
    step = tritoncnn.compile_step(net(), loss, SGD(0.1, weight_decay=0.1), (X,))
    step.optimizer.param_groups[0]["initial_lr"] = 0.1  # as schedulers do
    with pytest.raises(InputError, match=r"weight_decay is compiled in.*SGD\(weight_decay=0.0\)"):
        step.optimizer.param_groups[0]["weight_decay"] = 0.0
    with pytest.raises(InputError, match="add_param_group"):
        step.optimizer.add_param_group({"params": [torch.zeros(2)]})


class Counting(nn.Linear):
    """With state that is no tensor of its own."""

    count = 3

    def get_extra_state(self) -> Any:
        return {"count": self.count}

    def set_extra_state(self, state: Any) -> None:
        self.count = state["count"]


def test_extra_state_comes_and_goes_with_the_rest() -> None:
    one, two = nn.Sequential(Counting(6, 6)), nn.Sequential(Counting(6, 6))
    one[0].count = 7
    first, second = tritoncnn.compile(one, X), tritoncnn.compile(two, X)
    assert first.state_dict()["0._extra_state"] == {"count": 7}
    second.load_state_dict(first.state_dict())
    assert two[0].count == 7
    assert torch.equal(second(X), first(X))


def test_state_that_a_hook_makes_is_not_silently_left_out() -> None:
    module = net()
    module.register_state_dict_post_hook(lambda m, state, *_: state.update({k: 2 * v for k, v in state.items()}))
    model = tritoncnn.compile(module, X)
    with pytest.raises(CheckpointError, match=r"is made by a hook of state_dict"):
        model.load_state_dict(model.state_dict())
