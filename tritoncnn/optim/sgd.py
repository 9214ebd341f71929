"""SGD: stochastic gradient descent with momentum."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.errors import InputError
from tritoncnn.ops import OPS, Sym
from tritoncnn.optim.define import Optimizer


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent as torch.optim.SGD (dampening 0)."""

    lr: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        self.check("weight_decay")
        self.below_1("momentum", self.momentum)
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise InputError("SGD: nesterov needs a momentum above 0; got momentum 0")

    @property
    def state(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()

    def update(self, p: Sym, g: Sym, lr: Sym, step: Sym, state: tuple[Sym, ...]) -> tuple[Sym, ...]:
        if not state:
            return (OPS["sgd_plain"](p, g, lr, weight_decay=self.weight_decay),)
        new: tuple[Sym, ...] = OPS["sgd"](
            p, g, *state, lr, momentum=self.momentum, weight_decay=self.weight_decay, nesterov=self.nesterov
        )
        return new
