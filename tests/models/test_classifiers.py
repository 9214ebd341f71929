"""AlexNet, VGG, GoogLeNet, ResNet: the names and sizes that saved weights have, and the numbers of other code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests.models import independent
from tritoncnn.models.alexnet import alexnet, alexnet32, alexnet2012
from tritoncnn.models.googlenet import GoogLeNet
from tritoncnn.models.resnet import resnet18, resnet20, resnet34, resnet50
from tritoncnn.models.vgg import vgg11, vgg11_32, vgg11_bn, vgg16, vgg16_bn

# Numbers of parameters as the documentation of torchvision tells them; of resnet20 and alexnet2012, as the papers do.
SIZES: dict[Callable[..., nn.Module], int] = {
    alexnet: 61_100_840, vgg11: 132_863_336, vgg11_bn: 132_868_840, vgg16: 138_357_544, vgg16_bn: 138_365_992,
    resnet18: 11_689_512, resnet34: 21_797_672, resnet50: 25_557_032, resnet20: 269_722, alexnet2012: 60_965_224,
}  # fmt: skip


@pytest.mark.parametrize("build", SIZES)
def test_a_net_has_the_number_of_parameters_that_is_told_of_it(build: Callable[..., nn.Module]) -> None:
    with torch.device("meta"):
        net = build()
    assert sum(p.numel() for p in net.parameters()) == SIZES[build]


CASES: dict[str, tuple[Callable[..., nn.Module], Callable[..., Any], int]] = {
    "alexnet32": (alexnet32, independent.alexnet, 32),
    "vgg11_32": (vgg11_32, independent.vgg, 32),
    "googlenet": (GoogLeNet, independent.googlenet, 64),
    "resnet20": (resnet20, independent.resnet, 16),
    "resnet18": (resnet18, independent.resnet, 64),
    "resnet50": (resnet50, independent.resnet, 64),
}


def total(outputs: Any) -> torch.Tensor:
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return torch.stack([(output**2).sum() for output in outputs]).sum()


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_those_of_other_code(name: str) -> None:
    build, other, size = CASES[name]
    torch.manual_seed(0)
    net = build(classes=5).double().train()
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    state = {key: t.detach().clone().requires_grad_(t.is_floating_point()) for key, t in net.state_dict().items()}
    x = torch.randn(3, 3, size, size, dtype=torch.float64)
    found, wanted = net(x), other(state, x)
    torch.testing.assert_close(tuple(found) if isinstance(found, tuple) else found, wanted, rtol=1e-9, atol=1e-9)
    total(found).backward()  # type: ignore[no-untyped-call]
    total(wanted).backward()  # type: ignore[no-untyped-call]
    for key, parameter in net.named_parameters():
        gradient = state[key].grad
        assert gradient is not None, key
        assert parameter.grad is not None, key
        scale = float(gradient.abs().max()) + 1.0  # a bias before a norm has a gradient of 0
        torch.testing.assert_close(
            parameter.grad / scale, gradient / scale, rtol=1e-8, atol=1e-8, msg=lambda m, k=key: f"{k}: {m}"
        )
