"""Random changes of pictures: where an attack begins, and the noise that it is compared with."""

from __future__ import annotations

import torch

Sizes = torch.Size | tuple[int, ...]


def random_start(norm: str, sizes: Sizes, seed: int) -> torch.Tensor:
    """f32[N,C,H,W], each picture uniform in the unit ball of ``norm``."""
    generator = torch.Generator().manual_seed(seed)
    if norm == "linf":
        return torch.rand(sizes, generator=generator) * 2 - 1
    radius = torch.rand(sizes[0], generator=generator, dtype=torch.float64)
    dims = sizes[1] * sizes[2] * sizes[3]
    return _directions(sizes, generator) * (radius ** (1 / dims)).float()[:, None, None, None]


def same_size_noise(norm: str, sizes: Sizes, seed: int) -> torch.Tensor:
    """f32[N,C,H,W], each picture of length 1 in ``norm``, its direction random: signs for linf, which are as long as an
    attack's in any norm; a Gaussian direction for l2."""
    generator = torch.Generator().manual_seed(seed ^ 1)
    if norm == "linf":
        return torch.randint(0, 2, sizes, generator=generator).float() * 2 - 1
    return _directions(sizes, generator)


def _directions(sizes: Sizes, generator: torch.Generator) -> torch.Tensor:
    """f32[N,C,H,W] of 2-norm 1 each, all directions alike."""
    draws = torch.randn(sizes, generator=generator, dtype=torch.float64)
    lengths = torch.linalg.vector_norm(draws, dim=(1, 2, 3), keepdim=True)
    return (draws / lengths).float()
