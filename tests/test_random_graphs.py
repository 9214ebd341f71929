"""Random small networks: the compiled plan against torch, forward and one training step.

``whole`` networks compute with small integers, which f32 holds exactly, so that results must be torch's bit for bit, at
every tie of a maximum and every zero of a relu too. ``smooth`` networks have activations, norms and losses of all kinds
and no corners, where rounding could choose another side; they are held to a bound.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tritoncnn
from tests.kernels.cases import DEEP

COUNT = 250 if DEEP else 12  # networks of each kind
EXACT = 2.0**20  # f32 sums of integers are exact below 2**24; the rest is room for partial sums

Step = tuple[str, Callable[..., Any], tuple[int, ...]]  # what it is, its function, the values it reads


class RandomNet(nn.Module):
    """Straight-line code: step i reads values made before it and makes value i + 1; value 0 is the input."""

    def __init__(self, seed: int, whole: bool) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.whole = whole
        self.steps: list[Step] = []
        self.layers = nn.ModuleList()
        torch.manual_seed(seed)
        pick = self.random.choice
        self.x = self._data(
            (pick((1, 2, 3, 5)), pick((1, 2, 3, 4, 7)), self.random.randint(4, 11), self.random.randint(4, 11))
        )
        self.values = [self.x]
        self.eval()
        with torch.no_grad():
            for _ in range(self.random.randint(2, 6)):
                self._grow_image()
            self._grow_matrix()
        self.shape = tuple(self.values[-1].shape)
        del self.values

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = [x]
        for _, function, read in self.steps:
            values.append(function(*(values[i] for i in read)))
        return values[-1]

    def __str__(self) -> str:
        return "\n".join(
            f"v{i + 1} = {what}({', '.join(f'v{j}' for j in read)})" for i, (what, _, read) in enumerate(self.steps)
        )

    def _data(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randint(-2, 3, shape).float() if self.whole else torch.randn(shape)

    def _add(self, what: str, function: Callable[..., Any], *read: int) -> None:
        value = function(*(self.values[i] for i in read))
        if value.numel() and float(value.abs().max()) < EXACT:
            self.steps.append((what, function, read))
            self.values.append(value)

    def _layer(self, what: str, layer: nn.Module, read: int) -> None:
        """A layer with weights -1, 0, 1 in whole networks."""
        for parameter in layer.parameters():
            if self.whole:
                parameter.data = torch.randint(-1, 2, parameter.shape).float()
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean, layer.running_var = (
                torch.randn(layer.num_features),
                torch.rand(layer.num_features) + 0.5,
            )
        self.layers.append(layer.eval())
        before = len(self.steps)
        self._add(f"{what} {layer}", layer, read)
        if len(self.steps) == before:
            del self.layers[-1]

    def _image(self) -> int:
        """An image made before, most often the last one."""
        images = [i for i, value in enumerate(self.values) if value.dim() == 4]
        return self.random.choice(images[-2:] + images[-1:] * 3)

    def _grow_image(self) -> None:
        read = self._image()
        _, C, H, W = self.values[read].shape
        alike = [i for i, value in enumerate(self.values) if value.shape == self.values[read].shape]
        pick, chance = self.random.choice, self.random.random()
        if chance < 0.35:
            R, S = min(pick((1, 2, 3, 5)), H), min(pick((1, 2, 3, 3)), W)
            dilation = (pick((1, 1, 2)) if 2 * R <= H else 1, pick((1, 1, 2)) if 2 * S <= W else 1)
            stride, padding = (pick((1, 1, 2, 3)), pick((1, 1, 2))), (pick((0, 0, 1, 2)), pick((0, 1)))
            K = pick((1, 2, 4, 6, 9, 17))
            self._layer("layer", nn.Conv2d(C, K, (R, S), stride, padding, dilation, bias=pick((True, False))), read)
        elif chance < 0.55 and min(H, W) >= 3:
            window = (pick((2, 2, 3)), pick((2, 2, 3)))
            stride = window if pick((True, False)) else (pick((1, 2)), pick((1, 2, 3)))
            padding = (pick((0, 0, 1)), pick((0, 0, 1)))
            ceil = pick((False, False, True))
            if self.whole:
                self._add("max_pool", lambda x: F.max_pool2d(x, window, stride, padding, 1, ceil), read)
            else:
                include = pick((True, False))
                self._add("avg_pool", lambda x: F.avg_pool2d(x, window, stride, padding, ceil, include), read)
        elif chance < 0.7:
            other = pick(alike)
            self._add("residual", pick((torch.add, torch.sub, torch.maximum if self.whole else torch.add)), read, other)
        elif chance < 0.75 and not self.whole:
            self._layer("layer", nn.BatchNorm2d(C), read)
        elif chance < 0.8:
            edges = tuple(pick((0, 1, 2, -1)) for _ in range(4))
            if H + edges[2] + edges[3] > 2 and W + edges[0] + edges[1] > 2:
                self._add(f"pad {edges}", lambda x: F.pad(x, edges), read)
        else:
            self._activation(read)

    def _activation(self, read: int) -> None:
        whole: dict[str, Callable[..., Any]] = {
            "relu": F.relu, "in-place relu": lambda x: F.relu_(x * 1), "abs": torch.abs, "double": lambda x: x * 2,
            "leaky_relu": lambda x: F.leaky_relu(x, 2.0), "clamp": lambda x: x.clamp(-3, 5), "relu6": F.relu6,
            "minus": lambda x: 3 - x,
        }  # fmt: skip
        smooth: dict[str, Callable[..., Any]] = {
            "sigmoid": torch.sigmoid, "tanh": torch.tanh, "silu": F.silu, "gelu": F.gelu, "square": lambda x: 0.25 * x**2,
            "tanh gelu": lambda x: F.gelu(x, approximate="tanh"), "exp": lambda x: torch.exp(torch.tanh(x)),
            "root": lambda x: (x * x + 1).sqrt(), "division": lambda x: x / (1 + x * x),
            "mean": lambda x: x - x.mean((2, 3), True),
        }  # fmt: skip
        what = self.random.choice(sorted(whole if self.whole else smooth))
        if self.values[read].dim() == 4 or what != "mean":
            self._add(what, (whole if self.whole else smooth)[what], read)

    def _grow_matrix(self) -> None:
        """Flatten or reduce the last image, then a few linear layers."""
        if self.random.random() < 0.3:
            self._add("spatial sum", lambda x: x.sum((2, 3)), self._image())
        else:
            self._add("flatten", lambda x: x.flatten(1), self._image())
        for _ in range(self.random.randint(1, 2)):
            last = len(self.values) - 1
            outputs = self.random.choice((1, 3, 10, 17))
            self._layer("layer", nn.Linear(self.values[last].shape[1], outputs, bias=self.random.random() < 0.7), last)
            if self.random.random() < 0.4:
                self._activation(len(self.values) - 1)


def weighted(y: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (y * target).sum()


def one_step(model: nn.Module, loss: Any, optimizer: Any, x: torch.Tensor, target: torch.Tensor) -> tuple[Any, ...]:
    """(loss, parameters after one SGD step, gradients) by torch; parameters that the loss does not read stay."""
    model = copy.deepcopy(model)
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    value = loss(model(x), target)
    found = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
    gradients = {
        name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(parameters.items(), found, strict=True)
    }
    with torch.no_grad():
        return value.detach(), {name: p - optimizer.lr * gradients[name] for name, p in parameters.items()}, gradients


@pytest.mark.parametrize("seed", range(COUNT))
def test_a_whole_network_has_torchs_bits(seed: int) -> None:
    model = RandomNet(seed, whole=True)
    x = model.x
    target = torch.randint(-1, 2, model.shape).float()
    optimizer = tritoncnn.SGD(lr=0.5)
    exact = one_step(model.double(), weighted, optimizer, x.double(), target.double())
    single = one_step(model.float(), weighted, optimizer, x, target)
    largest = max(float(g.abs().max()) for g in exact[2].values() if g.numel()) if exact[2] else 0.0
    if largest >= EXACT or float(exact[0].abs()) >= EXACT:
        pytest.skip("the numbers grow past what f32 holds exactly")
    with torch.no_grad():
        assert torch.equal(tritoncnn.compile(model, x)(x), model(x)), str(model)
    if not exact[2]:
        return
    step = tritoncnn.compile_step(model, weighted, optimizer, (x, target))
    assert float(step(x, target)) == float(exact[0]), str(model)
    weights = step.state_dict()
    for name, wanted in exact[1].items():
        assert torch.equal(weights[name].double(), wanted), f"{name}\n{model}"
        assert torch.equal(single[1][name].double(), wanted), "torch itself is not exact here: the test is wrong"


@pytest.mark.parametrize("seed", range(COUNT))
def test_a_smooth_network_stays_within_the_bound(seed: int) -> None:
    """Ours may be 16 times as far from fp64 as torch's f32 is, element for element at its worst, and 2**-20 of the largest."""
    model = RandomNet(seed, whole=False)
    x = model.x
    classes = model.shape[1] > 1
    loss: Any = F.cross_entropy if classes else F.mse_loss
    target = torch.randint(0, model.shape[1], model.shape[:1]) if classes else torch.randn(model.shape)
    optimizer = tritoncnn.SGD(lr=0.5)
    wide = target if classes else target.double()
    exact = one_step(model.double(), loss, optimizer, x.double(), wide)
    with torch.no_grad():
        y = copy.deepcopy(model).double()(x.double())
    model = model.float()
    single = one_step(model, loss, optimizer, x, target)

    def close(ours: torch.Tensor, theirs: torch.Tensor, true: torch.Tensor, what: str) -> None:
        bound = 16 * float((theirs.double() - true).abs().max()) + 2.0**-20 * float(true.abs().max())
        error = float((ours.double() - true).abs().max())
        assert error <= bound, f"{what}: error {error:.3g}, bound {bound:.3g}\n{model}"

    with torch.no_grad():
        close(tritoncnn.compile(model, x)(x), model(x), y, "output")
    step = tritoncnn.compile_step(model, loss, optimizer, (x, target))
    close(step(x, target), single[0], exact[0], "loss")
    weights = step.state_dict()
    for name, wanted in exact[1].items():
        close(weights[name], single[1][name], wanted, name)
