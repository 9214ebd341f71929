"""Steps uphill: a picture is changed so that a layer answers it more strongly. Two plans of our kernels, replayed."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from tritoncnn.data import Facts
from tritoncnn.frozen import Model, compile_grad_kept, compile_kept, launches_of

LEAK = 0.1
TINY = 1e-30  # above 0 in f32, below any gradient that matters


class Shown(nn.Module):
    """A picture f32[1,C,H,W] from 0 to 1 -> the net's map f32[1,channels,P,Q]."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, net: nn.Module, facts: Facts) -> None:
        super().__init__()
        self.net = net
        for name, values in (("mean", facts.mean), ("std", facts.std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1))

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.net((picture - self.mean) / self.std)
        return maps


class Answers(nn.Module):
    """A picture -> f32[channels]: the mean of each channel over its map, in which what is below 0 counts as 0."""

    def __init__(self, shown: Shown) -> None:
        super().__init__()
        self.shown = shown

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return self.shown(picture).relu().mean((0, 2, 3))


class Climbed(nn.Module):
    """A picture -> the mean of one channel, or of all, in which what is below 0 counts LEAK of itself: with 0 of itself nothing
    would lead to a first answer, with all of itself it would be raised to 0 at the cost of what answers."""

    def __init__(self, shown: Shown, channel: int | None) -> None:
        super().__init__()
        self.shown, self.channel = shown, channel

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        maps = self.shown(picture)
        return F.leaky_relu(maps if self.channel is None else maps[:, self.channel], LEAK).mean()


class Uphill(nn.Module):
    """x + step g / mean |g|, within 0 and 1."""

    def forward(self, x: torch.Tensor, g: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        g = g / g.abs().amax().clamp(min=TINY)  # a mean of small gradients would be 0
        return (x + step * g / g.abs().mean().clamp(min=TINY)).clamp(0.0, 1.0)


class Ascent:
    """Steps on pictures of any size that the net takes; each size has plans of its own."""

    def __init__(self, shown: Shown, channel: int | None, picture: torch.Tensor) -> None:
        """``picture``: one of the sizes to come. Raises UnsupportedError."""
        self._climbed, self._plans = Climbed(shown, channel).eval(), dict[torch.Size, tuple[Model, Model]]()
        self._last = self._planned(picture)

    @property
    def launches(self) -> int:
        """Of one step, at the last size."""
        return sum(map(launches_of, self._last))

    def step(self, picture: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        """The picture after a step of this size, f32[]. Launches of our kernels alone."""
        gradient, uphill = self._last = self._planned(picture)
        moved: torch.Tensor = uphill(picture, gradient(picture)[1], size)
        return moved

    def _planned(self, picture: torch.Tensor) -> tuple[Model, Model]:
        """The gradient and the step for pictures of this size."""
        if picture.shape not in self._plans:
            move = compile_kept(Uphill().eval(), picture, picture, torch.zeros(()))
            self._plans[picture.shape] = compile_grad_kept(self._climbed, picture), move
        return self._plans[picture.shape]
