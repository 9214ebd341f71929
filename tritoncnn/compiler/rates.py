"""Learning rates of a step, where torch's schedulers reach them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch

from tritoncnn.errors import InputError
from tritoncnn.optim import Optimizer, Unit, number_of


class Rates(torch.optim.Optimizer):
    """The learning rates of one update as torch's schedulers know them: ``CosineAnnealingLR(step.optimizer, 10)``.

    One parameter group per group of the update; ``lr`` of each is read before every step.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        groups = [{"params": [torch.zeros((), device="cpu")], "lr": u.optimizer.lr, "name": u.pattern} for u in units]  # type: ignore[attr-defined]
        super().__init__(groups, {"lr": 0.0})
        self.param_groups = [_Group(g, u.optimizer) for g, u in zip(self.param_groups, units, strict=True)]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Raises InputError: what is trained is compiled in."""
        if any(isinstance(group, _Group) for group in self.param_groups):
            raise InputError(
                "add_param_group: what a step trains is compiled in: compile a step with another Update(of=...) or groups="
            )
        # As torch's, but for the wrapper that keeps it out of traces: that loads torch._dynamo, which takes a second.
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Nothing: the compiled step moves the parameters. Schedulers watch that it is called."""


class _Group(dict[str, Any]):
    """A parameter group that takes learning rates, and what schedulers note; the optimizer's other numbers are compiled in."""

    def __init__(self, group: dict[str, Any], optimizer: Optimizer) -> None:
        super().__init__(group)
        self._fixed = {field.name for field in fields(optimizer)} - {"lr"}
        self._kind = type(optimizer).__name__

    def __setitem__(self, key: str, value: Any) -> None:
        if key in self._fixed:
            raise InputError(f"{key} is compiled in: compile the step again with {self._kind}({key}={value!r})")
        super().__setitem__(key, value)


def rate_of(lr: Any) -> float:
    """A learning rate as a number; NumPy's, and a tensor of one element, count as they are now. Raises InputError unless it is a
    finite number from 0."""
    rate = number_of(lr)
    if rate is None or not 0 <= rate < math.inf:
        raise InputError(f"lr must be a finite number from 0; got {lr!r}")
    return rate
