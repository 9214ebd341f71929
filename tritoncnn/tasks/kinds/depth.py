"""Depth at every pixel: what a net's logarithms are worth beside depths in metres. A depth of 0 is not known, and counts nowhere.

Sources: Eigen, Puhrsch, Fergus 2014 for the scale-invariant loss and the measures; Eigen & Fergus 2015, "Predicting depth,
surface normals and semantic labels with a common multi-scale convolutional architecture", for the term of gradients.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tritoncnn.data import Examples, Facts
from tritoncnn.task import Baseline, Report, Values

NEAR = 1.25  # a depth is right whose ratio to the true one is between 1 / NEAR and NEAR
STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128)  # metres, of the report's rows
FREE = 0.5  # of the loss that a wrong scale of the whole picture makes, this share is taken off
Numbers = NDArray[np.float64]


def depth_loss(logs: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """mean(d^2) - FREE * mean(d)^2 + sum((d - d of the pixel to the left)^2 + (d - d of the pixel above)^2) / n

    with d = log of the depth said f32[N,H,W] less that of ``depth`` f32[N,H,W], over the n pixels of a picture whose depth is
    known; pairs of neighbours count where both are. Then the mean over pictures in which a depth is known.
    """
    known = depth > 0
    n = known.float().sum((1, 2))
    d = torch.where(known, logs - torch.log(torch.where(known, depth, 1.0)), 0.0)
    across = torch.where(known[:, :, 1:] & known[:, :, :-1], d[:, :, 1:] - d[:, :, :-1], 0.0)
    down = torch.where(known[:, 1:] & known[:, :-1], d[:, 1:] - d[:, :-1], 0.0)
    some = n.clamp(min=1)
    squares = (d**2).sum((1, 2)) + (across**2).sum((1, 2)) + (down**2).sum((1, 2))
    each = squares / some - FREE * (d.sum((1, 2)) / some) ** 2
    return each.sum() / (n > 0).float().sum().clamp(min=1)


def pairs(logs: torch.Tensor, depth: torch.Tensor) -> tuple[Numbers, Numbers]:
    """Depths that were said, and true ones, of all pixels where that is known: f64[n] each."""
    known = depth > 0
    return np.exp(logs[known].double().numpy()), depth[known].double().numpy()


def delta1(logs: torch.Tensor, depth: torch.Tensor) -> float:
    """Share of pixels whose depth is right to a factor of NEAR; 0 where no depth is known."""
    return within(*pairs(logs, depth), NEAR)


def within(said: Numbers, true: Numbers, factor: float) -> float:
    return float((np.maximum(said / true, true / said) < factor).mean()) if len(true) else 0.0


def abs_rel(logs: torch.Tensor, depth: torch.Tensor) -> float:
    """Mean of the error as a share of the true depth."""
    said, true = pairs(logs, depth)
    return float((np.abs(said - true) / true).mean()) if len(true) else 0.0


def rmse(logs: torch.Tensor, depth: torch.Tensor) -> float:
    """Root of the mean squared error, in metres."""
    said, true = pairs(logs, depth)
    return float(np.sqrt(((said - true) ** 2).mean())) if len(true) else 0.0


def mean_depth(facts: Facts, train: Examples, test: Examples, own: Values) -> Baseline | None:
    """delta1 of the mean depth of each pixel over the training pictures; None where there are none of that size."""
    if not len(train) or train.y.shape[1:] != test.y.shape[1:]:
        return None
    return Baseline("the mean depth at each pixel", delta1(mean_logs(train.y).expand_as(test.y), test.y))


def mean_logs(depth: torch.Tensor) -> torch.Tensor:
    """Logarithm of the mean over pictures f32[N,H,W] of the depths that are known, f32[1,H,W]; of all where none is."""
    known = (depth > 0).double().sum(0, keepdim=True)
    total = depth.double().sum(0, keepdim=True)
    overall = total.sum() / known.sum().clamp(min=1)
    return torch.log(torch.where(known > 0, total / known.clamp(min=1), overall).clamp(min=1e-6)).float()


def scaled(logs: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """``logs`` with each picture's depths scaled so that their median is that of the true ones (Zhou et al. 2017)."""
    out = logs.clone()
    for row, true in zip(out, depth, strict=True):
        known = true > 0
        if bool(known.any()):
            row += torch.log(true[known]).median() - row[known].median()
    return out


def tell_depths(logs: torch.Tensor, examples: Examples, facts: Facts) -> Report:
    """The usual measures as they are and with each picture's scale given, and how wrong depths are near and far."""
    depth, rows = examples.y, []
    lines = ["", "                           <1.25  <1.25^2  <1.25^3  abs rel  RMSE in m  RMSE of log"]
    for words, shown in (("as it is", logs), ("scaled to the true median", scaled(logs, depth))):
        row = {"depths": words, **_measures(*pairs(shown, depth))}
        rows.append(row)
        lines.append(
            f"{words:25} {row['delta1']:7.2%} {row['delta2']:8.2%} {row['delta3']:8.2%} {row['abs_rel']:8.4f} "
            f"{row['rmse']:10.4f} {row['rmse_log']:12.4f}"
        )
    said, true = pairs(logs, depth)
    ranges = []
    lines += ["", "true depth      pixels    <1.25  abs rel"]
    for low, high in zip(STEPS, (*STEPS[1:], np.inf), strict=True):
        own = (true >= low) & (true < high)
        if own.any():
            told = _measures(said[own], true[own])
            ranges.append({"from": low, "to": None if high == np.inf else high, "share": float(own.mean()), **told})
            words = f"{low} to {high} m" if high < np.inf else f"from {low} m"
            lines.append(f"{words:13} {own.mean():8.2%} {told['delta1']:8.2%} {told['abs_rel']:8.4f}")
    return Report({"depths": rows, "ranges": ranges}, tuple(lines))


def _measures(said: Numbers, true: Numbers) -> dict[str, float]:
    if not len(true):
        return dict.fromkeys(("delta1", "delta2", "delta3", "abs_rel", "rmse", "rmse_log"), 0.0)
    return {
        **{f"delta{i}": within(said, true, NEAR**i) for i in (1, 2, 3)},
        "abs_rel": float((np.abs(said - true) / true).mean()),
        "rmse": float(np.sqrt(((said - true) ** 2).mean())),
        "rmse_log": float(np.sqrt((np.log(said / true) ** 2).mean())),
    }
