"""Layers and losses of torch.nn in training mode: losses, gradients and new buffers of two steps against torch in fp64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from tritoncnn.autodiff import differentiate
from tritoncnn.capture import capture_loss
from tritoncnn.ops.evaluate import evaluate

IMAGE = (3, 4, 5, 6)


class Twice(nn.Module):
    """One batch norm, called twice: its counter grows by 2."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.norm(x) * x)  # type: ignore[no-any-return]


class Average(nn.Module):
    """A moving average and a counter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 6)
        self.register_buffer("mean", torch.zeros(6))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.line(x)
        self.mean.mul_(0.9).add_(0.1 * y.mean((0, 1, 2)).detach())
        self.count += 3
        return y * self.mean / self.count


class Bags(nn.Module):
    """Bags of one size, of several sizes, and an empty one; some without their row 2."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.line = nn.Linear(6, 3)
        self.bags, self.padded = nn.EmbeddingBag(7, 3, mode=mode), nn.EmbeddingBag(7, 3, mode=mode, padding_idx=2)
        self.weighed = mode == "sum"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        squares, line = torch.tensor([[1, 2, 2], [4, 0, 6]]), torch.tensor([1, 2, 2, 4, 0, 6])
        y = (
            self.bags(squares).sum(0)
            + self.padded(squares, per_sample_weights=squares.to(x) * 0.5 if self.weighed else None)[0]
        )
        y = y + self.padded(line, torch.tensor([0, 1, 3, 3]))[:, None].square().sum(0)
        return self.line(x) * y


class Causal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Transformer(6, 2, 1, 1, 5, dropout=0.0, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(5).to(x)
        return self.net(x[:, 0], x[:, 1], mask, mask)  # type: ignore[no-any-return]


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "batch norm": lambda: nn.BatchNorm2d(4),
    "batch norm, momentum None": lambda: nn.BatchNorm2d(4, momentum=None),
    "batch norm, momentum None, one sample": lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(120, momentum=None)),
    "batch norm without statistics": lambda: nn.BatchNorm2d(4, track_running_stats=False),
    "batch norm without parameters": lambda: nn.Sequential(nn.BatchNorm2d(4, affine=False), nn.Linear(6, 2)),
    "batch norm in eval mode": lambda: nn.BatchNorm2d(4).eval(),
    "batch norm without statistics in eval mode": lambda: nn.BatchNorm2d(4, track_running_stats=False).eval(),
    "batch norm used twice": Twice,
    "instance norm": lambda: nn.InstanceNorm2d(4, affine=True),
    "instance norm with statistics": lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
    "instance norm, momentum None": lambda: nn.Sequential(
        nn.InstanceNorm2d(4, momentum=None, track_running_stats=True), nn.Linear(6, 2)),
    "instance norm in eval mode": lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True).eval(),
    "moving average": Average,
    "weight norm": lambda: parametrizations.weight_norm(nn.Conv2d(4, 3, 3)),
    "weight norm of another dim": lambda: parametrizations.weight_norm(nn.Linear(6, 3), dim=1),
    "old weight norm": lambda: torch.nn.utils.weight_norm(nn.Conv2d(4, 3, 3)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Conv2d(4, 3, 3)),
    "old spectral norm": lambda: torch.nn.utils.spectral_norm(nn.Linear(6, 3)),
    "RMS norm": lambda: nn.RMSNorm([5, 6], eps=1e-5),
    "local response norm": lambda: nn.Sequential(nn.Conv2d(4, 4, 1), nn.LocalResponseNorm(3)),
    "PReLU, GLU, CELU": lambda: nn.Sequential(nn.PReLU(4), nn.GLU(1), nn.CELU(0.5), nn.Softsign(), nn.Linear(6, 2)),
    "shrinks": lambda: nn.Sequential(nn.Linear(6, 6), nn.Hardshrink(0.2), nn.Softshrink(0.1), nn.Tanhshrink(),
                                     nn.Threshold(0.01, 0.5)),
    "softmin, softmax2d": lambda: nn.Sequential(nn.Linear(6, 6), nn.Softmin(1), nn.Softmax2d(), nn.LogSoftmax(-1)),
    "bilinear": lambda: nn.Sequential(nn.Linear(6, 6), Pair(nn.Bilinear(6, 6, 3))),
    "embedding bags": lambda: Bags("sum"),
    "means of bags": lambda: Bags("mean"),
    "maxima of bags": lambda: Bags("max"),
    "transformer with its causal mask": Causal,
    "LSTM": lambda: nn.Sequential(nn.Flatten(2), First(nn.LSTM(30, 3, batch_first=True))),
    "GRU": lambda: nn.Sequential(nn.Flatten(2), First(nn.GRU(30, 3, num_layers=2, bidirectional=True))),
    "dropout of nothing": lambda: nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.0, inplace=True), nn.AlphaDropout(0.0)),
    "rrelu in eval mode": lambda: nn.Sequential(nn.Linear(6, 3), nn.RReLU().eval()),
}  # fmt: skip


