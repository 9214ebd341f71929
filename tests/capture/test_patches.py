"""What is other code while a call is traced: for the thread that traces alone."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import nn

from tritoncnn.capture.patches import patched
from tritoncnn.capture.watch import watched


class Kept:
    def method(self) -> str:
        return "method"

    @classmethod
    def of_class(cls) -> str:
        return cls.__name__

    @property
    def number(self) -> int:
        return self.__dict__.get("_number", 1)

    @number.setter
    def number(self, value: int) -> None:
        self.__dict__["_number"] = value


class Below(Kept):
    pass


def seen() -> list[Any]:
    below = Below()
    below.number = 5
    return [below.method(), Below.of_class(), below.number]


def elsewhere(work: Any) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def test_attributes_are_other_ones_in_one_thread_and_back_in_the_end() -> None:
    written = []
    ours = [
        (Kept, "method", lambda kept: "ours"),
        (Below, "of_class", classmethod(lambda cls: "ours")),  # inherited so far
        (Kept, "number", property(lambda kept: 7, lambda kept, value: written.append(value))),
        (Kept, "flag", None),
    ]
    Kept.flag = 0  # type: ignore[attr-defined]
    before = dict(vars(Kept))
    with patched(ours):
        assert seen() == ["ours", "ours", 7]
        assert written == [5]
        assert elsewhere(seen) == ["method", "Below", 5]
    assert seen() == ["method", "Below", 5]
    assert dict(vars(Kept)) == before
    assert "of_class" not in vars(Below)


class Interrupted(type):
    """A class during whose n-th change of an attribute Ctrl-C is pressed."""

    at = -1

    def __setattr__(cls, name: str, value: object) -> None:
        Interrupted.at -= 1
        if Interrupted.at == 0:
            raise KeyboardInterrupt
        super().__setattr__(name, value)


class Owner(metaclass=Interrupted):
    first, second = "first", "second"


@pytest.mark.parametrize("at", range(1, 5))
def test_attributes_are_back_after_an_interrupt_at_any_of_them(at: int) -> None:
    Interrupted.at = at
    with pytest.raises(KeyboardInterrupt), patched([(Owner, "first", "ours"), (Owner, "second", "ours")]):
        pass
    assert (Owner.first, Owner.second) == ("first", "second")


def test_what_other_threads_do_while_a_call_is_traced_is_theirs() -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, dy: torch.Tensor) -> torch.Tensor:
            return dy * 2

    def work() -> torch.Tensor:
        torch.manual_seed(3)
        x = torch.ones(2, requires_grad=True)
        x.register_hook(lambda dx: dx * 10)
        module = nn.Linear(2, 2)
        module.kept = torch.ones(1)
        module.weight.requires_grad = False
        y = Double.apply(x)
        y.grad_fn.register_hook(lambda *_: None)
        y.data.add_(0)
        y.sum().backward()
        with torch.inference_mode():
            return x.grad.clone()  # type: ignore[union-attr]

    with watched(True) as watch:
        assert elsewhere(work).tolist() == [20.0, 20.0]
        assert not watch.lost
        work()
    lost = " | ".join(watch.lost)
    changes = ("manual_seed", "self.kept", "requires_grad", "Double", "backward()", "inference_mode")
    assert not [what for what in (*changes, "Tensor.register_hook", "grad_fn.") if what not in lost]
