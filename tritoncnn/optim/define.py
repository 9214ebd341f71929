"""What an optimizer is: what a user asks for, and the ops that one step of it adds to the graph."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any

import torch

from tritoncnn.errors import InputError
from tritoncnn.ops import OPS, Sym


@dataclass(frozen=True)
class Optimizer:
    """What every optimizer has. A new one is a frozen dataclass with ``lr`` and fields of its own, ``state`` and ``update``.

    ``lr`` is only the start: it is data of the step.
    ``clip_norm`` above 0: all gradients of the update together are scaled down to at most this 2-norm first (``clipped``).
    ``clip_value`` above 0: each number of the gradients is kept within ± this, before ``clip_norm``.
    ``ema`` above 0: a moving average of the parameters is kept, e' = ema e + (1 - ema) p, from the first step's p on;
    ``CompiledStep.averages`` reads it. Source: Polyak & Juditsky 1992.
    ``maximize``: go up the gradient.
    ``groups``: other numbers for some parameters, ``{"*.bias": {"weight_decay": 0.0}}``; the first pattern (as of a shell)
    that fits a parameter's name counts.
    """

    clip_norm: float = field(default=0.0, kw_only=True)
    clip_value: float = field(default=0.0, kw_only=True)
    ema: float = field(default=0.0, kw_only=True)
    maximize: bool = field(default=False, kw_only=True)
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, kw_only=True)

    def __new__(cls, *args: Any, **options: Any) -> Any:
        """Raises InputError for what is no option, as several of torch's optimizers are."""
        known = inspect.signature(cls.__init__)
        names = list(known.parameters)[1:]
        unknown = [name for name in options if name not in names]
        if unknown:
            raise InputError(f"{cls.__name__}: there is no option {unknown[0]!r}; there are {', '.join(names)}")
        try:
            known.bind(None, *args, **options)
        except TypeError as error:
            raise InputError(
                f"{cls.__name__}: options are {', '.join(names)}, and no parameters: the step knows these; got {error}"
            ) from None
        return super().__new__(cls)

    def __post_init__(self) -> None:
        self.check("clip_norm", "clip_value", "lr")
        name = type(self).__name__
        for switch in fields(self):
            if isinstance(switch.default, bool) and not isinstance(getattr(self, switch.name), bool):
                raise InputError(f"{name}: {switch.name} must be True or False; got {getattr(self, switch.name)!r}")
        if not isinstance(self.ema, (int, float)) or not 0 <= self.ema < 1:
            raise InputError(f"{name}: ema must lie in [0, 1); got {self.ema!r}")
        if not isinstance(self.groups, Mapping) or not all(isinstance(v, Mapping) for v in self.groups.values()):
            raise InputError(
                f'{name}: groups must be a dict such as {{"*.bias": {{"weight_decay": 0.0}}}}; got {self.groups!r}'
            )
        shared = {"clip_norm", "clip_value", "ema", "groups", "maximize"}
        known = [f.name for f in fields(self) if f.name not in shared]
        for pattern, options in self.groups.items():
            for key in options:
                if key not in known:
                    raise InputError(f"{name}: group {pattern!r} may change {', '.join(known)}; got {key!r}")
            self.of_group(pattern)  # its numbers are checked as those of an optimizer are

    def check(self, *names: str) -> None:
        """Raises InputError unless these fields are finite numbers from 0."""
        for name in names:
            value = getattr(self, name)
            if not 0 <= self._plain(name, value) < math.inf:
                raise InputError(f"{type(self).__name__}: {name} must be a finite number from 0; got {value!r}")

    def below_1(self, name: str, value: Any) -> None:
        """Raises InputError unless the value is a decay in [0, 1)."""
        if not 0 <= self._plain(name, value) < 1:
            raise InputError(f"{type(self).__name__}: {name} must lie in [0, 1); got {value!r}")

    def _plain(self, name: str, value: Any) -> float:
        """A number of Python, which the field holds from now on, if it is this value; NaN for what is no number."""
        number = number_of(value)
        if number is not None and number is not value and getattr(self, name, None) is value:
            object.__setattr__(self, name, number)
        return math.nan if number is None else number

    def group(self, *names: str) -> str:
        """The pattern that fits a parameter known by these names; empty when none does."""
        return next((p for p in self.groups if any(fnmatchcase(name, p) for name in names)), "")

    def of_group(self, pattern: str) -> Optimizer:
        """The optimizer with the numbers of one group, and no groups."""
        return replace(self, groups={}, **self.groups.get(pattern, {}))

    @property
    def state(self) -> tuple[str, ...]:
        """Names of the state arenas, each as large as the parameters; they start as zeros."""
        raise NotImplementedError

    def update(self, p: Sym, g: Sym, lr: Sym, step: Sym, state: tuple[Sym, ...]) -> tuple[Sym, ...]:
        """(new parameters, new states...). ``step`` counts this step too. Results that are not computed in place are stored
        after all of them are known, so they are functions of the old values."""
        raise NotImplementedError


def number_of(value: Any) -> float | None:
    """The number of Python that a number of NumPy, or a real tensor of one element, is; None for anything else."""
    if isinstance(value, (int, float)):
        return None if isinstance(value, bool) else value
    if isinstance(value, torch.Tensor):
        real = value.numel() == 1 and value.dtype is not torch.bool and not value.is_complex() and not value.is_meta
        return value.detach().item() if real else None
    return float(value) if isinstance(value, Real) else None


def bounded(g: Sym, most: float) -> Sym:
    """g with each number kept within ± ``most``, as torch.nn.utils.clip_grad_value_."""
    return OPS["minimum"](OPS["maximum"](g, -most), most)  # type: ignore[no-any-return]


def square_sum(g: Sym) -> Sym:
    return OPS["sum"](g * g, dims=(0,))  # type: ignore[no-any-return]


def clipped(g: Sym, most: float, squares: Sym) -> Sym:
    """g scaled so that the 2-norm of all gradients, whose squares add up to ``squares``, is at most ``most``, as
    torch.nn.utils.clip_grad_norm_. Source: Pascanu et al. 2013."""
    return g * OPS["minimum"](most / (OPS["sqrt"](squares) + 1e-6), 1.0)  # type: ignore[no-any-return]
