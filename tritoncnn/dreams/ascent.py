"""Steps uphill: a picture is changed so that a layer answers it more strongly. Two plans of our kernels, replayed."""

from __future__ import annotations

import torch
from torch import nn

import tritoncnn
from tritoncnn.data import Facts

TINY = 1e-30  # above 0 in f32, below any gradient that matters


class Activation(nn.Module):
    """A picture f32[1,C,H,W] from 0 to 1 -> the mean of one channel of the net's map, or of all."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, net: nn.Module, facts: Facts, channel: int | None) -> None:
        super().__init__()
        self.net, self.channel = net, channel
        for name, values in (("mean", facts.mean), ("std", facts.std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1))

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        maps = self.net((picture - self.mean) / self.std)
        return (maps if self.channel is None else maps[:, self.channel]).mean()


class Uphill(nn.Module):
    """x + step g / mean |g|, within 0 and 1."""

    def forward(self, x: torch.Tensor, g: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        g = g / g.abs().amax().clamp(min=TINY)  # a mean of small gradients would be 0
        return (x + step * g / g.abs().mean().clamp(min=TINY)).clamp(0.0, 1.0)


class Ascent:
    """Steps on pictures of any size that the net takes; each size has plans of its own."""

    def __init__(self, activation: Activation, picture: torch.Tensor) -> None:
        """``picture``: one of the sizes to come. Raises UnsupportedError."""
        self._gradient = tritoncnn.compile_grad(activation.eval(), wrt="picture", example=(picture,))
        self._uphill = tritoncnn.compile(Uphill().eval())

    def activation(self, picture: torch.Tensor) -> float:
        return float(self._gradient(picture)[0])

    def step(self, picture: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        """The picture after a step of this size, f32[]. Launches of our kernels alone."""
        _, gradient = self._gradient(picture)
        moved: torch.Tensor = self._uphill(picture, gradient, size)
        return moved
