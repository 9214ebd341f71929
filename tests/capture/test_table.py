"""Every row of the capture table against torch: values and gradients in fp64, also where functions have corners."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.applied import Applied
from tests.capture import arithmetic
from tests.capture.moves import MOVES
from tests.capture.orders import ORDERS
from tests.capture.products import PRODUCTS
from tritoncnn.autodiff import differentiate
from tritoncnn.capture import aten as walk
from tritoncnn.capture import capture_loss, table
from tritoncnn.capture.export import Captured
from tritoncnn.ir import verify
from tritoncnn.ops import check_node
from tritoncnn.ops.evaluate import evaluate

POINTS = "points"  # a vector of halves from -8 to 8: on and between the corners of activations
POSITIVE = "positive"
STATISTIC = ("fixed", (4,))  # positive, without gradient
IMAGE = (2, 4, 6, 8)
aten = torch.ops.aten


def relu_in_place(x: torch.Tensor) -> torch.Tensor:
    y = x * 1.0
    y.view(-1).add_(1.0)
    return F.relu_(y)


def relu_of_a_view(x: torch.Tensor) -> torch.Tensor:
    F.relu_(x.view(-1))
    return x


W = torch.tensor([0.5, 2.0, 1.25])

UNARY = {
    name: (getattr(torch, name), (POINTS,)) for name in ("relu", "sigmoid", "tanh", "abs", "neg", "erf", "square")
} | {name: (getattr(torch, name), (POSITIVE,)) for name in ("exp", "log", "sqrt", "rsqrt", "reciprocal")}

ACTIVATIONS = {
    "relu6": (F.relu6, (POINTS,)),
    "hardtanh": (F.hardtanh, (POINTS,)),
    "hardtanh bounds": (lambda x: F.hardtanh(x, -0.5, 2.0), (POINTS,)),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.25), (POINTS,)),
    "prelu": (F.prelu, (POINTS, (1,))),
    "prelu channels": (F.prelu, (IMAGE, (4,))),
    "silu": (F.silu, (POINTS,)),
    "gelu": (F.gelu, (POINTS,)),
    "gelu tanh": (lambda x: F.gelu(x, approximate="tanh"), (POINTS,)),
    "elu": (F.elu, (POINTS,)),
    "selu": (F.selu, (POINTS,)),
    "celu": (lambda x: F.celu(x, 0.5), (POINTS,)),
    "hardshrink": (F.hardshrink, (POINTS,)),
    "softshrink": (F.softshrink, (POINTS,)),
    "hardswish": (F.hardswish, (POINTS,)),
    "hardsigmoid": (F.hardsigmoid, (POINTS,)),
    "clamp": (lambda x: x.clamp(-1, 2.5), (POINTS,)),
    "clamp low": (lambda x: x.clamp(min=-1), (POINTS,)),
    "clamp high": (lambda x: x.clamp(max=1), (POINTS,)),
    "clamp_min": (lambda x: torch.clamp_min(x, 0.5), (POINTS,)),
    "clamp_max": (lambda x: torch.clamp_max(x, 0.5), (POINTS,)),
    "log1p": (torch.log1p, (POSITIVE,)),
    "softplus": (F.softplus, (POINTS,)),
    "softplus all": (lambda x: F.softplus(x, 2.0, 3.0), (POINTS,)),
    "log_sigmoid": (F.logsigmoid, (POINTS,)),
    "mish": (F.mish, (POINTS,)),
    "in place": (relu_in_place, (POINTS,)),
}

ARITHMETIC = {
    "add": (torch.add, (IMAGE, (4, 1, 1))),
    "add alpha": (lambda a, b: torch.add(a, b, alpha=3), (IMAGE, IMAGE)),
    "add number": (lambda a: 2 + a, (IMAGE,)),
    "aten.add.Scalar": (lambda a: aten.add.Scalar(a, 3, 2), (IMAGE,)),
    "sub": (lambda a, b: torch.sub(a, b, alpha=2), (IMAGE, (8,))),
    "sub number": (lambda a: a - 2, (IMAGE,)),
    "aten.sub.Scalar": (lambda a: aten.sub.Scalar(a, 3), (IMAGE,)),
    "rsub": (lambda a: 2 - a, (IMAGE,)),
    "rsub tensor": (lambda a, b: torch.rsub(a, b, alpha=2), (IMAGE, IMAGE)),
    "mul": (torch.mul, ((3, 1), (1, 4))),
    "mul number": (lambda a: a * 2, (IMAGE,)),
    "aten.mul.Scalar": (lambda a: aten.mul.Scalar(a, 3), (IMAGE,)),
    "div": (torch.div, (IMAGE, POSITIVE_IMAGE := ("positive", IMAGE))),
    "div number": (lambda a: a / 3, (IMAGE,)),
    "number div": (lambda a: 3 / a, (POSITIVE,)),
    "aten.div.Scalar": (lambda a: aten.div.Scalar(a, 3), (IMAGE,)),
    "maximum": (torch.maximum, (POINTS, POINTS)),
    "minimum": (torch.minimum, (POINTS, (1,))),
    "where": (lambda a, b: torch.where(a > b, a, b * 2), (IMAGE, IMAGE)),
    "where number": (lambda a: torch.where(a > 0, a, -1.0), (POINTS,)),
    "where number first": (lambda a: torch.where(a > 0, 2.0, a), (POINTS,)),
    "where numbers": (lambda a: torch.where(a > 0, 2.0, 3.0) * a, (POINTS,)),
    "mask": (lambda a: (a > 0).float() * a + (a > 1) * a, (POINTS,)),
    "constant": (lambda a: a * torch.tensor(3.0) + torch.tensor([1.0, 2.0, 3.0]), ((4, 3),)),
    "ones": (lambda a: a * torch.ones(3) + torch.full((), 2.0), ((4, 3),)),
    "positive power": (lambda a: a**2 + a**3 + a**4 + a**1, (POINTS,)),
    "other powers": (lambda a: a**0.5 + a**-0.5 + a**-1 + a**-2, (POSITIVE,)),
} | {
    f"{name}{' number' if number else ''}": (compare(name, number), (POINTS, POINTS))
    for compare in (lambda name, number: lambda a, b: torch.where(getattr(torch, name)(a, 0.5 if number else b), a, b),)
    for name in ("gt", "lt", "ge", "le", "eq", "ne")
    for number in (False, True)
}

IMAGES = {
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, (2, 1), (1, 0), (1, 2)), (IMAGE, (5, 4, 3, 2), (5,))),
    "conv2d one image": (F.conv2d, ((4, 6, 8), (5, 4, 3, 2))),
    "conv2d same": (lambda x, w, b: F.conv2d(x, w, b, padding="same"), (IMAGE, (5, 4, 3, 3), (5,))),
    "conv2d same even": (lambda x, w, b: F.conv2d(x, w, b, padding="same"), (IMAGE, (5, 4, 2, 4), (5,))),
    "conv2d same dilated": (lambda x, w: F.conv2d(x, w, padding="same", dilation=3), (IMAGE, (5, 4, 2, 3))),
    "conv2d valid": (lambda x, w: F.conv2d(x, w, padding="valid"), (IMAGE, (5, 4, 2, 4))),
    "conv2d groups": (lambda x, w: F.conv2d(x, w, padding=1, groups=2), (IMAGE, (6, 2, 3, 3))),
    "conv2d depthwise": (lambda x, w: F.conv2d(x, w, stride=2, padding=1, groups=4), (IMAGE, (4, 1, 3, 3))),
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, 2, 1, 2), ((2, 4, 12), (5, 4, 3), (5,))),
    "conv1d one": (lambda x, w: F.conv1d(x, w, padding=2), ((4, 12), (5, 4, 3))),
    "conv1d same": (lambda x, w: F.conv1d(x, w, padding="same"), ((2, 4, 12), (5, 4, 4))),
    "conv3d": (lambda x, w, b: F.conv3d(x, w, b, (1, 2, 1), 1), ((1, 2, 4, 5, 3), (3, 2, 2, 3, 3), (3,))),
    "conv3d same": (lambda x, w: F.conv3d(x, w, padding="same"), ((1, 2, 4, 5, 3), (3, 2, 2, 3, 3))),
    "conv_transpose1d": (lambda x, w, b: F.conv_transpose1d(x, w, b, 2, 1, 1), ((2, 4, 7), (4, 3, 3), (3,))),
    "conv_transpose2d": (
        lambda x, w, b: F.conv_transpose2d(x, w, b, (2, 1), (1, 0), (1, 0), 2, (1, 2)), (IMAGE, (4, 3, 3, 2), (6,))
    ),
    "conv_transpose2d output_padding past the stride": (
        lambda x, w: F.conv_transpose2d(x, w, None, 3, 0, 3, 1, 4), ((1, 2, 3, 4), (2, 3, 2, 2))
    ),
    "conv_transpose3d": (lambda x, w: F.conv_transpose3d(x, w, stride=2), ((1, 2, 2, 3, 2), (2, 3, 2, 3, 2))),
    "aten.convolution transposed": (
        lambda x, w: aten.convolution(x, w, None, [2, 2], [1, 1], [1, 1], True, [1, 1], 1), (IMAGE, (4, 3, 3, 3))
    ),
    "aten.convolution": (
        lambda x, w: aten.convolution(x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1), (IMAGE, (5, 4, 3, 3))
    ),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), (IMAGE,)),
    "max_pool2d all": (lambda x: F.max_pool2d(x, (3, 2), (2, 3), 1, (1, 2), True), (IMAGE,)),
    "max_pool2d one image": (lambda x: F.max_pool2d(x, 2), (IMAGE[1:],)),
    "max_pool2d with indices": (lambda x: F.max_pool2d(x, 2, return_indices=True)[0], (IMAGE,)),
    "indices of max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True)[1] * x.mean(), (IMAGE,)),
    "indices of adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x, 2, return_indices=True)[1] * x.mean(), (IMAGE,)),
    "max_unpool3d": (
        lambda x: F.max_unpool3d(*F.max_pool3d(x, 2, return_indices=True), 2, output_size=x.shape[2:]), ((1, 2, 4, 5, 3),)
    ),
    "max_unpool2d": (lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), (IMAGE,)),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 2), (IMAGE,)),
    "avg_pool2d all": (lambda x: F.avg_pool2d(x, (3, 2), (2, 3), 1, True, False), (IMAGE,)),
    "max_pool3d with indices": (lambda x: F.max_pool3d(x, 2, return_indices=True)[0], ((1, 2, 4, 5, 3),)),
    "aten._adaptive_avg_pool3d": (lambda x: aten._adaptive_avg_pool3d(x, [3, 2, 2]), ((1, 2, 4, 5, 3),)),
    "max_pool1d": (lambda x: F.max_pool1d(x, 3, 2, 1, 1, True), (IMAGE[1:],)),
    "max_pool3d": (lambda x: F.max_pool3d(x, 2, (1, 2, 1), 1), ((1, 2, 4, 5, 3),)),
    "avg_pool1d": (lambda x: F.avg_pool1d(x, 3, 2, 1, True, False), (IMAGE[1:],)),
    "avg_pool3d": (lambda x: F.avg_pool3d(x, (2, 3, 1), 2, (1, 1, 0), True), ((1, 2, 4, 5, 3),)),
    "adaptive_avg_pool1d": (lambda x: F.adaptive_avg_pool1d(x, 5), (IMAGE[1:],)),
    "adaptive_avg_pool3d": (lambda x: F.adaptive_avg_pool3d(x, (3, None, 2)), ((1, 2, 4, 5, 3),)),
    "adaptive_max_pool1d": (lambda x: F.adaptive_max_pool1d(x, 5), (IMAGE[1:],)),
    "adaptive_max_pool3d": (lambda x: F.adaptive_max_pool3d(x, (3, 2, 2)), ((1, 2, 4, 5, 3),)),
    "adaptive_avg_pool2d uneven": (lambda x: F.adaptive_avg_pool2d(x, (4, 5)), (IMAGE,)),
    "adaptive_max_pool2d uneven": (lambda x: F.adaptive_max_pool2d(x, (4, 5)), (IMAGE,)),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (3, 2)), (IMAGE,)),
    "adaptive_avg_pool2d 1": (lambda x: F.adaptive_avg_pool2d(x, 1), (IMAGE,)),
    "adaptive_avg_pool2d None": (lambda x: F.adaptive_avg_pool2d(x, (None, 4)), (IMAGE,)),
    "aten._adaptive_avg_pool2d": (lambda x: aten._adaptive_avg_pool2d(x, [3, 4]), (IMAGE,)),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x, (3, 2)), (IMAGE,)),
    "batch_norm": (
        lambda x, m, v, g, b: F.batch_norm(x, m, v, g, b, False, eps=0.1), (IMAGE, STATISTIC, STATISTIC, (4,), (4,))
    ),
    "batch_norm, in place": (lambda x, m, v: F.relu_(F.batch_norm(x, m, v)), (IMAGE, STATISTIC, STATISTIC)),
    "batch_norm, by a view": (  # a change that another tensor sees sends the whole graph through torch's decompositions
        lambda x, m, v: relu_of_a_view(F.batch_norm(x, m, v)), (IMAGE, STATISTIC, STATISTIC)
    ),
    "batch_norm bare": (lambda x, m, v: F.batch_norm(x, m, v), ((5, 4), STATISTIC, STATISTIC)),
    "group_norm": (lambda x, g, b: F.group_norm(x, 2, g, b), (IMAGE, (4,), (4,))),
    "instance_norm": (lambda x, g, b: F.instance_norm(x, weight=g, bias=b), (IMAGE, (4,), (4,))),
    "layer_norm": (lambda x, g, b: F.layer_norm(x, (6, 8), g, b, 0.1), (IMAGE, (6, 8), (6, 8))),
    "layer_norm bare": (lambda x: F.layer_norm(x, (3,)), ((5, 3),)),
}  # fmt: skip

MATRICES = {
    "linear": (F.linear, ((5, 3), (4, 3), (4,))),
    "linear no bias": (F.linear, ((2, 5, 3), (4, 3))),
    "linear vector": (F.linear, ((3,), (4, 3), (4,))),
    "addmm": (torch.addmm, ((4,), (5, 3), (3, 4))),
    "addmm scaled": (lambda b, x, w: torch.addmm(b, x, w, beta=2, alpha=3), ((5, 4), (5, 3), (3, 4))),
    "mm": (torch.mm, ((5, 3), (3, 4))),
    "matmul": (torch.matmul, ((2, 5, 3), (3, 4))),
    "matmul vector": (torch.matmul, ((3,), (3, 4))),
    "t": (lambda x: x.t(), ((3, 4),)),
    "T": (lambda x: x.T, ((3, 4),)),
    "transpose": (lambda x: x.transpose(1, -1), (IMAGE,)),
    "permute": (lambda x: x.permute(0, 2, -1, 1), (IMAGE,)),
    "sum": (lambda x: x.sum(), (IMAGE,)),
    "sum dims": (lambda x: x.sum((1, -1)), (IMAGE,)),
    "sum keepdim": (lambda x: x.sum(2, keepdim=True), (IMAGE,)),
    "mean": (lambda x: x.mean(), (IMAGE,)),
    "mean dims": (lambda x: x.mean((2, 3), keepdim=True), (IMAGE,)),
    "mean of one": (lambda x: x.sum().mean(), (IMAGE,)),
    "softmax": (lambda x: F.softmax(x, 1), ((5, 3),)),
    "softmax more": (lambda x: F.softmax(x, -1), ((2, 5, 3),)),
    "softmax channels": (lambda x: F.softmax(x, 1), (IMAGE,)),
    "log_softmax": (lambda x: F.log_softmax(x, 1), (IMAGE,)),
    "aten._log_softmax": (lambda x: aten._log_softmax(x, 1, False), ((5, 3),)),
    "aten._softmax": (lambda x: aten._softmax(x, 1, False), ((5, 3),)),
    "mse_loss": (F.mse_loss, ((5, 3), (5, 3))),
    "mse_loss broadcast": (F.mse_loss, ((5, 3), (1, 3))),
    "mse_loss sum": (lambda a, b: F.mse_loss(a, b, reduction="sum"), ((5, 3), (5, 3))),
    "mse_loss none": (lambda a, b: F.mse_loss(a, b, reduction="none"), ((5, 3), (5, 3))),
    "l1_loss": (F.l1_loss, ((5, 3), (5, 3))),
    "smooth_l1_loss": (lambda a, b: F.smooth_l1_loss(a, b, beta=0.75), ((5, 3), (5, 3))),
    "huber_loss": (lambda a, b: F.huber_loss(a, b, delta=0.75), ((5, 3), (5, 3))),
    "bce_with_logits": (
        lambda x, t: F.binary_cross_entropy_with_logits(x, t, W.to(x.dtype), pos_weight=2 * W.to(x.dtype)),
        ((5, 3), (5, 3)),
    ),
    "bce_with_logits bare": (F.binary_cross_entropy_with_logits, ((5, 3), (5, 3))),
    "soft targets": (lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1), ((5, 3), (5, 3))),
    "broadcast_tensors": (lambda a, b: torch.mul(*torch.broadcast_tensors(a, b)), ((5, 3), (1, 3))),
}

VIEWS = {
    "view": (lambda x: x.view(2, -1), (IMAGE,)),
    "reshape": (lambda x: x.permute(0, 2, 3, 1).reshape(-1, 4), (IMAGE,)),
    "flatten": (lambda x: x.flatten(1) * 2, (IMAGE,)),
    "unflatten": (lambda x: x.unflatten(1, (2, 2)), (IMAGE,)),
    "squeeze": (lambda x: x.squeeze() + x.squeeze(0) + x.squeeze((0, 1)), ((1, 1, 3),)),
    "unsqueeze": (lambda x: x.unsqueeze(0) * x.unsqueeze(-1), ((3,),)),
    "aten._unsafe_view": (lambda x: aten._unsafe_view(x, [8, 48]), (IMAGE,)),
    "view_as": (lambda x, y: x.view_as(y) * y, ((2, 6), (3, 4))),
    "expand": (lambda x: x.expand(5, 4, 3), ((4, 1),)),
    "expand_as": (lambda x, y: x.expand_as(y) * y, ((1, 3), (4, 3))),
    "identities": (lambda x: x.contiguous().clone().to(torch.float32).float().view_as(x).type_as(x), (IMAGE,)),
    "dropout": (lambda x: F.dropout(x, training=False), (IMAGE,)),
}

CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = (
    UNARY | ACTIVATIONS | ARITHMETIC | IMAGES | MATRICES | VIEWS | MOVES | PRODUCTS | ORDERS | arithmetic.CASES
)  # type: ignore[assignment]


def make(spec: Any) -> torch.Tensor:
    """fp64 data of which every number is an f32 too."""
    generator = torch.Generator().manual_seed(zlib.crc32(repr(spec).encode()))
    if spec == POINTS:
        return (torch.arange(-16, 17) / 2).double()
    if spec == POSITIVE:
        return (torch.arange(1, 33) / 8).double()
    if isinstance(spec[0], str):  # positive
        return torch.randint(1, 33, spec[1], generator=generator).double() / 8
    return torch.randint(-32, 33, spec, generator=generator).double() / 8


def weighted(y: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (y * target).sum()


@cache
def captured(name: str) -> tuple[Captured, frozenset[str]]:
    """The graph of sum(function(*x) * target), and the rows of the table that it used."""
    function, specs = CASES[name]
    inputs = tuple(make(spec).float() for spec in specs)
    used: set[str] = set()

    class Recording(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            used.add(key)
            return super().__getitem__(key)

    before, walk.TABLE = walk.TABLE, Recording(walk.TABLE)
    try:
        return capture_loss(Applied(function), weighted, inputs, torch.ones(function(*inputs).shape)), frozenset(used)
    finally:
        walk.TABLE = before


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradients_agree_with_torch(name: str) -> None:
    function, specs = CASES[name]
    graph = captured(name)[0].graph
    inputs = [make(spec).requires_grad_(spec != STATISTIC) for spec in specs]
    trained = [i for i, x in enumerate(inputs) if x.requires_grad]
    y = function(*(x.clone() for x in inputs))
    target = torch.randn(y.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    loss = weighted(y, target)
    wanted = torch.autograd.grad(loss, [inputs[i] for i in trained], allow_unused=True, materialize_grads=True)
    graph = differentiate(graph, tuple(graph.input(f"x_{i}") for i in trained))
    verify(graph, check_node)
    values = {f"x_{i}": x.detach() for i, x in enumerate(inputs)} | {"target": target}
    constants = {
        key: tensor.double() if tensor.is_floating_point() else tensor
        for key, tensor in captured(name)[0].constants.items()
    }
    found = evaluate(graph, values | constants)
    for ours, theirs in zip(found, (loss.detach(), *wanted), strict=True):
        torch.testing.assert_close(ours, theirs)


LOSSES = {  # with whole-number targets
    "cross_entropy": F.cross_entropy,
    "nll_loss of log_softmax": lambda y, t: F.nll_loss(F.log_softmax(y, 1), t),
    "aten.nll_loss": lambda y, t: aten.nll_loss(F.log_softmax(y, 1), t),
    "ignore_index": lambda y, t: F.cross_entropy(y, t, ignore_index=1),
    "sum": lambda y, t: F.cross_entropy(y, t, reduction="sum"),
    "none": lambda y, t: (F.cross_entropy(y, t, reduction="none") ** 2).sum(),
    "label_smoothing": lambda y, t: F.cross_entropy(y, t, label_smoothing=0.1),
    "weight": lambda y, t: F.cross_entropy(y, t, W.to(y.dtype)),
    "weight, smoothing": lambda y, t: F.cross_entropy(y, t, W.to(y.dtype), ignore_index=2, label_smoothing=0.3),
    "weight none": lambda y, t: F.cross_entropy(y, t, W.to(y.dtype), label_smoothing=0.3, reduction="none").sum(),
    "per pixel": lambda y, t: F.cross_entropy(
        y.view(1, 5, 3, 1).permute(0, 2, 1, 3), t.view(1, 5, 1), ignore_index=1, label_smoothing=0.1
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_classification_loss_agrees_with_torch(name: str) -> None:
    x, target = make((5, 3)).requires_grad_(), torch.tensor([0, 2, 1, 1, 0])
    captured = capture_loss(Applied(lambda x: x * 2), LOSSES[name], (x.detach().float(),), target)
    graph = differentiate(captured.graph, (captured.graph.input("x_0"),))
    loss = LOSSES[name](x * 2, target)
    values = {"x_0": x.detach(), "target": target} | {k: v.double() for k, v in captured.constants.items()}
    found = evaluate(graph, values)
    torch.testing.assert_close(found[0], loss.detach())
    torch.testing.assert_close(found[1], torch.autograd.grad(loss, x)[0])


def test_every_row_of_the_table_is_tested() -> None:
    used = set().union(*(captured(name)[1] for name in CASES))
    rows = {row for row in set(table.TABLE) - used if not row.startswith("prims::")}  # tests/capture/test_decompose.py
    # Losses with whole-number targets and what torch cannot differentiate have a test of their own.
    elsewhere = {
        "native_channel_shuffle",
        "scatter",  # with reduce="add"
        "binary_cross_entropy",
        "cross_entropy_loss",
        "multilabel_margin_loss",
        "nll_loss",
        "nll_loss_nd",
        "nll_loss2d",
    }
    assert {row.split(".")[0] for row in rows} <= elsewhere, rows
