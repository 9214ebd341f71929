"""The loss of a one-stage detector: which place answers for which box, and how well it does.

Everything here is a part of the compiled step: true boxes come padded to one number per picture, and no place is chosen on the
host.

Source: Tian et al. 2019; focal loss: Lin et al. 2017, "Focal loss for dense object detection"; GIoU: Rezatofighi et al. 2019,
"Generalized intersection over union".
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional as F

from tritoncnn.models.fcos import Outputs

ALPHA, GAMMA = 0.5, 2.0  # of the focal loss; the paper has 0.25 for its alpha, among ten times as many places
RADIUS = 1.5  # strides from a box's middle within which a place may answer for it, as in the authors' later code
NOTHING = 1e9  # larger than any area
TINY = 1e-9  # of areas in shares of the picture: nothing is divided by less


class Assigned(NamedTuple):
    """What each of P places has to tell.

    labels   f32[N,P]: a class, or -1 where there is nothing to find
    boxes    f32[N,P,4]; of no meaning where there is nothing to find
    centres  f32[N,P]: centre-ness, 1 in the middle of the box and 0 at its edge and where there is nothing to find
    """

    labels: torch.Tensor
    boxes: torch.Tensor
    centres: torch.Tensor


def assign(places: torch.Tensor, target: torch.Tensor) -> Assigned:
    """Choose a box of ``target`` f32[N,M,5] (class or -1, x0, y0, x1, y1) for each of ``places`` f32[N,P,5].

    A place answers for the smallest of the boxes that it is in, near the middle of, and whose longest distance from it is in
    the range of its level; of equally small ones for the first.
    """
    x, y, stride, least, most = (places[:, :, i, None] for i in range(5))  # f32[N,P,1], against f32[N,1,M]
    label, x0, y0, x1, y1 = (target[:, None, :, i] for i in range(5))
    distances = torch.stack([x - x0, y - y0, x1 - x, y1 - y], 3)
    longest = distances.amax(3)
    off_middle = torch.maximum((x - (x0 + x1) / 2).abs(), (y - (y0 + y1) / 2).abs())
    mine = (label >= 0) & (distances.amin(3) > 0) & (longest > least) & (longest <= most)
    mine = mine & (off_middle < RADIUS * stride)
    area = torch.where(mine, (x1 - x0) * (y1 - y0), NOTHING)
    smallest, chosen = area.min(2)
    picked = torch.gather(target, 1, chosen[:, :, None].expand(-1, -1, 5))
    found = smallest < NOTHING
    l, t, r, b = (_positive(d) for d in (
        places[..., 0] - picked[..., 1], places[..., 1] - picked[..., 2],
        picked[..., 3] - places[..., 0], picked[..., 4] - places[..., 1],
    ))  # fmt: skip
    centres = torch.sqrt(torch.minimum(l, r) / torch.maximum(l, r) * torch.minimum(t, b) / torch.maximum(t, b))
    return Assigned(torch.where(found, picked[..., 0], -1.0), picked[..., 1:], torch.where(found, centres, 0.0))


def _positive(distance: torch.Tensor) -> torch.Tensor:
    return distance.clamp(min=TINY)


def focal(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sum of the focal loss of logits f32[N,P,K] for labels f32[N,P], -1 for none."""
    wanted = (labels[..., None] == torch.arange(logits.shape[-1], dtype=torch.float32)).float()
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    p = torch.sigmoid(logits)
    missed = wanted * (1 - p) + (1 - wanted) * p
    weight = ALPHA * wanted + (1 - ALPHA) * (1 - wanted)
    return (weight * missed**GAMMA * entropy).sum()


def giou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """f32[...,4], f32[...,4] -> f32[...] from -1 to 1: overlap less the share of the hull that is in neither box."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    hull_low, hull_high = torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])
    common = _area(low, high)
    union = _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - common
    hull = _area(hull_low, hull_high)
    return common / union.clamp(min=TINY) - (hull - union) / hull.clamp(min=TINY)


def _area(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    sides = (high - low).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def one_stage_loss(output: Outputs, target: torch.Tensor) -> torch.Tensor:
    """focal / n + sum(c * (1 - GIoU)) / sum(c) + sum(entropy of centre-ness) / n

    over n places that have a box, of centre-ness c; the first is over all places.
    """
    wanted = assign(output.places, target)
    there = (wanted.labels >= 0).float()
    count = there.sum().clamp(min=1)
    box = ((1 - giou(output.boxes, wanted.boxes)) * wanted.centres).sum() / wanted.centres.sum().clamp(min=TINY)
    centre = F.binary_cross_entropy_with_logits(output.centres, wanted.centres, reduction="none")
    return focal(output.logits, wanted.labels) / count + box + (centre * there).sum() / count
