"""Dropout: its mask, its rate, its gradient, and that it repeats."""

from __future__ import annotations

import pytest
import torch

from tritoncnn import functional as T
from tritoncnn.errors import InputError


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kept_values_are_scaled_and_gradients_have_the_same_mask(dtype: torch.dtype) -> None:
    x = torch.rand(64, 65).add(1).to(dtype).requires_grad_()
    y = T.dropout(x, 0.25, seed=3)
    kept = y != 0
    assert abs(float(kept.float().mean()) - 0.75) < 0.03
    torch.testing.assert_close(y.detach()[kept], (x.detach().float() / 0.75).to(dtype)[kept])
    (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
    torch.testing.assert_close(dx, (kept / 0.75).to(dtype))


def test_the_mask_depends_on_seed_and_place_only() -> None:
    x = torch.ones(2, 6, 8, 9)
    y = T.dropout(x, 0.5, seed=7)
    assert torch.equal(T.dropout(x.to(memory_format=torch.channels_last), 0.5, seed=7), y)
    assert torch.equal(T.dropout(x, 0.5, seed=torch.tensor(7)), y)
    assert not torch.equal(T.dropout(x, 0.5, seed=8), y)
    torch.manual_seed(1)
    first = T.dropout(x)
    torch.manual_seed(1)
    assert torch.equal(T.dropout(x), first)


def test_channels_are_dropped_whole() -> None:
    y = T.channel_dropout(torch.ones(16, 32, 5, 5), 0.5, seed=1)
    per_channel = y.flatten(2)
    assert bool((per_channel == per_channel[:, :, :1]).all())
    assert 0.3 < float((per_channel[:, :, 0] != 0).float().mean()) < 0.7


def test_the_ends_of_p() -> None:
    x = torch.randn(3, 4)
    assert torch.equal(T.dropout(x, 0.0, seed=1), x)
    assert not T.dropout(x, 1.0, seed=1).any()
    assert T.dropout(x, 0.5, training=False) is x
    with pytest.raises(InputError, match="p must lie in 0..1; got 1.5"):
        T.dropout(x, 1.5)
    with pytest.raises(InputError, match="seed must be one torch.int64 number"):
        T.dropout(x, seed=torch.zeros(2))
