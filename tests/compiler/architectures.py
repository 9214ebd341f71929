"""Small nets after well-known architectures: a few channels, each kind of block once.

Dropout and stochastic depth are left out: every number is compared with torch's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn


class Case(NamedTuple):
    """A net, its inputs, and a loss of (output, target)."""

    net: nn.Module
    inputs: tuple[torch.Tensor, ...]
    loss: Callable[[Any, Any], torch.Tensor]
    target: Any


def unit(
    c: int, k: int, size: int = 1, act: type[nn.Module] = nn.ReLU, *, U: int = 1, groups: int = 1, **norm: Any
) -> nn.Sequential:
    """Convolution, batch norm, activation."""
    conv = nn.Conv2d(c, k, size, U, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(k, **norm), act())


class Squeeze(nn.Module):
    """Hu et al. 2018: every channel times what two small layers make of all channels' means."""

    def __init__(self, c: int, middle: int, act: type[nn.Module], gate: type[nn.Module]) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.body = nn.Sequential(nn.Conv2d(c, middle, 1), act(), nn.Conv2d(middle, c, 1), gate())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.body(self.pool(x)) * x
        return y


class Inverted(nn.Module):
    """Sandler et al. 2018: expand, filter each channel, project; with a squeeze where asked for."""

    def __init__(
        self, c: int, k: int, size: int, act: type[nn.Module], *, U: int = 1, squeeze: nn.Module | None = None, **norm: Any
    ) -> None:  # fmt: skip
        super().__init__()
        self.add = U == 1 and c == k
        parts: list[nn.Module] = [
            unit(c, 2 * c, 1, act, **norm),
            unit(2 * c, 2 * c, size, act, U=U, groups=2 * c, **norm),
        ]
        parts += [squeeze] if squeeze is not None else []
        self.body = nn.Sequential(*parts, unit(2 * c, k, 1, nn.Identity, **norm))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.body(x)
        return x + y if self.add else y


def head(c: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, classes))


def mobilenet_v3() -> nn.Module:
    """Howard et al. 2019."""
    squeeze = Squeeze(16, 4, nn.ReLU, nn.Hardsigmoid)
    norm: Any = {"eps": 1e-3, "momentum": 0.01}
    return nn.Sequential(
        unit(3, 8, 3, nn.Hardswish, U=2, **norm),
        Inverted(8, 8, 3, nn.ReLU, squeeze=squeeze, **norm),
        Inverted(8, 12, 5, nn.Hardswish, U=2, **norm),
        head(12, 5),
    )


def mnasnet() -> nn.Module:
    """Tan et al. 2019."""
    momentum = 1 - 0.9997
    return nn.Sequential(
        unit(3, 8, 3, U=2, momentum=momentum),
        Inverted(8, 8, 5, nn.ReLU, momentum=momentum),
        head(8, 5),
    )


def efficientnet() -> nn.Module:
    """Tan & Le 2019."""
    return nn.Sequential(
        unit(3, 8, 3, nn.SiLU, U=2),
        Inverted(8, 8, 3, nn.SiLU, squeeze=Squeeze(16, 2, nn.SiLU, nn.Sigmoid)),
        head(8, 5),
    )


class ConvNeXtBlock(nn.Module):
    """Liu et al. 2022: a layer norm over channels last, linear layers, and a factor per channel."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.filter = nn.Conv2d(c, c, 7, padding=3, groups=c)
        self.norm = nn.LayerNorm(c, eps=1e-6)
        self.body = nn.Sequential(nn.Linear(c, 4 * c), nn.GELU(), nn.Linear(4 * c, c))
        self.scale = nn.Parameter(torch.full((c, 1, 1), 0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(self.norm(self.filter(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        z: torch.Tensor = x + self.scale * y
        return z


class LayerNorm2d(nn.LayerNorm):
    """A layer norm over the channels of pictures."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


def convnext() -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), LayerNorm2d(8, eps=1e-6))
    down = nn.Sequential(LayerNorm2d(8, eps=1e-6), nn.Conv2d(8, 12, 2, 2))
    end = nn.Sequential(nn.AdaptiveAvgPool2d(1), LayerNorm2d(12, eps=1e-6), nn.Flatten(1), nn.Linear(12, 5))
    return nn.Sequential(stem, ConvNeXtBlock(8), down, end)


class ShuffleBlock(nn.Module):
    """Ma et al. 2018: one half of the channels passes by, then the halves are interleaved."""

    def __init__(self, c: int) -> None:
        super().__init__()
        h = c // 2
        self.body = nn.Sequential(unit(h, h), unit(h, h, 3, nn.Identity, groups=h), unit(h, h))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, dim=1)
        y = torch.cat([a, self.body(b)], dim=1)
        N, C, H, W = y.shape
        return y.view(N, 2, C // 2, H, W).transpose(1, 2).contiguous().view(N, -1, H, W)


class ShuffleNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pool = unit(3, 8, 3, U=2), nn.MaxPool2d(3, 2, 1)
        self.block, self.last, self.head = ShuffleBlock(8), unit(8, 12), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.last(self.block(self.pool(self.stem(x)))).mean([2, 3]))
        return y


