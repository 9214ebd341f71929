"""Connectionist temporal classification in tensors: torch's own has no shapes for its tracer and reads lengths as numbers.

Source: Graves et al. 2006, "Connectionist temporal classification", section 4.1, in logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from tritoncnn.errors import InputError, UnsupportedError

Tensor = torch.Tensor
NEVER = -1e30  # log of a probability of 0, finite, so that no difference of two is NaN


def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Tensor | Sequence[int], target_lengths: Tensor | Sequence[int],
    blank: int = 0, reduction: str = "mean", zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """torch's ctc_loss of log_probs [T, N, C] and padded targets [N, S]; or of [T, C] and [S].

    Raises UnsupportedError for targets of several samples in one line, InputError for another ``reduction`` or ``blank``.
    """
    single = log_probs.dim() == 2
    if single:
        log_probs, targets = log_probs.unsqueeze(1), targets.reshape(1, -1)
    T, N, C = log_probs.shape
    if targets.dim() != 2:
        raise UnsupportedError(
            f"ctc_loss with targets {list(targets.shape)}, one sample behind the other: pad them to [N, S], N = {N}"
        )
    if reduction not in ("none", "mean", "sum"):
        raise InputError(f"ctc_loss: reduction must be none, mean or sum; got {reduction!r}")
    if not 0 <= blank < C:
        raise InputError(f"ctc_loss: blank must be from 0 to {C - 1}; got {blank}")
    steps, labels = (_vector(lengths, N) for lengths in (input_lengths, target_lengths))
    y = _negative_log(log_probs, targets.long(), steps, labels, blank)
    # torch's gradient is that of the numbers before a log_softmax: it lacks exp(log_probs), whose sum is 1 at each step.
    heard = (torch.arange(T).unsqueeze(1) < steps).unsqueeze(2)
    mass = torch.where(heard, log_probs.exp(), 0.0).sum((0, 2))
    y = y + (mass - mass.detach())
    impossible = y.detach() > -NEVER / 2
    y = torch.where(impossible, 0.0, y) if zero_infinity else y * torch.where(impossible, math.inf, 1.0).to(y.dtype)
    if reduction == "mean":
        y = y / labels.clamp(min=1).to(y.dtype)
        return y.mean()
    return y.sum() if reduction == "sum" else y.squeeze(0) if single else y


def _vector(lengths: Tensor | Sequence[int], N: int) -> Tensor:
    return (lengths if isinstance(lengths, torch.Tensor) else torch.tensor(lengths)).long().reshape(-1).expand(N)


def _negative_log(log_probs: Tensor, targets: Tensor, steps: Tensor, labels: Tensor, blank: int) -> Tensor:
    """-log of the probability [N] of the targets, at least about -NEVER where there is no way to them."""
    T, N, _ = log_probs.shape
    L = 2 * targets.shape[1] + 1
    between = torch.full_like(targets, blank)
    states = torch.cat([torch.stack([between, targets], 2).reshape(N, L - 1), between.new_full((N, 1), blank)], 1)
    heard = log_probs.gather(2, states.unsqueeze(0).expand(T, N, L))
    before = torch.cat([states.new_full((N, 2), blank), states], 1)[:, :L]
    skips = (states != blank) & (states != before)  # what may follow the label before last at once
    alpha = torch.where((torch.arange(L) < 2) & (torch.arange(L) <= 2 * labels.unsqueeze(1)), heard[0], NEVER)
    never = torch.full_like(alpha[:, :1], NEVER).expand(N, 2)
    for t in range(1, T):
        behind = torch.cat([never, alpha], 1)
        next_ = _log_sum(alpha, behind[:, 1 : L + 1], torch.where(skips, behind[:, :L], NEVER)) + heard[t]
        alpha = torch.where((t < steps).unsqueeze(1), next_.clamp(min=NEVER), alpha)
    ends = 2 * labels.unsqueeze(1)
    last, label = alpha.gather(1, ends).squeeze(1), alpha.gather(1, (ends - 1).clamp(min=0)).squeeze(1)
    label = torch.where(labels > 0, label, NEVER)
    return -_log_sum(last, label)


def _log_sum(*xs: Tensor) -> Tensor:
    """log of the sum of exp(x)."""
    top = xs[0].detach()
    for x in xs[1:]:
        top = torch.maximum(top, x.detach())
    total = sum((x - top).exp() for x in xs)
    assert isinstance(total, torch.Tensor)
    return top + total.log()
