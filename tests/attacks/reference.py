"""The same attacks in eager torch with autograd, written from the papers' formulas."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from tritoncnn.attacks import Attack
from tritoncnn.data import Facts


def gradient(net: nn.Module, facts: Facts, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of the sum of losses with respect to pictures from 0 to 1."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (facts.mean, facts.std))
    leaf = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(F.cross_entropy(net((leaf - mean) / std), labels, reduction="sum"), leaf)
    return found


def attacked(
    net: nn.Module, facts: Facts, pictures: torch.Tensor, labels: torch.Tensor, attack: Attack, start: torch.Tensor,
    towards: bool,
) -> torch.Tensor:  # fmt: skip
    x, sign = start.clone(), -1 if towards else 1
    for _ in range(attack.steps):
        g = gradient(net, facts, x, labels)
        if attack.norm == "linf":
            x = x + sign * attack.step_size * g.sign()
            x = pictures + (x - pictures).clamp(-attack.epsilon, attack.epsilon)
        else:
            lengths = g.flatten(1).norm(dim=1).clamp(min=1e-30)[:, None, None, None]
            change = x + sign * attack.step_size * g / lengths - pictures
            far = change.flatten(1).norm(dim=1)[:, None, None, None]
            x = pictures + torch.where(far > attack.epsilon, change * attack.epsilon / far, change)
        x = x.clamp(0, 1)
    return x