class RegNetBlock(nn.Module):
    """Radosavovic et al. 2020: a bottleneck of grouped filters, with a squeeze (RegNetY)."""

    def __init__(self, c: int, k: int, groups: int, U: int) -> None:
        super().__init__()
        self.skip = unit(c, k, 1, nn.Identity, U=U) if c != k or U > 1 else nn.Identity()
        self.body = nn.Sequential(
            unit(c, k),
            unit(k, k, 3, U=U, groups=groups),
            Squeeze(k, 2, nn.ReLU, nn.Sigmoid),
            unit(k, k, 1, nn.Identity),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.skip(x) + self.body(x), inplace=True)


def regnet() -> nn.Module:
    return nn.Sequential(unit(3, 8, 3, U=2), RegNetBlock(8, 12, 3, 2), RegNetBlock(12, 12, 3, 1), head(12, 5))


class SSD(nn.Module):
    """Liu et al. 2016: boxes and classes from pictures of several sizes; the first is normalised with learned factors."""

    CLASSES = 4

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([
            nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2, ceil_mode=True)),
            nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(inplace=True)),
        ])  # fmt: skip
        self.factors = nn.Parameter(torch.ones(8) * 20)
        self.boxes = nn.ModuleList([nn.Conv2d(8, 2 * 4, 3, padding=1) for _ in self.stages])
        self.classes = nn.ModuleList([nn.Conv2d(8, 2 * self.CLASSES, 3, padding=1) for _ in self.stages])

    def rows(self, y: torch.Tensor, width: int) -> torch.Tensor:
        """[N, A*width, H, W] -> [N, H*W*A, width]."""
        N, _, H, W = y.shape
        return y.view(N, -1, width, H, W).permute(0, 3, 4, 1, 2).reshape(N, -1, width)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        features: list[torch.Tensor] = []
        for stage in self.stages:
            x = stage(x)
            features.append(x if features else self.factors.view(1, -1, 1, 1) * F.normalize(x))
        boxes = [self.rows(b(f), 4) for b, f in zip(self.boxes, features, strict=True)]
        classes = [self.rows(c(f), self.CLASSES) for c, f in zip(self.classes, features, strict=True)]
        return {"bbox_regression": torch.cat(boxes, 1), "cls_logits": torch.cat(classes, 1)}


def ssd_loss(out: dict[str, torch.Tensor], target: dict[str, torch.Tensor]) -> torch.Tensor:
    """Boxes of the places that hold something; classes of these and of three times as many of the worst others."""
    labels = target["labels"]
    N, A = labels.shape
    found = labels > 0
    boxes = F.smooth_l1_loss(out["bbox_regression"], target["boxes"], reduction="none").sum(-1)
    each = F.cross_entropy(out["cls_logits"].view(N * A, -1), labels.view(-1), reduction="none").view(N, A)
    others = each.masked_fill(found, -torch.inf).detach()
    rank = others.argsort(1, descending=True).argsort(1)
    hard = rank < 3 * found.sum(1, keepdim=True)
    total = (boxes * found).sum() + (each * (found | hard)).sum()
    loss: torch.Tensor = total / found.sum().clamp(min=1)
    return loss


class PointNet(nn.Module):
    """Qi et al. 2017: points turned by a matrix that a small net finds; the largest of every feature."""

    def __init__(self) -> None:
        super().__init__()
        self.find = nn.Sequential(nn.Conv1d(3, 8, 1), nn.BatchNorm1d(8), nn.ReLU())
        self.turn = nn.Linear(8, 9)
        self.body = nn.Sequential(nn.Conv1d(3, 8, 1), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 12, 1))
        self.head = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        largest = torch.max(self.find(x), 2, keepdim=True)[0].view(-1, 8)
        matrix = self.turn(largest).view(-1, 3, 3) + torch.eye(3, dtype=x.dtype)
        points = torch.bmm(x.transpose(2, 1), matrix).transpose(2, 1)
        y = self.head(torch.max(self.body(points), 2)[0])
        return F.log_softmax(y, dim=1), matrix


def pointnet_loss(out: tuple[torch.Tensor, torch.Tensor], target: torch.Tensor) -> torch.Tensor:
    scores, matrix = out
    off = torch.bmm(matrix, matrix.transpose(2, 1)) - torch.eye(3, dtype=matrix.dtype)
    return F.nll_loss(scores, target) + 1e-2 * torch.mean(torch.norm(off, dim=(1, 2)))


