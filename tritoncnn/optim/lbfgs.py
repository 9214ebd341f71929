"""L-BFGS: steps by an inverse Hessian that the last few gradients and moves tell."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.errors import InputError
from tritoncnn.ops import OPS, Sym
from tritoncnn.optim.define import Optimizer

CURVED = 1e-10  # y . s of a pair that is kept, as in torch


@dataclass(frozen=True)
class LBFGS(Optimizer):
    """Liu & Nocedal 1989, "On the limited memory BFGS method", as torch.optim.LBFGS with max_iter=1 and no line search: one
    gradient and one move of ``lr`` times the direction per step.

    ``history_size`` pairs (torch's default is 100) are kept, two arenas each. A gradient of at most ``tolerance_grad``, or a
    slope along the direction of at most ``tolerance_change``, moves nothing.
    """

    lr: float = 1.0
    history_size: int = 10
    tolerance_grad: float = 1e-7
    tolerance_change: float = 1e-9

    def __post_init__(self) -> None:
        self.check("tolerance_grad", "tolerance_change")
        if isinstance(self.history_size, bool) or not isinstance(self.history_size, int) or self.history_size < 1:
            raise InputError(f"LBFGS: history_size must be a whole number from 1; got {self.history_size!r}")
        if self.groups:
            raise InputError(f"LBFGS: all parameters share one direction, there are no groups; got {self.groups!r}")
        super().__post_init__()

    @property
    def state(self) -> tuple[str, ...]:
        pairs = range(self.history_size)
        return ("prev_grad", "prev_move", *(f"old_dirs_{i}" for i in pairs), *(f"old_stps_{i}" for i in pairs))

    def update(self, p: Sym, g: Sym, lr: Sym, step: Sym, state: tuple[Sym, ...]) -> tuple[Sym, ...]:
        before, move, *pairs = state
        done = OPS["le"](OPS["amax"](OPS["abs"](g), dims=(0,)), self.tolerance_grad)
        first = OPS["eq"](_dot(before, before), 0.0)  # states start as zeros, and no gradient that moved was 0

        # The newest pair comes last; a move along which the gradient did not grow is forgotten.
        y = g - before
        kept = OPS["where"](done, False, OPS["gt"](_dot(y, move), CURVED))
        ys = _pushed(kept, pairs[: self.history_size], y)
        ss = _pushed(kept, pairs[self.history_size :], move)
        d = -_direction(g, ys, ss)

        lengths = OPS["minimum"](OPS["reciprocal"](OPS["sum"](OPS["abs"](g), dims=(0,))), 1.0)
        d = d * (OPS["where"](first, lengths, 1.0) * lr)
        flat = OPS["gt"](_dot(g, d), -self.tolerance_change * lr)
        to = OPS["where"](done, p, OPS["where"](flat, p, p + d))
        return (to, OPS["where"](done, before, g), OPS["where"](done, move, d), *ys, *ss)


def _dot(a: Sym, b: Sym) -> Sym:
    return OPS["sum"](a * b, dims=(0,))  # type: ignore[no-any-return]


def _pushed(kept: Sym, old: list[Sym], new: Sym) -> list[Sym]:
    """old[1:] and ``new`` where it is ``kept``."""
    return [OPS["where"](kept, after, now) for now, after in zip(old, [*old[1:], new], strict=True)]


def _direction(g: Sym, ys: list[Sym], ss: list[Sym]) -> Sym:
    """H g by the two loops of Nocedal & Wright 2006, "Numerical optimization", algorithm 7.4. Pairs of zeros count nothing."""
    curved = [_dot(y, s) for y, s in zip(ys, ss, strict=True)]
    rho = [OPS["where"](OPS["gt"](c, CURVED), OPS["reciprocal"](c), 0.0) for c in curved]
    q, a = g, {}
    for i in reversed(range(len(ys))):
        a[i] = rho[i] * _dot(ss[i], q)
        q = q - a[i] * ys[i]
    q = q * OPS["where"](OPS["gt"](curved[-1], CURVED), curved[-1] / _dot(ys[-1], ys[-1]), 1.0)
    for i in range(len(ys)):
        q = q + ss[i] * (a[i] - rho[i] * _dot(ys[i], q))
    return q
