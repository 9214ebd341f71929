"""Nets that tell something of each pixel once more, as functions of a state dict: other code, the same papers."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from tests.models.independent import State, conv_norm


def pair(state: State, name: str, x: torch.Tensor, count: int = 2) -> torch.Tensor:
    for conv in range(0, 3 * count, 3):
        x = conv_norm(state, f"{name}.{conv}", f"{name}.{conv + 1}", x).relu()
    return x


def halved(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]).amax(0)


def doubled(x: torch.Tensor) -> torch.Tensor:
    """Bilinear, between the middles of pixels: of each pixel three quarters, of its neighbour one quarter."""
    for dim in (2, 3):
        first, last = x.narrow(dim, 0, 1), x.narrow(dim, x.shape[dim] - 1, 1)
        wide = torch.cat([first, x, last], dim)
        count = x.shape[dim]
        before, after = (wide.narrow(dim, start, count) for start in (0, 2))
        x = torch.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], dim + 1).flatten(dim, dim + 1)
    return x


def dense(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    """A 1 x 1 convolution."""
    return torch.einsum("kc,nchw->nkhw", state[f"{name}.weight"][:, :, 0, 0], x) + state[f"{name}.bias"][:, None, None]


def fcn(state: State, x: torch.Tensor) -> torch.Tensor:
    one = pair(state, "levels.0", x)
    two = pair(state, "levels.1", halved(one))
    four = pair(state, "levels.2", halved(two))
    eight = pair(state, "levels.3", halved(four))
    y = dense(state, "scores.2", eight)
    for number, level in ((0, four), (1, two)):
        grown = F.conv_transpose2d(y, state[f"grow.{number}.weight"], stride=2, padding=1)
        y = grown + dense(state, f"scores.{1 - number}", level)
    return doubled(y)


def segnet(state: State, x: torch.Tensor) -> torch.Tensor:
    masks = []
    for number in range(3):
        x = pair(state, f"encoder.{number}", x, 2 if number else 1)
        windows = torch.stack([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)])
        masks.append(F.one_hot(windows.argmax(0), 4).permute(4, 0, 1, 2, 3))
        x = windows.amax(0)
    for number in (2, 1, 0):
        N, C, H, W = x.shape
        spread = (x * masks[number]).reshape(2, 2, N, C, H, W).permute(2, 3, 4, 0, 5, 1).reshape(N, C, 2 * H, 2 * W)
        x = pair(state, f"decoder.{number}", spread, 2 if number else 1)
    return dense(state, "last", x)


def looked(state: State, name: str, x: torch.Tensor, rate: int = 1) -> torch.Tensor:
    """conv_norm with taps ``rate`` apart: of each of rate x rate interleaved pictures one, as if they stood alone."""
    weight = state[f"{name}.0.weight"]
    side = weight.shape[-1] // 2
    wide = F.pad(x, (side * rate,) * 4)
    H, W = x.shape[2:]
    y = sum(
        torch.einsum("kc,nchw->nkhw", weight[:, :, i, j], wide[:, :, i * rate : i * rate + H, j * rate : j * rate + W])
        for i in range(weight.shape[2])
        for j in range(weight.shape[3])
    )
    assert isinstance(y, torch.Tensor)
    mean = y.mean((0, 2, 3), keepdim=True)
    var = ((y - mean) ** 2).mean((0, 2, 3), keepdim=True)
    scale, shift = (state[f"{name}.1.{part}"].view(1, -1, 1, 1) for part in ("weight", "bias"))
    return ((y - mean) / (var + 1e-5).sqrt() * scale + shift).relu()


def deeplab(state: State, x: torch.Tensor) -> torch.Tensor:
    x = pair(state, "body.2", halved(pair(state, "body.0", x)))
    x = looked(state, "body.4", looked(state, "body.3", x, 2), 4)
    looks = [looked(state, f"pyramid.looks.{number}", x, rate) for number, rate in enumerate((1, 2, 4, 6))]
    whole = looked(state, "pyramid.whole", x.mean((2, 3), keepdim=True)).expand_as(looks[0])
    return doubled(dense(state, "last", looked(state, "pyramid.project", torch.cat([*looks, whole], 1))))


def unet(state: State, x: torch.Tensor) -> torch.Tensor:
    seen = [pair(state, "encoder.0", x)]
    for number in (1, 2, 3):
        seen.append(pair(state, f"encoder.{number}", halved(seen[-1])))
    y = seen[3]
    for number in (2, 1, 0):
        weight = state[f"grow.{number}.weight"]
        N, _, H, W = y.shape
        spread = torch.einsum("nchw,ckij->nkhiwj", y, weight).reshape(N, -1, 2 * H, 2 * W)
        y = spread + state[f"grow.{number}.bias"][:, None, None]
        skips = state[f"decoder.{number}.0.weight"].shape[1] > y.shape[1]
        y = pair(state, f"decoder.{number}", torch.cat([seen[number], y], 1) if skips else y)
    return dense(state, "last", y)
