"""PointPillars against code of another make: loops over points, and torch's functions on the state dict."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from tritoncnn.models.pointpillars import Found, Grid, PointPillars, pillars

GRID = Grid((0.0, -4.0, -3.0), (8.0, 4.0, 1.0), 1.0)
State = dict[str, torch.Tensor]


def tiny() -> PointPillars:
    return PointPillars(GRID, 6, ((5, 1), (7, 2)), 4)


def points(batch: int, count: int) -> torch.Tensor:
    scale, low = torch.tensor([8.0, 8.0, 3.0, 1.0]), torch.tensor([0.0, -4.0, -2.0, 0.0])
    return torch.rand(batch, count, 4, dtype=torch.float64) * scale + low


def normed(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    """Batch norm in training, over all but dim 1."""
    dims = [d for d in range(x.dim()) if d != 1]
    mean, var = x.mean(dims, keepdim=True), x.var(dims, unbiased=False, keepdim=True)
    shape = [1, -1, *[1] * (x.dim() - 2)]
    weight, bias = (state[f"{name}.{part}"].reshape(shape) for part in ("weight", "bias"))
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def other(state: State, scans: torch.Tensor) -> Found:
    rows, places = [], []
    for b, scan in enumerate(scans):
        cells: dict[tuple[int, int], list[torch.Tensor]] = {}
        at = [(math.floor(float(x)), math.floor(float(y) + 4)) for x, y, _, _ in scan]
        for cell, point in zip(at, scan, strict=True):
            cells.setdefault(cell, []).append(point[:3])
        for cell, point in zip(at, scan, strict=True):
            mean = torch.stack(cells[cell]).mean(0)
            centre = torch.tensor([cell[0] + 0.5, cell[1] - 3.5], dtype=torch.float64)
            rows.append(torch.cat((point, point[:3] - mean, point[:2] - centre)))
            places.append((b, *cell))
    features = normed(state, "pillars.norm", torch.stack(rows) @ state["pillars.linear.weight"].T).clamp(min=0)
    image = []
    for b in range(len(scans)):
        for x in range(8):
            for y in range(8):
                mine = [features[i] for i, place in enumerate(places) if place == (b, x, y)]
                image.append(torch.stack(mine).amax(0) if mine else features.new_zeros(6))
    found = torch.stack(image).reshape(len(scans), 8, 8, 6).permute(0, 3, 1, 2)
    joined = []
    for block, layers in ((0, 2), (1, 3)):
        for layer in range(layers):
            filters = state[f"blocks.{block}.{3 * layer}.weight"]
            found = F.conv2d(found, filters, stride=1 if layer else 2, padding=1)
            found = normed(state, f"blocks.{block}.{3 * layer + 1}", found).clamp(min=0)
        spread = torch.einsum("bcxy,ckij->bkxiyj", found, state[f"ups.{block}.0.weight"])
        B, K, X, i, Y, j = spread.shape
        joined.append(normed(state, f"ups.{block}.1", spread.reshape(B, K, X * i, Y * j)).clamp(min=0))
    seen = torch.cat(joined, 1)
    return Found(*(F.conv2d(seen, state[f"{n}.weight"], state[f"{n}.bias"]) for n in ("score", "box", "direction")))


def test_outputs_and_gradients_are_those_of_other_code() -> None:
    torch.manual_seed(0)
    net = tiny().double().train()
    for name, parameter in net.named_parameters():
        if parameter.dim() == 1 and name != "score.bias":
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    state = {key: t.detach().clone().requires_grad_(t.is_floating_point()) for key, t in net.state_dict().items()}
    scans = points(2, 60)
    found, wanted = net(scans), other(state, scans)
    assert [tuple(part.shape) for part in found] == [(2, n, 4, 4) for n in (1, 8, 1)]
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    for outputs in (found, wanted):
        sum((part**2).sum() for part in outputs).backward()
    for key, parameter in net.named_parameters():
        gradient = state[key].grad
        assert gradient is not None, key
        assert parameter.grad is not None, key
        scale = float(gradient.abs().max())
        torch.testing.assert_close(parameter.grad / scale, gradient / scale, rtol=1e-8, atol=1e-8)


def test_neither_the_order_of_points_nor_another_scan_of_the_batch_matters() -> None:
    torch.manual_seed(1)
    net, scans = tiny().double().eval(), points(2, 40)
    with torch.no_grad():
        both, alone = net(scans), net(scans[:1, torch.randperm(40)])
    for a, b in zip(both, alone, strict=True):
        torch.testing.assert_close(a[:1], b, rtol=1e-9, atol=1e-9)


def test_repeated_points_change_nothing_where_all_are_repeated() -> None:
    torch.manual_seed(2)
    net, scans = tiny().double().eval(), points(1, 40)
    with torch.no_grad():
        for a, b in zip(net(scans), net(scans.repeat(1, 3, 1)), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_points_on_the_far_sides_by_rounding_fall_into_the_last_pillar() -> None:
    net = tiny().eval()
    with torch.no_grad():
        found = net(torch.tensor([[[8.0, 4.0, 0.0, 0.5]]]))
    assert all(bool(part.isfinite().all()) for part in found)


def test_the_untrained_net_says_that_cars_are_rare() -> None:
    torch.manual_seed(0)
    net = pillars().eval()
    with torch.no_grad():
        scores = net(torch.zeros(1, 16, 4)).score.sigmoid()
    assert scores.shape == (1, 1, 48, 48)
    assert float(scores.mean()) == pytest.approx(0.01, abs=0.01)
    assert GRID.size == (8, 8)
