"""A picture is trained until it has the content of one picture and the style of another. One plan of our kernels, replayed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

import tritoncnn
from tritoncnn import LBFGS, Adam, Update
from tritoncnn.errors import InputError, NonFiniteError
from tritoncnn.flags import TABLE
from tritoncnn.models.perceptual import Maps, content_loss, gram, style_loss, total_variation

OPTIMIZERS = {"lbfgs": LBFGS(1.0), "adam": Adam(0.02)}
STARTS = ("content", "noise")
LOSSES = ("total", "content", "style", "variation")


@dataclass(frozen=True)
class Painting:
    """How to paint.

    content, style, variation  weights of the three losses
    start                      the content's picture, or noise
    """

    content: float = 2.0
    style: float = 100.0
    variation: float = 5.0
    steps: int = 150
    optimizer: str = "lbfgs"
    start: str = "content"
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises InputError naming the flag."""
        for name in ("content", "style", "variation"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"--{name}-weight must be a finite number from 0; got {value}")
        if self.content == self.style == 0:
            raise InputError("--content-weight and --style-weight are both 0: there is nothing to paint")
        for name, known in (("optimizer", OPTIMIZERS), ("start", STARTS)):
            if (value := getattr(self, name)) not in known:
                raise InputError(f"--{name} must be one of {', '.join(known)}; got {value!r}")
        if self.steps < 1:
            raise InputError(f"--steps must be at least 1; got {self.steps}")
        TABLE["seed"].check(self.seed)


@dataclass(frozen=True)
class Painted:
    """The picture f32[1,3,H,W] in 256 levels from 0 to 1; its losses, and those of the first picture; launches of a step."""

    picture: torch.Tensor
    before: dict[str, float]
    after: dict[str, float]
    launches: int


class Canvas(nn.Module):
    """The picture that is trained."""

    def __init__(self, picture: torch.Tensor) -> None:
        super().__init__()
        self.picture = nn.Parameter(picture.clone())


class Wanted(nn.Module):
    """A picture f32[1,3,H,W] -> what a painting shall have of it: Gram matrices as a style, maps as a content."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, picture: torch.Tensor) -> dict[str, list[torch.Tensor]]:
        maps: Maps = self.features(picture)
        return {"style": [gram(m) for m in maps.style], "content": maps.content}


def losses_of(features: nn.Module, picture: torch.Tensor, batch: Any) -> dict[str, torch.Tensor]:
    """The losses of a picture f32[1,3,H,W]: ``total``, by ``batch["weights"]``, and the three in it, by what ``batch`` has of
    ``Wanted``: "content" and "style".
    """
    maps: Maps = features(picture)
    found = {
        "content": content_loss(maps.content, batch["content"]),
        "style": style_loss([gram(m) for m in maps.style], batch["style"]),
        "variation": total_variation(picture),
    }
    return {"total": (torch.stack([*found.values()]) * batch["weights"]).sum(), **found}


class Easel:
    """A picture in work: one plan of forward, losses, backward and optimizer."""

    def __init__(self, features: nn.Module, content: torch.Tensor, style: torch.Tensor, how: Painting) -> None:
        """``content`` and ``style``: f32[1,3,H,W] from 0 to 1, of one size, so that one plan finds what is wanted of both."""
        wanted = tritoncnn.compile(Wanted(features.eval()), content)
        self._batch = {
            "content": wanted(content)["content"],
            "style": wanted(style)["style"],
            "weights": torch.tensor([how.content, how.style, how.variation]),
        }
        self.canvas = Canvas(_first(content, how))

        self.compiled = tritoncnn.compile_step(
            nets={"canvas": self.canvas}, example=self._batch,
            losses=lambda nets, batch: losses_of(features, nets.canvas.picture, batch),
            updates=[Update("total", of="canvas", by=OPTIMIZERS[how.optimizer])],
        )  # fmt: skip

    def step(self) -> dict[str, float]:
        """The losses of the picture as it was, after a step. Launches of our kernels alone."""
        found = self.compiled(self._batch)
        return {name: float(found[name]) for name in LOSSES}

    def finish(self) -> tuple[torch.Tensor, dict[str, float]]:
        """The picture in 256 levels from 0 to 1, and its losses."""
        with torch.no_grad():
            self.canvas.picture.copy_((self.canvas.picture.clamp(0, 1) * 255).round() / 255)
            picture = self.canvas.picture.clone(memory_format=torch.contiguous_format)
        self.compiled.lr = 0.0  # a step that only measures
        return picture, self.step()


def paint(
    features: nn.Module, content: torch.Tensor, style: torch.Tensor, how: Painting,
    progress: Callable[[int, float], None] = lambda _step, _loss: None,
) -> Painted:  # fmt: skip
    """Paint ``content`` in the ``style`` of another picture, both f32[1,3,H,W] from 0 to 1.

    Raises InputError, NonFiniteError, UnsupportedError.
    """
    easel = Easel(features, content, style, how)
    before: dict[str, float] = {}
    for number in range(how.steps):
        found = easel.step()
        before = before or found
        if not math.isfinite(found["total"]):
            raise NonFiniteError(
                f"the loss became {found['total']} at step {number + 1}; --optimizer adam takes smaller steps"
            )
        progress(number + 1, found["total"])
    picture, after = easel.finish()
    return Painted(picture, before, after, len(easel.compiled.plan.calls))


def _first(content: torch.Tensor, how: Painting) -> torch.Tensor:
    if how.start == "content":
        return content
    generator = torch.Generator().manual_seed(how.seed)
    return torch.rand(content.shape, generator=generator)
