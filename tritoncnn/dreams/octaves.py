"""Dreaming: a picture is shown to a net at growing sizes, and each time changed towards what a layer sees in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tritoncnn.data import Facts
from tritoncnn.data.define import Array
from tritoncnn.dreams.ascent import Answers, Ascent, Shown
from tritoncnn.dreams.layers import ALL, cut_behind, find_channel, find_layer, layers_of, map_of
from tritoncnn.errors import InputError
from tritoncnn.flags import TABLE
from tritoncnn.frozen import compile_kept

STEPS = (2, 4, 8, 16, 32)  # of which sides of pictures may have to be multiples
MOST_JITTER = 4096  # pixels, as many as a picture is large at most
OCTAVE = 1.4  # between the sizes of two octaves


@dataclass(frozen=True)
class Dreaming:
    """How to dream.

    layer           what shall answer more strongly; None: the last one whose map is not yet tiny
    channel         of the layer: its number, "all" for the mean of all; None: of those that answer the picture the middle one
    octaves         sizes at which the picture is shown, each 1.4 times the one before; the last is its own
    steps           uphill at each size, by ``step_size`` in the mean (white is 1)
    jitter          before each step the picture is shifted by up to so many pixels, so that the net's strides leave no grid
    """

    layer: str | None = None
    channel: str | None = None
    octaves: int = 4
    steps: int = 20
    step_size: float = 0.01
    jitter: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises InputError naming the flag."""
        for flag, value in (("octaves", self.octaves), ("steps", self.steps)):
            if value < 1:
                raise InputError(f"--{flag} must be at least 1; got {value}")
        if not 0 <= self.jitter <= MOST_JITTER:
            raise InputError(f"--jitter must be from 0 to {MOST_JITTER}; got {self.jitter}")
        if not (math.isfinite(self.step_size) and self.step_size > 0):
            raise InputError(f"--step-size must be a finite number above 0; got {self.step_size}")
        TABLE["seed"].check(self.seed)


@dataclass(frozen=True)
class Dream:
    """The picture f32[C,H,W] in 256 levels from 0 to 1, and what is known of it, for machines (JSON)."""

    picture: Array
    note: dict[str, Any]


def dream(
    module: nn.Module, facts: Facts, sizes: Sequence[int], picture: Array, how: Dreaming,
    tell: Callable[[str], None] = lambda _: None,
) -> Dream:  # fmt: skip
    """Dream of a picture f32[C,H,W] from 0 to 1, of any size that the net takes up to the layer.

    ``sizes`` are those [1,C,H,W] of pictures that the whole net takes. Answers are means in which what is below 0 counts as 0:
    to the picture as it is written, in 256 levels, and beside it to the first one under random signs of the same mean square
    as the change.
    Raises InputError, UnsupportedError.
    """
    layers = layers_of(module, sizes)
    layer = find_layer(how.layer, layers)
    net = cut_behind(module, layer)
    octaves = _octaves(net, picture.shape, how.octaves, layer)
    if len(octaves) < how.octaves:
        tell(f"{len(octaves)} of {how.octaves} octaves: smaller pictures are too small for layer {layer!r}")
    base = torch.from_numpy(np.ascontiguousarray(picture))[None]
    shown = Shown(net, facts).eval()
    answers = compile_kept(Answers(shown).eval(), base)
    channel = find_channel(how.channel, layer, layers, lambda: answers(base))
    pick = torch.mean if channel is None else itemgetter(channel)
    ascent = Ascent(shown, channel, base)
    random = np.random.RandomState(how.seed % 2**32)
    step, change, x = torch.tensor(how.step_size), torch.zeros_like(base), base
    for size in octaves:
        resized = _resized(base, size)
        x = (resized + _resized(change, size)).clamp(0, 1)
        for _ in range(how.steps):
            down, right = random.randint(-how.jitter, how.jitter + 1, 2).tolist()
            x = torch.roll(ascent.step(torch.roll(x, (down, right), (2, 3)), step), (-down, -right), (2, 3))
        change = x - resized
        tell(f"dreamt at {size[1]} x {size[0]} pixels")
    written = (x * 255).round() / 255
    signs = torch.from_numpy(random.choice([-1.0, 1.0], tuple(x.shape)).astype(np.float32))
    noisy = (base + signs * (written - base).square().mean().sqrt()).clamp(0, 1)
    before, after, noise = (float(pick(answers(picture))) for picture in (base, written, noisy))
    note = {
        "layer": layer, "channel": ALL if channel is None else channel, "octaves": [[width, height] for height, width in octaves],
        "steps": how.steps, "step_size": how.step_size, "jitter": how.jitter, "seed": how.seed,
        "before": before, "after": after, "noise": noise, "ratio": after / before if before > 0 else None,
        "launches": ascent.launches,
    }  # fmt: skip
    return Dream(written[0].numpy(), note)


def _octaves(net: nn.Module, shape: Sequence[int], count: int, layer: str) -> list[tuple[int, int]]:
    """[H, W] of each octave that is large enough for the layer to answer, the smallest first. Raises InputError."""
    channels, height, width = shape
    found: list[tuple[int, int]] = []
    for number in range(count):
        size = round(height / OCTAVE**number), round(width / OCTAVE**number)
        if 0 in size or map_of(net, (1, channels, *size)) is None:
            break
        found.insert(0, size)
    if not found:
        for step in STEPS:  # of a net that adds maps of two sizes
            size = height // step * step, width // step * step
            if 0 not in size and map_of(net, (1, channels, *size)) is not None:
                raise InputError(
                    f"layer {layer!r} takes no picture of {width} x {height} pixels, but one whose sides are multiples of "
                    f"{step}: cut it to {size[1]} x {size[0]}"
                )
        raise InputError(
            f"a picture of {width} x {height} pixels is too small for layer {layer!r}; --size makes it larger"
        )
    return found


def _resized(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """f32[1,C,H,W] of another size, smoothly."""
    if tuple(x.shape[2:]) == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
