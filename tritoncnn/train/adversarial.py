"""Adversarial training: each batch is changed so that the model, as it is at that step, answers it more wrongly."""

from __future__ import annotations

import torch
from torch import nn

import tritoncnn
from tritoncnn.attacks import bounds_of
from tritoncnn.attacks.attack import WONG
from tritoncnn.attacks.moves import MoveLinf
from tritoncnn.augment.draws import Draws
from tritoncnn.data import Facts
from tritoncnn.task import Loss


class Adversary:
    """One step of FGSM from a random start, within ``epsilon`` of each value before normalising.

    Source: Wong, Rice, Kolter 2020, "Fast is better than free: revisiting adversarial training". Where the model has batch
    norm or dropout, the gradient is that in eval mode: a step moves running statistics once.
    """

    def __init__(
        self, module: nn.Module, loss: Loss, facts: Facts, x: torch.Tensor, y: torch.Tensor, epsilon: float
    ) -> None:
        """``module`` is in training mode, and is so afterwards; ``x``, ``y``: a batch as there will be, normalised."""
        mean, std = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (facts.mean, facts.std))
        low, high = bounds_of(x * std + mean)
        self._reach = epsilon / std
        self._numbers = (self._reach, WONG * self._reach, (low - mean) / std, (high - mean) / std)
        module.eval()
        self._gradient = tritoncnn.compile_grad(lambda x, y: loss(module(x), y), wrt="x", example=(x, y))
        module.train()
        self._move = tritoncnn.compile(MoveLinf().eval(), (x, x, x, *self._numbers))

    def change(self, x: torch.Tensor, y: torch.Tensor, draws: Draws) -> None:
        """Change the batch ``x`` in place; its random start follows from seed, epoch and the examples alone."""
        noise = draws.uniform("adversarial", x[0].numel()).astype("float32").reshape(x.shape) * 2 - 1
        _, _, low, high = self._numbers
        start = torch.minimum(torch.maximum(x + self._reach * torch.from_numpy(noise), low), high)
        _, gradient = self._gradient(start, y)
        x.copy_(self._move(start, gradient, x, *self._numbers))
