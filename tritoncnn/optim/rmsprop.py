"""RMSprop: steps by the gradient over the root of its moving square."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.ops import OPS, Sym
from tritoncnn.optim.define import Optimizer


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Tieleman & Hinton 2012, lecture 6.5 of "Neural networks for machine learning", as torch.optim.RMSprop.

    ``centered``: the square of the moving mean is taken off the moving square (Graves 2013).
    """

    lr: float = 0.01
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False

    def __post_init__(self) -> None:
        self.check("eps", "weight_decay")
        self.below_1("alpha", self.alpha)
        self.below_1("momentum", self.momentum)
        super().__post_init__()

    @property
    def state(self) -> tuple[str, ...]:
        return ("square_avg", *(["grad_avg"] if self.centered else []), *(["momentum_buffer"] if self.momentum else []))

    def update(self, p: Sym, g: Sym, lr: Sym, step: Sym, state: tuple[Sym, ...]) -> tuple[Sym, ...]:
        g = g + p * self.weight_decay if self.weight_decay else g
        square = state[0] * self.alpha + g * g * (1 - self.alpha)
        new, spread = [square], square
        if self.centered:
            mean = state[1] + (g - state[1]) * (1 - self.alpha)
            new, spread = [square, mean], square - mean * mean
        move = g / (OPS["sqrt"](spread) + self.eps)
        if self.momentum:
            move = state[-1] * self.momentum + move
            new.append(move)
        return p - lr * move, *new
