"""SGD: stochastic gradient descent with momentum."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.errors import InputError
from tritoncnn.ops import OPS, Sym
from tritoncnn.optim.define import Optimizer


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent as torch.optim.SGD.

    ``dampening``: that share of each gradient but the first stays out of the momentum.
    """

    lr: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    dampening: float = 0.0

    def __post_init__(self) -> None:
        self.check("weight_decay")
        if (
            isinstance(self.dampening, bool)
            or not isinstance(self.dampening, (int, float))
            or not 0 <= self.dampening <= 1
        ):
            raise InputError(f"SGD: dampening must lie in [0, 1]; got {self.dampening!r}")
        self.below_1("momentum", self.momentum)
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise InputError("SGD: nesterov needs a momentum above 0; got momentum 0")
        if self.nesterov and self.dampening:
            raise InputError(f"SGD: nesterov needs dampening 0; got {self.dampening}")

    @property
    def state(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()

    def update(self, p: Sym, g: Sym, lr: Sym, step: Sym, state: tuple[Sym, ...]) -> tuple[Sym, ...]:
        if not state:
            return (OPS["sgd_plain"](p, g, lr, weight_decay=self.weight_decay),)
        if self.dampening:
            g = g + p * self.weight_decay if self.weight_decay else g
            share = 1.0 - OPS["cast_f32"](OPS["ne"](step, 1)) * self.dampening
            buffer = state[0] * self.momentum + g * share
            return p - lr * buffer, buffer
        new: tuple[Sym, ...] = OPS["sgd"](
            p, g, *state, lr, momentum=self.momentum, weight_decay=self.weight_decay, nesterov=self.nesterov
        )
        return new
