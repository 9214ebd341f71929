"""What is traced: a function over nets as one module, which tells what was seen while it ran."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from tritoncnn.capture.fixed import Ask, Fixed
from tritoncnn.capture.selecting import READ, STAND_INS, Selecting, Size
from tritoncnn.capture.watch import Watch
from tritoncnn.tree import Form, flatten


class Result:
    """The form of what a traced function returned, what is watched meanwhile, and who traced it."""

    form: Form
    watch: Watch
    way: str
    stand_in: int = STAND_INS[0]  # for the size of x[mask]
    ask: Callable[[], Ask] = staticmethod(lambda: lambda tensor: None)  # in each call: whom to ask what a tensor holds
    read: str = ""  # what has read a number out of a tensor that data decide, the last
    held: Sequence[
        torch.Tensor
    ] = ()  # tensors of its own that the code reads, where torch.export gives others of their memory


class Traced(torch.nn.Module):
    """forward(*tensors) = the tensors of the tree that ``function(*tensors)`` gives."""

    def __init__(self, nets: Mapping[str, torch.nn.Module], function: Callable[..., Any]) -> None:
        super().__init__()
        for name, net in nets.items():
            self.add_module(name, net)
        self.result = Result()  # torch.export puts attributes that are containers back as they were
        self.function = function

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        numbers, reads = _drawn_by_python(), Size.reads
        torch.clear_autocast_cache()  # casts of parameters that a call before has left, where an autocast is used anew
        self.result.watch.begin(self)
        with Selecting(self.result.stand_in), Fixed(self.result.ask(), self._read, self._failed):
            found, self.result.form = flatten(self.function(*tensors))
        if _drawn_by_python() != numbers:
            self.result.watch.note(
                "random numbers of Python or NumPy, which would be the same in every call; draw torch's"
            )
        if Size.reads != reads:
            self.result.watch.note(READ)
        return tuple(self.result.watch.settle(found))

    def _read(self, what: str) -> None:
        self.result.read = what

    def _failed(self, name: str) -> None:
        """What raises while it is traced counts where the code catches it: a real call would go on otherwise."""
        self.result.watch.note(
            f"{name}() of a tensor, which fails while it is traced, where forward catches what is raised"
        )


def _drawn_by_python() -> tuple[object, ...]:
    """Where the random numbers of Python, and those of NumPy where it is in use, have come to."""
    numpy = sys.modules.get("numpy")
    _, words, place, *_ = ("", b"", 0) if numpy is None else numpy.random.get_state()
    return random.getstate(), bytes(words), place
