"""The classifiers once more, as functions of a state dict: other code, the same papers. Norms use the batch's statistics."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional as F

State = Mapping[str, torch.Tensor]


def conv_norm(state: State, conv: str, norm: str, x: torch.Tensor, stride: int = 1, eps: float = 1e-5) -> torch.Tensor:
    weight = state[f"{conv}.weight"]
    y = F.conv2d(x, weight, state.get(f"{conv}.bias"), stride, weight.shape[-1] // 2)
    mean = y.mean((0, 2, 3), keepdim=True)
    var = ((y - mean) ** 2).mean((0, 2, 3), keepdim=True)
    scale, shift = (state[f"{norm}.{name}"].view(1, -1, 1, 1) for name in ("weight", "bias"))
    return (y - mean) / (var + eps).sqrt() * scale + shift


def resnet(state: State, x: torch.Tensor) -> torch.Tensor:
    small = state["conv1.weight"].shape[-1] == 3
    x = conv_norm(state, "conv1", "bn1", x, 1 if small else 2).relu()
    x = x if small else F.max_pool2d(x, 3, 2, 1)
    blocks = dict.fromkeys(
        name.rsplit(".", 2)[0] for name in state if name.endswith("conv1.weight") and "layer" in name
    )
    for block in blocks:
        stride = 2 if block.endswith(".0") and not block.startswith("layer1") else 1
        last = 3 if f"{block}.conv3.weight" in state else 2
        y = x
        for number in range(1, last + 1):
            here = stride if number == last - 1 else 1
            y = conv_norm(state, f"{block}.conv{number}", f"{block}.bn{number}", y, here)
            y = y if number == last else y.relu()
        if f"{block}.downsample.0.weight" in state:
            x = conv_norm(state, f"{block}.downsample.0", f"{block}.downsample.1", x, stride)
        elif stride > 1:
            x = x[:, :, ::2, ::2]
            x = torch.cat([x, torch.zeros_like(x)], 1)
        x = (x + y).relu()
    return x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


def vgg(state: State, x: torch.Tensor) -> torch.Tensor:
    """The one for 32 x 32 pictures: a pool wherever the numbers of the layers leave room for it."""
    names = sorted(
        {int(name.split(".")[1]) for name in state if name.startswith("features") and state[name].dim() == 4}
    )
    for place, following in zip(names, [*names[1:], names[-1] + 4], strict=True):
        x = conv_norm(state, f"features.{place}", f"features.{place + 1}", x).relu()
        x = F.max_pool2d(x, 2) if following == place + 4 else x
    return x.flatten(1) @ state["classifier.0.weight"].T + state["classifier.0.bias"]


def alexnet(state: State, x: torch.Tensor) -> torch.Tensor:
    """The one for 32 x 32 pictures, without dropout."""
    for place, pooled in ((0, True), (3, True), (6, False), (8, False), (10, True)):
        weight = state[f"features.{place}.weight"]
        x = F.conv2d(x, weight, state[f"features.{place}.bias"], 1 if place else 2, weight.shape[-1] // 2).relu()
        x = F.max_pool2d(x, 2) if pooled else x
    x = x.reshape(*x.shape[:2], 2, x.shape[2] // 2, 2, x.shape[3] // 2).mean((3, 5)).flatten(1)
    for place in (1, 4):
        x = (x @ state[f"classifier.{place}.weight"].T + state[f"classifier.{place}.bias"]).relu()
    return x @ state["classifier.6.weight"].T + state["classifier.6.bias"]


def googlenet(state: State, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(logits, those behind block 4d, those behind block 4a), without dropout."""

    def layer(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        return conv_norm(state, f"{name}.conv", f"{name}.bn", x, stride, eps=0.001).relu()

    def block(name: str, x: torch.Tensor) -> torch.Tensor:
        name = f"inception{name}"
        two, three = (layer(f"{name}.branch{i}.1", layer(f"{name}.branch{i}.0", x)) for i in (2, 3))
        four = layer(f"{name}.branch4.1", F.max_pool2d(x, 3, 1, 1))
        return torch.cat([layer(f"{name}.branch1", x), two, three, four], 1)

    def head(name: str, x: torch.Tensor) -> torch.Tensor:
        x = layer(f"{name}.conv", F.adaptive_avg_pool2d(x, 4)).flatten(1)
        x = (x @ state[f"{name}.fc1.weight"].T + state[f"{name}.fc1.bias"]).relu()
        return x @ state[f"{name}.fc2.weight"].T + state[f"{name}.fc2.bias"]

    x = F.max_pool2d(layer("conv1", x, 2), 3, 2, ceil_mode=True)
    x = F.max_pool2d(layer("conv3", layer("conv2", x)), 3, 2, ceil_mode=True)
    x = F.max_pool2d(block("3b", block("3a", x)), 3, 2, ceil_mode=True)
    early = block("4a", x)
    late = block("4d", block("4c", block("4b", early)))
    x = F.max_pool2d(block("4e", late), 2, 2, ceil_mode=True)
    x = block("5b", block("5a", x)).mean((2, 3))
    return x @ state["fc.weight"].T + state["fc.bias"], head("aux2", late), head("aux1", early)
