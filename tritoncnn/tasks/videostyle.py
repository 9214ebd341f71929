"""A net that paints frames in one style without flicker: what one frame shows, the next one shows as well, moved along.

Sources: Ruder et al. 2016, "Artistic style transfer for videos" (the warped frame and the mask); Huang et al. 2017, "Real-time
neural style transfer for videos", and Gupta et al. 2017, "Characterizing and improving stability in neural style transfer" (as a
loss of a net for single frames; flow is needed for training only). Error: Lai et al. 2018, "Learning blind video temporal
consistency".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F

from tritoncnn.data.canvas import NOTHING, PATCH, new_features
from tritoncnn.data.whole import WholeReader
from tritoncnn.flags import FROM_0, option
from tritoncnn.models.style_net import LEAST
from tritoncnn.task import Example, Losses, Metric, Recipe, Step, Task
from tritoncnn.tasks.kinds.painting import (
    NET,
    OPTIONS,
    as_picture,
    build,
    clash,
    content_of,
    draw_painted,
    grams_like,
    painted,
    style_of,
)


def warping_error(now: torch.Tensor, then: torch.Tensor, grid: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Mean square of the difference between a frame and the next one taken back along the flow, over what is seen in both.

    now, then f32[N,3,H,W]; grid f32[N,H,W,2] for ``grid_sample``; seen f32[N,1,H,W].
    """
    back = F.grid_sample(then, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return ((now - back).square().mean(1, keepdim=True) * seen).sum() / seen.sum().clamp(min=1.0)


def example(batch: int) -> Example:
    side = PATCH.default
    x = torch.zeros(batch, 6, side, side)
    grid, seen = torch.zeros(batch, side, side, 2), torch.ones(batch, 1, side, side)
    return Example(x, {"style": grams_like(batch), "content": x, "grid": grid, "seen": seen}, NOTHING)


def losses(values: Mapping[str, Any]) -> Losses:
    def compute(nets: Any, batch: Any) -> dict[str, torch.Tensor]:
        N, _, H, W = batch.x.shape
        frames = batch.x.reshape(2 * N, 3, H, W)
        outputs = nets.model(frames)
        grams = [g.repeat_interleave(2, 0) for g in batch.y["style"]]
        found = painted(nets.features, outputs, frames, grams, values)
        pairs = outputs.reshape(N, 2, 3, H, W)
        warp = warping_error(pairs[:, 0], pairs[:, 1], batch.y["grid"], batch.y["seen"])
        return {**found, "loss": found["loss"] + values["temporal"] * warp, "warp": warp}

    return compute


def error_of(outputs: torch.Tensor, targets: Any) -> float:
    """The warping error of outputs f32[N,6,H,W], pairs of frames."""
    now, then = outputs.double().chunk(2, 1)
    return float(warping_error(now, then, targets["grid"].double(), targets["seen"].double()))


task = Task(
    name="videostyle",
    about="frames painted in one style without flicker, after Ruder et al. 2016, Huang et al. 2017 and Gupta et al. 2017",
    models={"johnson": build},
    data=("pans", "clips"),
    loss=Step(
        losses=losses,
        tells=("style", "content", "warp"),
        nets={"features": lambda facts, values: new_features()},
        options=(
            *OPTIONS,
            option("temporal", 1000.0, "Weight of the warping error (0: each frame for itself).", FROM_0),
        ),
    ),
    metrics={
        "warping_error": Metric(error_of, error=True),
        "style_loss": Metric(style_of, error=True),
        "content_loss": Metric(content_of, error=True),
    },
    best="warping_error",
    example=example,
    read=WholeReader(LEAST),
    answer=as_picture,
    recipe=Recipe(epochs=3, batch=2, steps=600, optimizer="adam", lr=0.005, momentum=0.0, weight_decay=0.0),
    options=NET,
    clash=clash,
    pictures={"painted.png": draw_painted},
)
