"""One-stage detection without anchors: each place of a feature map tells the box around it.

Source: Tian, Shen, Chen, He 2019, "FCOS: fully convolutional one-stage object detection"; the pyramid is that of Lin et al. 2017,
"Feature pyramid networks for object detection". Parameters have torchvision's names (``fcos_resnet50_fpn``); its files are to be
fine-tuned, for it takes relu of what is the logarithm of a distance here and in the paper, and the class 0 of its 91 is none.
Departures, the first two as in the authors' later code: distances are told in strides, so that the paper's factor per level is
not needed; centre-ness stands beside the boxes, not beside the classes; statistics of batch norm are learned, not frozen; boxes
are shares of the picture's side. ``fcos_small`` is for small pictures: a light body, levels at strides of 8, 16 and 32 alone, and
shorter distances for each of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from tritoncnn.models.resnet import BasicBlock, Bottleneck, ResNet, projection

RARE = 0.01  # probability of each class that a new net tells of each place, as in the paper
LONGEST = 6.0  # its exponential, in strides, is the longest distance that can be told
FAR = 1e6  # no distance is longer
FIRST = 8  # the first level's stride; that of each other is twice that of the one before


class Outputs(NamedTuple):
    """What is told of each of P places.

    logits   f32[N,P,classes]
    centres  f32[N,P]: logits of centre-ness
    boxes    f32[N,P,4]: (x0, y0, x1, y1), shares of the picture's side
    places   f32[N,P,5]: (x, y, stride, least, most), shares too; a box whose longest distance from the place is above
             least and at most most is this place's to tell
    """

    logits: torch.Tensor
    centres: torch.Tensor
    boxes: torch.Tensor
    places: torch.Tensor


class SmallBody(nn.Module):
    """f32[N,channels,H,W] -> maps at strides of 8, 16, 32 with 2, 4, 4 times ``width`` channels: 9 layers with shortcuts."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _block(width, width)
        self.layer2 = _block(width, 2 * width)
        self.layer3 = _block(2 * width, 4 * width)
        self.layer4 = _block(4 * width, 4 * width)
        self.channels = (2 * width, 4 * width, 4 * width)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        c3 = self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x)))))
        c4 = self.layer3(c3)
        return [c3, c4, self.layer4(c4)]


def _block(channels: int, width: int) -> BasicBlock:
    return BasicBlock(channels, width, 2, projection(channels, width, 2))


class ResNetBody(ResNet):
    """f32[N,channels,H,W] -> the maps of a ResNet-50 at strides of 8, 16, 32, with 512, 1024, 2048 channels."""

    channels = (512, 1024, 2048)

    def __init__(self, channels: int) -> None:
        super().__init__(Bottleneck, (3, 4, 6, 3), 1, channels)
        del self.fc, self.avgpool

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:  # type: ignore[override]
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        maps = []
        for name in self.stages:
            x = getattr(self, name)(x)
            maps.append(x)
        return maps[1:]


