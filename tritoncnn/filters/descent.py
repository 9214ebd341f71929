"""The filter between two pictures by descent: a convolution is trained, on our kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import tritoncnn
from tritoncnn.filters.equations import Numbers, Pair
from tritoncnn.filters.taps import Taps

SIDE = 384  # of larger pictures a square of this side is learned from
HISTORY = 40  # pairs that L-BFGS keeps
ROUNDS = 2
LOSS = 1e4  # of a filter of zeros: f32 then has room below, as has the optimizer's bound on curvature
DONE = 1e-12  # of the first loss: what f32 can do
PATIENCE, WORTH = 40, 0.9  # so many steps that do not bring the loss to this share of the lowest are the end


@dataclass(frozen=True)
class Descent:
    """taps, offset  as in ``Solution``
    losses        mean square of the residual over that of the picture behind, before each step
    launches      of one step
    """

    taps: Taps
    offset: float
    losses: tuple[float, ...]
    launches: int


def descend(pair: Pair, steps: int, offset: bool = False) -> Descent:
    """Learn the filter in at most ``steps`` steps of L-BFGS from a filter of zeros, in f32.

    What f32 leaves over is found in f64, scaled up and learned once more (iterative refinement: Wilkinson 1963, "Rounding
    errors in algebraic processes"). Where an offset is sought, the picture before is shifted to a mean of 0, so that taps and
    offset do not depend on each other.
    """
    x, y = _square(pair)
    if offset:
        middle = float(x.mean())
        found = _learn(x - middle, y, pair.size, steps, True)
        return Descent(found.taps, found.offset - middle * float(found.taps.sum()), found.losses, found.launches)
    return _learn(x, y, pair.size, steps, False)


def _learn(x: Numbers, y: Numbers, size: tuple[int, int], steps: int, offset: bool) -> Descent:
    conv = nn.Conv2d(1, 1, size, bias=offset)
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    optimizer = tritoncnn.LBFGS(
        history_size=min(HISTORY, size[0] * size[1] + 1), tolerance_grad=0.0, tolerance_change=0.0
    )
    before = torch.from_numpy(x.astype(np.float32))[:, None]
    behind = torch.zeros(len(y), 1, *y.shape[1:])
    step = tritoncnn.compile_step(conv, loss, optimizer, (before, behind))
    zeros, begin = step.state_dict(), step.optimizer_state()
    taps, added, losses = np.zeros(size), 0.0, list[float]()
    whole = rest = float(np.sqrt((y**2).mean()))
    for _ in range(ROUNDS):
        left = steps - len(losses)
        if not left or not rest:
            break
        step.load_state_dict(zeros)
        step.load_optimizer_state(begin)
        behind.copy_(torch.from_numpy((_remainder(x, y, taps) - added) / rest)[:, None])
        best, seen = _descend(step, before, behind, left)
        losses += [value * (rest / whole) ** 2 for value in seen]
        taps = taps + best["weight"][0, 0].double().numpy() * rest
        added += float(best["bias"]) * rest if offset else 0.0
        rest = float(np.sqrt(((_remainder(x, y, taps) - added) ** 2).mean()))
    return Descent(taps, added, tuple(losses), len(step.plan.calls))


def loss(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return F.mse_loss(found, wanted) * LOSS


def _descend(
    step: tritoncnn.CompiledStep, before: torch.Tensor, behind: torch.Tensor, steps: int
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """(the parameters of the lowest loss, the loss before each step)"""
    best, lowest, marked = step.state_dict(), float("inf"), (0, float("inf"))
    losses: list[float] = []
    for number in range(steps):
        now = step.state_dict()
        losses.append(float(step(before, behind)) / LOSS)
        if losses[-1] < lowest:
            best, lowest = now, losses[-1]
        if lowest < WORTH * marked[1]:
            marked = number, lowest
        if lowest <= DONE or number - marked[0] >= PATIENCE:
            break
    return best, losses


def _remainder(x: Numbers, y: Numbers, taps: Taps) -> Numbers:
    """What the filter leaves of the picture behind, in f64."""
    P, Q = y.shape[1:]
    for (r, s), tap in np.ndenumerate(taps):
        y = y - tap * x[:, r : r + P, s : s + Q]
    return y


def _square(pair: Pair) -> tuple[Numbers, Numbers]:
    """(before, behind) where the picture before varies most, of nine places."""
    P, Q = pair.behind.shape[1:]
    height, width = min(P, SIDE), min(Q, SIDE)
    R, S = pair.size

    def part(top: int, left: int) -> tuple[Numbers, Numbers]:
        return (
            pair.before[:, top : top + height + R - 1, left : left + width + S - 1],
            pair.behind[:, top : top + height, left : left + width],
        )

    places = {((P - height) * i // 2, (Q - width) * j // 2) for i in range(3) for j in range(3)}
    return max((part(*place) for place in sorted(places)), key=lambda parts: float(parts[0].var()))
