"""AdamW and Adam: steps by the gradient's moving mean over the root of its moving square."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tritoncnn.errors import InputError
from tritoncnn.ops import OPS, Sym
from tritoncnn.optim.define import Optimizer


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Loshchilov & Hutter 2019, "Decoupled weight decay regularization", as torch.optim.AdamW."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        self.check("eps", "weight_decay")
        if not isinstance(self.betas, (tuple, list)) or len(self.betas) != 2:
            raise InputError(f"{type(self).__name__}: betas must be two numbers in [0, 1); got {self.betas!r}")
        for beta in self.betas:
            if isinstance(beta, bool) or not isinstance(beta, (int, float)) or not 0 <= beta < 1:
                raise InputError(f"{type(self).__name__}: betas must lie in [0, 1); got {self.betas!r}")
        super().__post_init__()

    @property
    def state(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def update(self, p: Sym, g: Sym, lr: Sym, step: Sym, state: tuple[Sym, ...]) -> tuple[Sym, ...]:
        new: tuple[Sym, ...] = OPS["adamw"](
            p,
            g,
            *state,
            lr,
            step,
            beta1=self.betas[0],
            beta2=self.betas[1],
            eps=self.eps,
            weight_decay=self.weight_decay,
        )
        return new


@dataclass(frozen=True)
class Adam(AdamW):
    """Kingma & Ba 2015, "Adam: a method for stochastic optimization", as torch.optim.Adam: weight decay is a part of the
    gradient."""

    weight_decay: float = 0.0

    def update(self, p: Sym, g: Sym, lr: Sym, step: Sym, state: tuple[Sym, ...]) -> tuple[Sym, ...]:
        g = g + p * self.weight_decay if self.weight_decay else g
        return replace(AdamW(), betas=self.betas, eps=self.eps, weight_decay=0.0).update(p, g, lr, step, state)
