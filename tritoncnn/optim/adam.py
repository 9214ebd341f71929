"""AdamW and Adam: steps by the gradient's moving mean over the root of its moving square."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tritoncnn.errors import InputError
from tritoncnn.ops import OPS, Sym
from tritoncnn.optim.define import Optimizer


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Loshchilov & Hutter 2019, "Decoupled weight decay regularization", as torch.optim.AdamW.

    ``amsgrad``: the largest moving square so far stands for the last one (Reddi et al. 2018).
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01
    amsgrad: bool = False

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
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if self.amsgrad else ("exp_avg", "exp_avg_sq")

    def update(self, p: Sym, g: Sym, lr: Sym, step: Sym, state: tuple[Sym, ...]) -> tuple[Sym, ...]:
        if self.amsgrad:
            return self._with_largest(
                p * (1.0 - lr * self.weight_decay) if self.weight_decay else p, g, lr, step, state
            )
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

    def _with_largest(self, p: Sym, g: Sym, lr: Sym, step: Sym, state: tuple[Sym, ...]) -> tuple[Sym, ...]:
        """The step of ``amsgrad``, from decayed parameters."""
        (beta1, beta2), count = self.betas, OPS["cast_f32"](step)
        mean = state[0] + (g - state[0]) * (1 - beta1)
        square = state[1] * beta2 + g * g * (1 - beta2)
        largest = OPS["maximum"](state[2], square)
        root = OPS["sqrt"](largest) / OPS["sqrt"](_reached(beta2, count)) + self.eps
        return p - lr / _reached(beta1, count) * (mean / root), mean, square, largest


def _reached(beta: float, count: Sym) -> Sym:
    """1 - beta**count, without cancellation: how much of its end a moving mean that began at 0 has reached."""
    return -OPS["expm1"](count * math.log(beta)) if beta else count * 0.0 + 1.0  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Adam(AdamW):
    """Kingma & Ba 2015, "Adam: a method for stochastic optimization", as torch.optim.Adam: weight decay is a part of the
    gradient."""

    weight_decay: float = 0.0

    def update(self, p: Sym, g: Sym, lr: Sym, step: Sym, state: tuple[Sym, ...]) -> tuple[Sym, ...]:
        g = g + p * self.weight_decay if self.weight_decay else g
        decayed = AdamW(betas=self.betas, eps=self.eps, weight_decay=0.0, amsgrad=self.amsgrad)
        return decayed.update(p, g, lr, step, state)
