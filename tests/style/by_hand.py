"""Perceptual losses in f64, written anew; only the filters are the net's."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tritoncnn.models.perceptual import RandomFilters

LINE = torch.tensor([1, 3, 3, 1], dtype=torch.float64) / 8
TAPS = (LINE[:, None] * LINE[None])[None, None]


def maps_of(x: torch.Tensor, net: RandomFilters) -> list[torch.Tensor]:
    found, x = [], (x.double() - 0.5) * 4
    for level in range(net.levels):
        if level:
            padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
            x = torch.cat([F.conv2d(padded[:, c : c + 1], TAPS, stride=2) for c in range(3)], 1)
        bank = net.get_buffer(f"bank{level}").double()
        found.append(F.conv2d(F.pad(x, (3, 3, 3, 3), mode="reflect"), bank).clamp(min=0))
    return found


def product(maps: torch.Tensor) -> torch.Tensor:
    return torch.einsum("nkpq,nlpq->nkl", maps, maps) / (maps.shape[2] * maps.shape[3])


def level_out(maps: torch.Tensor) -> torch.Tensor:
    variance = maps.var((2, 3), correction=0, keepdim=True)
    return (maps - maps.mean((2, 3), keepdim=True)) / (variance + 1e-5).sqrt()


def losses(
    x: torch.Tensor, content: torch.Tensor, grams: list[torch.Tensor], net: RandomFilters
) -> dict[str, torch.Tensor]:
    x_maps, c_maps = maps_of(x, net), maps_of(content, net)
    styles = [
        (product(maps) - gram).pow(2).sum((1, 2)).mean() / gram.pow(2).sum((1, 2)).mean()
        for maps, gram in zip(x_maps, grams, strict=True)
    ]
    flat = [(level_out(a), level_out(b)) for a, b in zip(x_maps[net.coarse :], c_maps[net.coarse :], strict=True)]
    x = x.double()
    return {
        "style": torch.stack(styles).mean(),
        "content": torch.stack([(f - p).pow(2).sum() / p.pow(2).sum() for f, p in flat]).mean(),
        "variation": x.diff(dim=2).pow(2).mean() + x.diff(dim=3).pow(2).mean(),
    }
