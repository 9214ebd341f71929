"""Pictures -> adversarial pictures: one plan for the gradient and one for the step, replayed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from tritoncnn.attacks.attack import Attack
from tritoncnn.attacks.draws import random_start
from tritoncnn.attacks.moves import MOVES
from tritoncnn.data import Facts
from tritoncnn.errors import InputError
from tritoncnn.frozen import compile_grad_kept, compile_kept, launches_of

BATCH = 64
SLACK = 1e-3  # by which rounding may carry a normalised picture beyond black and white
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Objective(nn.Module):
    """(pictures f32[N,C,H,W] as they were before normalising, classes i64[N]) -> the sum of their losses."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, module: nn.Module, facts: Facts) -> None:
        super().__init__()
        self.module = module
        for name, values in (("mean", facts.mean), ("std", facts.std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1))

    def forward(self, pictures: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self.module((pictures - self.mean) / self.std), classes, reduction="sum")


def bounds_of(pictures: torch.Tensor) -> tuple[float, float]:
    """The least and the largest value that a changed picture may have: black and white, 0 and 1.

    Pictures that were evened out, each to mean 0 and deviation 1, have no black and white: nothing bounds theirs.
    """
    low, high = float(pictures.min()), float(pictures.max())
    return (0.0, 1.0) if low >= -SLACK and high <= 1 + SLACK else (-float("inf"), float("inf"))


class Attacker:
    """Attacks on one classifier in eval mode, whose parameters it reads and never changes."""

    def __init__(self, module: nn.Module, facts: Facts, norm: str, like: torch.Tensor) -> None:
        """``like``: pictures f32[N,C,H,W] as there will be, of any number. Raises InputError, UnsupportedError."""
        if any(part.training for part in module.modules()):
            raise InputError("an attack needs the model in eval mode; got one in training mode")
        self.norm = norm
        self.x, self.picture = (torch.zeros(min(BATCH, len(like)), *like.shape[1:]) for _ in range(2))
        self.classes = torch.zeros(len(self.x), dtype=torch.int64)
        self.gradient = compile_grad_kept(Objective(module, facts).eval(), self.x, self.classes)
        self.numbers = tuple(torch.zeros(()) for _ in range(4))  # epsilon, step, low, high
        self._move = compile_kept(MOVES[norm]().eval(), self.x, self.x, self.picture, *self.numbers)

    @property
    def launches(self) -> int:
        """Of one step: the gradient's and the move's."""
        return launches_of(self.gradient) + launches_of(self._move)

    def step(self) -> None:
        """Move the batch by one step. Launches of our kernels alone."""
        _, gradient = self.gradient(self.x, self.classes)
        self.x = self._move(self.x, gradient, self.picture, *self.numbers)

    def perturb(
        self, pictures: torch.Tensor, classes: torch.Tensor, attack: Attack, *, towards: bool = False
    ) -> torch.Tensor:
        """Pictures f32[N,C,H,W], within ``attack.epsilon`` of those given, that the model takes least for ``classes``;
        ``towards``: most.

        Values stay from 0 to 1, where the pictures' do. Which random numbers a picture gets depends on its place alone.
        """
        assert attack.norm == self.norm, f"made for {self.norm}; got {attack.norm}"
        step = -attack.step_size if towards else attack.step_size
        for number, value in zip(self.numbers, (attack.epsilon, step, *bounds_of(pictures)), strict=True):
            number.fill_(value)
        begin = start_of(pictures, attack)
        size, parts = len(self.picture), []
        for first in range(0, len(pictures), size):
            rows = slice(first, min(first + size, len(pictures)))
            count = rows.stop - first
            self.x = torch.zeros_like(self.picture)
            self.x[:count], self.picture[:count], self.classes[:count] = begin[rows], pictures[rows], classes[rows]
            for _ in range(attack.steps):
                self.step()
            parts.append(self.x[:count].clone())
        return torch.cat(parts)


def start_of(pictures: torch.Tensor, attack: Attack) -> torch.Tensor:
    """Where the first step begins."""
    if not attack.random_start:
        return pictures.clone()
    low, high = bounds_of(pictures)
    noise = random_start(attack.norm, pictures.shape, attack.seed)
    return (pictures + attack.epsilon * noise).clamp(low, high)
