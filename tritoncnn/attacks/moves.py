"""One step of an attack and the way back to where it may be: each a plan of our kernels.

Both take f32[N,C,H,W]: pictures x as they are now, the gradient g, the pictures that the attack began with; and numbers
f32[]: epsilon, the step (negative: downhill), the least and the largest value that a picture may have.
"""

from __future__ import annotations

import torch
from torch import nn

TINY = 1e-30  # above 0 in f32, below any length that matters


class MoveLinf(nn.Module):
    """x + step sign(g), no value further from the picture's than epsilon. Where g is 0, x stays."""

    def forward(
        self, x: torch.Tensor, g: torch.Tensor, picture: torch.Tensor,
        epsilon: torch.Tensor, step: torch.Tensor, low: torch.Tensor, high: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        moved = x + step * torch.sign(g)
        near = torch.minimum(torch.maximum(moved, picture - epsilon), picture + epsilon)
        return torch.minimum(torch.maximum(near, low), high)


class MoveL2(nn.Module):
    """x + step g / |g|, drawn back along the straight line to the picture until it is no further than epsilon."""

    def forward(
        self, x: torch.Tensor, g: torch.Tensor, picture: torch.Tensor,
        epsilon: torch.Tensor, step: torch.Tensor, low: torch.Tensor, high: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        g = g / g.abs().amax((1, 2, 3), keepdim=True).clamp(min=TINY)  # squares of small gradients would be 0
        unit = g / length(g).clamp(min=1.0)  # at least 1, its largest value, unless all are 0
        change = x + step * unit - picture
        change = change * (epsilon / length(change).clamp(min=TINY)).clamp(max=1.0)
        return torch.minimum(torch.maximum(picture + change, low), high)


def length(x: torch.Tensor) -> torch.Tensor:
    """f32[N,1,1,1]: the 2-norm of each picture."""
    return x.square().sum((1, 2, 3), keepdim=True).sqrt()


MOVES: dict[str, type[nn.Module]] = {"linf": MoveLinf, "l2": MoveL2}