class Pair(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> Any:
        return self.layer(x, x * x)


class First(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> Any:
        return self.layer(x)[0]


def loss(y: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (y * y * target).sum()


def wide(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name: tensor.detach().double() if tensor.is_floating_point() else tensor.detach().clone()
        for name, tensor in tensors.items()
    }


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    return LAYERS[name]()


@pytest.mark.parametrize("name", LAYERS)
def test_two_steps_agree_with_torch(name: str) -> None:
    x = torch.randn(IMAGE, generator=torch.Generator().manual_seed(1))
    target = torch.randn(made(name)(x).shape, generator=torch.Generator().manual_seed(2))
    captured = capture_loss(made(name), loss, (x,), target)
    module = made(name).double()
    names = [key for key in captured.parameters if dict(module.named_parameters())[key].requires_grad]
    graph = differentiate(captured.graph, tuple(captured.graph.input(key) for key in names))
    inputs = wide({"x": x, "input": x, "target": target} | captured.constants) | wide(dict(module.state_dict()))
    for _ in range(2):
        found = evaluate(graph, {value.name: inputs[value.name] for value in graph.inputs})
        value = loss(module(x.double()), target.double())
        parameters = dict(module.named_parameters())
        wanted = torch.autograd.grad(value, [parameters[key] for key in names])
        torch.testing.assert_close(found[0], value.detach())
        for ours, theirs in zip(found[len(found) - len(names) :], wanted, strict=True):
            torch.testing.assert_close(ours, theirs)
        for key, new in zip(captured.updated, found[1:], strict=False):
            torch.testing.assert_close(new, module.state_dict()[key].detach(), check_dtype=False)
            inputs[key] = new


def labels(*shape: int) -> torch.Tensor:
    return torch.randint(0, 4, shape, generator=torch.Generator().manual_seed(1))


def signs(*shape: int) -> torch.Tensor:
    return labels(*shape) % 2 * 2 - 1


def steps(y: torch.Tensor, T: int) -> tuple[torch.Tensor]:
    """Logarithms of probabilities [T, 2, 4] that differ from step to step."""
    turns = torch.linspace(0.5, 2, T, dtype=y.dtype).reshape(T, 1, 1)
    return ((y[:2] * turns + y[2:4] * turns.flip(0)).log_softmax(2),)


R = {"reduction": "sum"}
LOSSES: dict[str, tuple[Callable[..., torch.Tensor], torch.Tensor]] = {
    "binary_cross_entropy": (lambda y, t: F.binary_cross_entropy(y.sigmoid(), t, t + 1), torch.rand(6, 4)),
    "bce of 0 and 1": (lambda y, t: F.binary_cross_entropy((y > 0) * 1.0 + y * 0, t, **R), torch.rand(6, 4)),
    "kl_div": (lambda y, t: F.kl_div(F.log_softmax(y, 1), t, reduction="batchmean"), torch.rand(6, 4)),
    "kl_div of logarithms": (lambda y, t: F.kl_div(F.log_softmax(y, 1), t, log_target=True, **R), torch.rand(6, 4)),
    "gaussian_nll": (lambda y, t: F.gaussian_nll_loss(y, t, y.exp(), full=True), torch.rand(6, 4)),
    "poisson_nll": (lambda y, t: F.poisson_nll_loss(y, t, full=True), torch.rand(6, 4) * 4),
    "poisson_nll of rates": (lambda y, t: F.poisson_nll_loss(y.exp(), t, log_input=False, **R), torch.rand(6, 4)),
    "soft_margin": (lambda y, t: F.soft_margin_loss(y, t), signs(6, 4)),
    "multi_margin": (lambda y, t: F.multi_margin_loss(y, t, p=2, margin=0.5, weight=torch.arange(4).to(y) + 1), labels(6)),
    "multilabel_soft_margin": (lambda y, t: F.multilabel_soft_margin_loss(y, t), torch.rand(6, 4)),
    "margin_ranking": (lambda y, t: F.margin_ranking_loss(y[:, 0], y[:, 1], t, margin=0.1), signs(6)),
    "hinge_embedding": (lambda y, t: F.hinge_embedding_loss(y, t), signs(6, 4)),
    "cosine_embedding": (lambda y, t: F.cosine_embedding_loss(y, y.flip(0) * 2, t, 0.1), signs(6)),
    "triplet": (lambda y, t: F.triplet_margin_loss(y, y.flip(0), t, swap=True), torch.rand(6, 4)),
    "pairwise_distance": (lambda y, t: F.pairwise_distance(y, t, p=1.5).sum(), torch.rand(6, 4)),
    "cdist": (lambda y, t: torch.cdist(y, t, p=2).sum() + torch.cdist(y, t, p=1).sum(), torch.rand(5, 4)),
    "cosine_similarity": (lambda y, t: F.cosine_similarity(y, t).sum(), torch.rand(6, 4)),
    "unlabelled": (lambda y, t: F.cross_entropy(y, torch.where(t > 2, -100, t)), labels(6)),
    "labels of u8": (lambda y, t: F.cross_entropy(y, t.long()), labels(6).to(torch.uint8)),
    "accuracy beside it": (
        lambda y, t: F.cross_entropy(y, t) * (1 + (y.argmax(1) == t).sum() / t.numel()), labels(6)
    ),
    "pictures of u8": (lambda y, t: ((t / 255 - 0.5) / 0.25 * y).mean(), torch.arange(24, dtype=torch.uint8).reshape(6, 4) * 10),
    "half target": (lambda y, t: F.mse_loss(y, t.float()), torch.rand(6, 4).half()),
    "multilabel_margin": (
        lambda y, t: F.multilabel_margin_loss(y, t),
        torch.tensor([[1, 2, -1, 0], [3, -1, 0, 0], [-1, 0, 0, 0], [0, 1, 2, 3], [2, 2, 0, -1], [3, 1, 2, 0]]),
    ),
    "multilabel_margin of one": (lambda y, t: F.multilabel_margin_loss(y[0], t, **R), torch.tensor([2, 0, -1, 1])),
    "pdist": (lambda y, t: (F.pdist(y) * t).sum() + F.pdist(torch.cat([y, y]), 1.5).sum(), torch.rand(15)),
    "ctc": (lambda y, t: F.ctc_loss(*steps(y, 5), t, (4, 5), (2, 1)), labels(2, 3) % 3 + 1),
    "ctc of tensors": (
        lambda y, t: F.ctc_loss(*steps(y, 5), t, torch.tensor([5, 3]), torch.tensor([2, 0]), 3, **R), labels(2, 3) % 3
    ),
    "ctc of what cannot be": (
        lambda y, t: F.ctc_loss(*steps(y, 2), t, (2, 2), (3, 1), zero_infinity=True), labels(2, 3) % 3 + 1
    ),
    "cov": (lambda y, t: (torch.cov(y.T) * t).sum() + torch.cov(y[0], correction=0), torch.rand(4, 4)),
    "cov with weights": (
        lambda y, t: torch.cov(y.T, fweights=torch.tensor([1, 2, 0, 3, 1, 1]), aweights=t).square().sum(), torch.rand(6)
    ),
    "corrcoef": (lambda y, t: (torch.corrcoef(y) * t).sum(), torch.rand(6, 6)),
    "distributions": (
        lambda y, t: torch.distributions.Normal(y, F.softplus(y)).log_prob(t).sum()
        - torch.distributions.Categorical(logits=y).entropy().sum()
        + torch.distributions.kl_divergence(
            torch.distributions.Gamma(y.exp(), t), torch.distributions.Gamma(t, t)
        ).sum(),
        torch.rand(6, 4) + 0.1,
    ),
    "masked": (lambda y, t: (y.square() * t).sum() / t.sum(), labels(6, 4) > 1),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_and_its_gradients_agree_with_torch(name: str) -> None:
    function, target = LOSSES[name]
    torch.manual_seed(0)
    net, x = nn.Linear(3, 4), torch.randn(6, 3)
    captured = capture_loss(net, function, (x,), target)
    names = list(captured.parameters)
    graph = differentiate(captured.graph, tuple(captured.graph.input(key) for key in names))
    inputs = wide({"input": x, "target": target} | captured.constants | dict(net.state_dict()))
    found = evaluate(graph, {value.name: inputs[value.name] for value in graph.inputs})
    net = net.double()
    value = function(net(x.double()), target.double() if target.is_floating_point() else target)
    wanted = torch.autograd.grad(value, list(net.parameters()), allow_unused=True, materialize_grads=True)
    for ours, theirs in zip(found, (value.detach(), *wanted), strict=True):
        torch.testing.assert_close(ours, theirs)
