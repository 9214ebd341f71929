"""Dropout: reproducible from a seed, whatever the layout, tiles and threads."""

from __future__ import annotations

from typing import Any

import torch

from tritoncnn.errors import InputError
from tritoncnn.formulas import random as emit
from tritoncnn.functional.dispatch import Labels, fused

__all__ = ["channel_dropout", "dropout"]

Tensor = torch.Tensor


@fused
def _dropout(x: Tensor, seed: Labels, p: float, channels: bool) -> Any:
    return emit.dropout(x, p, seed, channels)


def _seed(seed: int | Tensor | None) -> Tensor:
    if seed is None:
        return torch.randint(2**62, (), dtype=torch.int64, device="cpu")
    if isinstance(seed, torch.Tensor):
        if seed.numel() != 1 or seed.dtype != torch.int64:
            raise InputError(f"dropout: seed must be one torch.int64 number; got {seed.dtype} {list(seed.shape)}")
        return seed.reshape(())
    if not isinstance(seed, int):
        raise InputError(f"dropout: seed must be a whole number or None; got {seed!r}")
    return torch.tensor(seed, dtype=torch.int64, device="cpu")


def dropout(x: Tensor, p: float = 0.5, training: bool = True, *, seed: int | Tensor | None = None) -> Tensor:
    """x / (1 - p), each element kept with probability 1 - p, else 0. Source: Srivastava et al. 2014.

    The mask follows from the seed and each element's place; without a seed one is drawn from torch's generator, so that
    ``torch.manual_seed`` repeats it. The backward pass makes the mask again. Raises InputError, DTypeError.
    """
    return _dropout(x, _seed(seed), float(p), False)[0] if training else x


def channel_dropout(x: Tensor, p: float = 0.5, training: bool = True, *, seed: int | Tensor | None = None) -> Tensor:
    """As dropout, for whole channels of x [N, C, ...] (torch's dropout2d). Source: Tompson et al. 2015."""
    return _dropout(x, _seed(seed), float(p), True)[0] if training else x