class Further(nn.Module):
    """Two more levels above the last one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.p6 = nn.Conv2d(width, width, 3, 2, 1)
        self.p7 = nn.Conv2d(width, width, 3, 2, 1)

    def forward(self, p5: torch.Tensor) -> list[torch.Tensor]:
        p6 = self.p6(p5)
        return [p6, self.p7(F.relu(p6))]


class Pyramid(nn.Module):
    """Maps of several widths -> maps of one width, each with what the smaller ones say added; ``further``: two levels more."""

    def __init__(self, channels: Sequence[int], width: int, further: bool) -> None:
        super().__init__()
        self.inner_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(c, width, 1)) for c in channels)
        self.layer_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(width, width, 3, 1, 1)) for _ in channels)
        self.extra_blocks = Further(width) if further else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                _clear_bias(module)

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        inner = [block(x) for block, x in zip(self.inner_blocks, maps, strict=True)]
        for level in reversed(range(len(inner) - 1)):
            inner[level] = inner[level] + F.interpolate(inner[level + 1], size=inner[level].shape[-2:], mode="nearest")
        levels = [block(x) for block, x in zip(self.layer_blocks, inner, strict=True)]
        return levels if self.extra_blocks is None else levels + self.extra_blocks(levels[-1])


class Backbone(nn.Module):
    def __init__(self, body: SmallBody | ResNetBody, width: int, further: bool) -> None:
        super().__init__()
        self.body = body
        self.fpn = Pyramid(body.channels, width, further)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return self.fpn(self.body(x))


class Classifier(nn.Module):
    """f32[N,width,H,W] -> logits f32[N,classes,H,W]; one for all levels."""

    def __init__(self, width: int, groups: int, depth: int, classes: int) -> None:
        super().__init__()
        self.conv = _tower(width, groups, depth)
        self.cls_logits = _conv(width, classes)
        _clear_bias(self.cls_logits, -math.log((1 - RARE) / RARE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cls_logits(self.conv(x))


class Regressor(nn.Module):
    """f32[N,width,H,W] -> (logarithms of four distances f32[N,4,H,W], logits of centre-ness f32[N,1,H,W])."""

    def __init__(self, width: int, groups: int, depth: int) -> None:
        super().__init__()
        self.conv = _tower(width, groups, depth)
        self.bbox_reg = _conv(width, 4)
        self.bbox_ctrness = _conv(width, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.conv(x)
        return self.bbox_reg(x), self.bbox_ctrness(x)


def _tower(width: int, groups: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [_conv(width, width), nn.GroupNorm(groups, width), nn.ReLU()]
    return nn.Sequential(*layers)


def _conv(width: int, filters: int) -> nn.Conv2d:
    conv = nn.Conv2d(width, filters, 3, 1, 1)
    nn.init.normal_(conv.weight, std=0.01)
    _clear_bias(conv)
    return conv


def _clear_bias(conv: nn.Conv2d, value: float = 0.0) -> None:
    assert conv.bias is not None
    nn.init.constant_(conv.bias, value)


class Head(nn.Module):
    def __init__(self, width: int, groups: int, depth: int, classes: int) -> None:
        super().__init__()
        self.classification_head = Classifier(width, groups, depth, classes)
        self.regression_head = Regressor(width, groups, depth)


class FCOS(nn.Module):
    """f32[N,channels,S,S] -> Outputs. ``reach``: a level's longest distance, in its strides."""

    former_names = ((r"(\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2"),)  # torchvision's before 0.13

    def __init__(self, backbone: Backbone, head: Head, reach: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.reach = reach

    def forward(self, x: torch.Tensor) -> Outputs:
        N, _, side, _ = x.shape
        levels = self.backbone(x)
        told = []
        for number, level in enumerate(levels):
            stride = (FIRST << number) / side
            places = _places(level, stride, self.reach, number == 0, number == len(levels) - 1)
            logits, (distances, centres) = self.head.classification_head(level), self.head.regression_head(level)
            apart = stride * torch.exp(_rows(distances).clamp(max=LONGEST))
            low, high = places[:, :2] - apart[..., :2], places[:, :2] + apart[..., 2:]
            told.append(
                Outputs(
                    _rows(logits), _rows(centres)[..., 0], torch.cat([low, high], 2), places.expand(N, *places.shape)
                )
            )
        return Outputs(*(torch.cat(parts, 1) for parts in zip(*told, strict=True)))


def _rows(x: torch.Tensor) -> torch.Tensor:
    """f32[N,C,H,W] -> f32[N,H*W,C]"""
    return x.flatten(2).transpose(1, 2)


def _places(level: torch.Tensor, stride: float, reach: float, first: bool, last: bool) -> torch.Tensor:
    """The middles of a map's pixels, f32[H*W,5], as Outputs has them."""
    H, W = level.shape[-2:]
    y = ((torch.arange(H) + 0.5) * stride)[:, None].expand(H, W)
    x = ((torch.arange(W) + 0.5) * stride)[None].expand(H, W)
    least, most = 0.0 if first else reach * stride / 2, FAR if last else reach * stride
    rest = (torch.full((H, W), value) for value in (stride, least, most))
    return torch.stack([x, y, *rest], 2).reshape(H * W, 5)


def fcos_small(classes: int, channels: int = 3, width: int = 32, depth: int = 1) -> FCOS:
    """0.7 M parameters."""
    body = SmallBody(channels, width)
    return FCOS(Backbone(body, 2 * width, False), Head(2 * width, 8, depth, classes), reach=3.0)


def fcos_resnet50(classes: int = 80, channels: int = 3) -> FCOS:
    """The paper's: five levels, towers of four layers."""
    return FCOS(Backbone(ResNetBody(channels), 256, True), Head(256, 32, 4, classes), reach=8.0)