class PointPillars(nn.Module):
    """Lang et al. 2019: the largest feature of each pillar is put at the pillar's place in a picture from above."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.size = size
        self.point = nn.Linear(9, 8, bias=False)
        self.norm = nn.BatchNorm1d(8, eps=1e-3, momentum=0.01)
        self.body = unit(8, 8, 3, U=2)
        self.up = nn.ConvTranspose2d(8, 6, 2, 2)
        self.classes, self.boxes = nn.Conv2d(6, 2, 1), nn.Conv2d(6, 7, 1)

    def forward(self, pillars: torch.Tensor, places: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.point(pillars)  # [V, P, 9] -> [V, P, 8]
        x = F.relu(self.norm(x.permute(0, 2, 1))).max(dim=2).values
        canvas = torch.zeros(8, self.size * self.size, dtype=x.dtype, device=x.device)
        canvas[:, places] = x.t()
        picture = self.up(self.body(canvas.view(1, 8, self.size, self.size)))
        return {"classes": self.classes(picture), "boxes": self.boxes(picture)}


def pillars_loss(out: dict[str, torch.Tensor], target: dict[str, torch.Tensor]) -> torch.Tensor:
    logits, found = out["classes"], target["found"].to(out["classes"].dtype)
    p = torch.sigmoid(logits)
    each = F.binary_cross_entropy_with_logits(logits, found, reduction="none")
    away = p * (1 - found) + (1 - p) * found
    focal = (0.25 * found + 0.75 * (1 - found)) * away**2 * each
    return focal.sum() / 4 + F.smooth_l1_loss(out["boxes"], target["boxes"], beta=1 / 9)


class Segmentation(nn.Module):
    """Chen et al. 2017 (DeepLabV3): dilated filters side by side, an auxiliary head, results by name."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.next = unit(3, 8, 3, U=2), unit(8, 8, 3, U=2)
        self.dilated = nn.ModuleList(
            [nn.Conv2d(8, 4, 1, bias=False), *(nn.Conv2d(8, 4, 3, padding=r, dilation=r, bias=False) for r in (2, 3))]
        )
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.ReLU())
        self.project, self.classes, self.aux = unit(16, 8), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        size = x.shape[-2:]
        middle = self.stem(x)
        deep = self.next(middle)
        parts = [conv(deep) for conv in self.dilated]
        parts.append(F.interpolate(self.pooled(deep), size=deep.shape[-2:], mode="bilinear", align_corners=False))
        out = self.classes(self.project(torch.cat(parts, dim=1)))
        return {
            "out": F.interpolate(out, size=size, mode="bilinear", align_corners=False),
            "aux": F.interpolate(self.aux(middle), size=size, mode="bilinear", align_corners=False),
        }


def segmentation_loss(out: dict[str, torch.Tensor], target: torch.Tensor) -> torch.Tensor:
    parts = {name: F.cross_entropy(y, target, ignore_index=255) for name, y in out.items()}
    return parts["out"] + 0.5 * parts["aux"]


def classifier(net: Callable[[], nn.Module], N: int, size: int) -> Case:
    return Case(net(), (torch.randn(N, 3, size, size),), F.cross_entropy, torch.randint(0, 5, (N,)))


def ssd() -> Case:
    labels = torch.randint(0, SSD.CLASSES, (2, 160)) * (torch.rand(2, 160) > 0.8)
    target = {"labels": labels, "boxes": torch.randn(2, 160, 4)}
    return Case(SSD(), (torch.randn(2, 3, 16, 16),), ssd_loss, target)


def pointpillars() -> Case:
    places = torch.randperm(64)[:20]
    target = {"found": torch.rand(1, 2, 8, 8) > 0.9, "boxes": torch.randn(1, 7, 8, 8)}
    return Case(PointPillars(), (torch.randn(20, 6, 9), places), pillars_loss, target)


def segmentation() -> Case:
    target = torch.randint(0, 4, (2, 20, 18))
    target[:, :2] = 255
    return Case(Segmentation(), (torch.randn(2, 3, 20, 18),), segmentation_loss, target)


def pointnet() -> Case:
    return Case(PointNet(), (torch.randn(4, 3, 24),), pointnet_loss, torch.randint(0, 5, (4,)))


ARCHITECTURES: dict[str, Callable[[], Case]] = {
    "mobilenet_v3": partial(classifier, mobilenet_v3, 4, 16),
    "mnasnet": partial(classifier, mnasnet, 4, 16),
    "efficientnet": partial(classifier, efficientnet, 4, 16),
    "convnext": partial(classifier, convnext, 2, 16),
    "shufflenet": partial(classifier, ShuffleNet, 4, 16),
    "regnet": partial(classifier, regnet, 4, 16),
    "ssd": ssd,
    "pointnet": pointnet,
    "pointpillars": pointpillars,
    "segmentation": segmentation,
}
