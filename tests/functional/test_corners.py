"""Where fused ops and torch's could part: labels that are ignored, scale factors near 1, infinities, indices from the end."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tritoncnn
from tests.applied import Applied
from tritoncnn import functional as T

pytestmark = pytest.mark.sweep(2)

LOGITS = [(6, 5), (5,), (2, 5, 3, 4), (600, 40)]


def labels_for(shape: tuple[int, ...], ignored: int) -> torch.Tensor:
    """Class numbers for logits of that shape, about every third of which is ``ignored``."""
    generator = torch.Generator().manual_seed(0)
    C, left = (shape[0], ()) if len(shape) == 1 else (shape[1], (shape[0], *shape[2:]))
    labels = torch.randint(0, C, left, generator=generator)
    return torch.where(torch.rand(left, generator=generator) < 0.3, ignored, labels)


@pytest.mark.sweep(4)
@pytest.mark.parametrize("shape", LOGITS, ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("weighted", "smoothing"), [(False, 0.0), (True, 0.0), (False, 0.2), (True, 0.2)])
@pytest.mark.parametrize("ignored", [-100, 0])
def test_ignored_labels_count_nowhere(
    shape: tuple[int, ...], reduction: str, weighted: bool, smoothing: float, ignored: int
) -> None:
    target = labels_for(shape, ignored)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
    weight = torch.linspace(0.5, 2, shape[0] if len(shape) == 1 else shape[1]) if weighted else None
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing, "ignore_index": ignored}
    found = T.cross_entropy(x, target, weight, **options)
    wanted = F.cross_entropy(x, target, weight, **options)
    # Logarithms of sums of a few exponentials, added up over at most 600 rows.
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5, equal_nan=True)
    dy = torch.ones_like(found)
    torch.testing.assert_close(
        *(torch.autograd.grad(y, x, dy)[0] for y in (found, wanted)), rtol=1e-5, atol=1e-6, equal_nan=True
    )


def test_ignoring_is_the_default() -> None:
    x, target = torch.randn(4, 3), torch.tensor([0, -100, 2, -100])
    torch.testing.assert_close(T.cross_entropy(x, target), F.cross_entropy(x[::2], target[::2]))
    assert T.cross_entropy(x, torch.full((4,), -100)).isnan()


LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "module": nn.CrossEntropyLoss(),
    "smooth": lambda y, t: F.cross_entropy(y, t, label_smoothing=0.1),
    "sum": lambda y, t: F.cross_entropy(y, t, reduction="sum"),
    "none": lambda y, t: F.cross_entropy(y, t, reduction="none").mean(),
    "nll": lambda y, t: F.nll_loss(F.log_softmax(y, 1), t),
    "one sample": lambda y, t: F.nll_loss(F.log_softmax(y[2], 0), t[2]) + F.cross_entropy(y[3], t[3]),
    "pictures": lambda y, t: F.cross_entropy(y.reshape(2, 3, 5, 1).transpose(1, 2), t.reshape(2, 3, 1)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_compiled_step_leaves_ignored_labels_out(name: str) -> None:
    def net() -> nn.Module:
        torch.manual_seed(0)
        return nn.Linear(4, 5)

    x, target = torch.randn(6, 4), torch.tensor([0, -100, 2, 4, -100, -100])
    ours, theirs = net(), net()
    step = tritoncnn.compile_step(ours, LOSSES[name], tritoncnn.SGD(lr=0.1), (x, target))
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for _ in range(2):
        found = step(x, target)
        wanted = LOSSES[name](theirs(x), target)
        optimizer.zero_grad()
        wanted.backward()
        optimizer.step()
        torch.testing.assert_close(torch.as_tensor(found), wanted.detach(), rtol=1e-5, atol=1e-6)
    state = step.state_dict()
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(state[key], value, rtol=1e-5, atol=1e-6)


MODES = [
    *((mode, axes) for mode in ("nearest", "nearest-exact", "area") for axes in (1, 2, 3)),
    ("linear", 1), ("bilinear", 2), ("trilinear", 3), ("bicubic", 2),
]  # fmt: skip


@pytest.mark.sweep(4)
@pytest.mark.parametrize(("mode", "axes"), MODES)
@pytest.mark.parametrize("factor", [1.05, 1.3, 0.95, 1.99, 2.1])
@pytest.mark.parametrize("one_axis", [False, True])
def test_scale_factors_near_whole_numbers_name_torchs_pixels(
    mode: str, axes: int, factor: float, one_axis: bool
) -> None:
    factors = (factor, *(1.0 if one_axis else factor for _ in range(axes - 1)))
    for sizes in ((3, 4, 5), (9, 7, 4)):
        shape = (1, 2, *sizes[:axes])
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        found, wanted = (module.interpolate(x, scale_factor=factors, mode=mode) for module in (T, F))
        exact = mode.startswith("nearest")
        torch.testing.assert_close(found, wanted, rtol=0, atol=0 if exact else 1e-5)


CORNERS = [
    math.inf,
    -math.inf,
    math.nan,
    0.0,
    -0.0,
    1e-30,
    -1e-30,
    3e38,
    -3e38,
    1.0,
    -1.0,
    89.0,
    -89.0,
    1e-7,
    -1e-7,
    -2.0,
]


@pytest.mark.parametrize("function", [
    torch.log1p, torch.exp, torch.log, torch.tanh, torch.sigmoid, F.softplus, F.elu, F.silu, F.gelu, F.mish, F.logsigmoid,
    F.hardswish, F.hardsigmoid, F.relu6, torch.erf, torch.rsqrt, torch.sqrt, torch.reciprocal,
], ids=lambda f: f.__name__)  # fmt: skip
def test_what_functions_give_at_infinity_nan_and_zero(function: Callable[..., torch.Tensor]) -> None:
    x = torch.tensor(CORNERS)
    # torch's own vectors of some CPUs give NaN for gelu(inf), and inf for gelu(3e38).
    wanted = function(x.double()).float() if function is F.gelu else function(x)
    found = tritoncnn.compile(Applied(function).eval(), x)(x)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=2e-7, equal_nan=True)
    if function in (torch.log1p, torch.tanh, F.elu):  # torch's own vectors and scalars differ in others
        zeros = wanted == 0
        assert torch.equal(found[zeros].signbit(), wanted[zeros].signbit())
    small = (x.abs() < 1e-6) & wanted.isfinite()
    torch.testing.assert_close(found[small], wanted[small], rtol=1e-6, atol=0)


INDEXED: dict[str, Callable[..., torch.Tensor]] = {
    "a list": lambda x, i: x[:, [0, -1]],
    "first dim": lambda x, i: x[[-1, 1]],
    "last dim": lambda x, i: x[..., [-1, -4]],
    "a tensor": lambda x, i: x[:, i],
    "a table": lambda x, i: x[:, i.reshape(2, 2)],
    "a number": lambda x, i: x[:, -1] + x[-1, -2],
    "a slice": lambda x, i: x[:, -3:-1],
}


@pytest.mark.parametrize("name", INDEXED)
def test_indices_below_zero_count_from_the_end(name: str) -> None:
    x, i = torch.randn(3, 5, 4), torch.tensor([-1, 0, -5, 4])
    if name in ("a tensor", "a table"):
        module, inputs = Applied(INDEXED[name]).eval(), (x, i)
    else:
        module, inputs = Applied(lambda x: INDEXED[name](x, i)).eval(), (x,)
    assert torch.equal(tritoncnn.compile(module, inputs)(*inputs), module(*inputs))


@pytest.mark.parametrize("function", [
    lambda x, i: x[:, i], lambda x, i: x.index_select(1, i), lambda x, i: x.gather(1, i.reshape(1, 4, 1)),
    lambda x, i: F.embedding(i, x[0]),
], ids=["index", "index_select", "gather", "embedding"])  # fmt: skip
def test_an_index_that_names_nothing_gives_nan_and_reads_nothing(function: Callable[..., torch.Tensor]) -> None:
    """In a model: one that is computed from floats; those that follow from whole numbers alone are refused before."""
    x, good, bad = torch.randn(3, 5, 4), torch.tensor([0, 1, 2, 3]), torch.tensor([0, 5, 2**40, -6])
    model = tritoncnn.compile(Applied(lambda x, i: function(x, i + (x.sum() * 0).long())).eval(), (x, good))
    assert torch.equal(model(x, good), function(x, good))
    missing = model(x, bad).isnan().movedim(-2, 0).flatten(1).all(1)
    assert missing.tolist() == [False, True, True, True]


NORMS: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "batch_norm": lambda m, x: m.batch_norm(x, None, None, training=True),
    "group_norm": lambda m, x: m.group_norm(x, 2),
    "instance_norm": lambda m, x: m.instance_norm(x),
    "layer_norm of all": lambda m, x: m.layer_norm(x, x.shape[1:]),
    "layer_norm of rows": lambda m, x: m.layer_norm(x, x.shape[-1:]),
}


@pytest.mark.parametrize("value", [1e5 / 3, -7.7, 1 / 3, 1.23e20])
@pytest.mark.parametrize("shape", [(2, 4, 10, 10), (3, 4, 33), (2, 4, 3, 5, 7), (3, 4, 61, 67)], ids=str)
@pytest.mark.parametrize("name", NORMS)
def test_equal_numbers_are_normed_to_nothing(name: str, shape: tuple[int, ...], value: float) -> None:
    x = torch.full(shape, value)
    for layout in (x, x.movedim(1, -1).contiguous().movedim(-1, 1)):
        assert not NORMS[name](T, layout).any()


def test_running_statistics_of_equal_numbers_are_exact() -> None:
    x, mean, var = torch.full((3, 5, 7, 9), 1e5 / 3), torch.zeros(5), torch.ones(5)
    T.batch_norm(x, mean, var, training=True, momentum=1.0)
    assert torch.equal(mean, x[0, :, 0, 0])
    assert not var.any()


@pytest.mark.parametrize("bias", [1e5 / 3, 7.7])
def test_a_convolution_that_is_constant_is_normed_to_nothing(bias: float) -> None:
    x, w = torch.full((3, 2, 9, 11), bias), torch.zeros(5, 2, 1, 1)
    w[:, 0] = 1.0
    mean, var = torch.zeros(5), torch.ones(5)
    y = T.conv2d_batch_norm(x, w, mean, var, training=True, momentum=1.0)
    assert not y.any()
    assert torch.equal(mean, x[0, 0, 0, :5])
    assert not var.any()


@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
@pytest.mark.parametrize("shape", [(96, 16, 17, 17), (4, 16, 80, 80), (27744, 16)], ids=str)
def test_batch_statistics_of_many_numbers_are_as_good_as_torchs(shape: tuple[int, ...], layout: str) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 2 + 1
    x = x if layout == "contiguous" else x.movedim(1, -1).contiguous().movedim(-1, 1)
    mean, var = torch.zeros(16), torch.ones(16)
    T.batch_norm(x, mean, var, training=True, momentum=1.0)
    dims = [d for d in range(x.dim()) if d != 1]
    wanted_var, wanted_mean = torch.var_mean(x.double(), dims, correction=1)
    # 32 units of the spread, whatever the count: sums of lanes, then of their sums.
    torch.testing.assert_close(mean.double(), wanted_mean, rtol=0, atol=32 * 2**-24 * 2)
    torch.testing.assert_close(var.double(), wanted_var, rtol=32 * 2**-24, atol=0)


@pytest.mark.parametrize("function", [F.tanh, F.mish, F.gelu, F.silu, F.elu, F.softplus], ids=lambda f: f.__name__)
def test_activations_and_their_gradients_are_as_good_as_torchs(function: Callable[..., torch.Tensor]) -> None:
    x = torch.linspace(-12, 12, 20001)

    def error(f: Callable[..., torch.Tensor]) -> tuple[float, float]:
        errors = []
        exact = x.double().requires_grad_()
        leaf = x.clone().requires_grad_()
        for found, wanted in zip(value_and_slope(f, leaf), value_and_slope(function, exact), strict=True):
            errors.append(float((found.double() - wanted).abs().max()))
        return errors[0], errors[1]

    ours, theirs = error(getattr(T, function.__name__)), error(function)
    # Twice torch's error, or two units of numbers below 1: f32 cannot promise which of two formulas is luckier.
    assert all(mine <= max(2 * other, 2 * 2**-24) for mine, other in zip(ours, theirs, strict=True)), (ours, theirs)


def value_and_slope(f: Callable[..., torch.Tensor], x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    y = f(x)
    return y.detach(), torch.autograd.grad(y, x, torch.ones_like(y))[0]


EMPTY: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "logsumexp": lambda x: x.logsumexp(1), "kept": lambda x: x.logsumexp(1, keepdim=True),
    "of all": lambda x: x.logsumexp((0, 1)), "of the other": lambda x: x.logsumexp(0), "sum": lambda x: x.sum(1),
    "mean": lambda x: x.mean(1), "prod": lambda x: x.prod(1), "norm": lambda x: x.norm(dim=1), "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(1), "any": lambda x: x.any(1), "all": lambda x: x.all(1),
    "cumsum": lambda x: x.cumsum(1), "var": lambda x: x.var(1), "count": lambda x: x.count_nonzero(1),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", EMPTY)
def test_what_is_made_of_nothing(name: str, dtype: torch.dtype) -> None:
    x = torch.zeros(3, 0, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of var, about its degrees of freedom
        wanted = EMPTY[name](x)
    found = tritoncnn.compile(Applied(EMPTY[name]).eval(), x)(x)
    torch.testing.assert_close(found, wanted, equal_nan=True)


PLACE, ONE = torch.tensor([0]), torch.tensor(4.0)
WITHOUT_DIMS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "index_fill": lambda x: x.index_fill(0, PLACE, -8.5), "index_copy": lambda x: x.index_copy(0, PLACE, ONE),
    "index_add": lambda x: x.index_add(0, PLACE, ONE, alpha=-1), "index_select": lambda x: x.index_select(0, PLACE),
    "gather": lambda x: x.gather(0, torch.tensor(0)), "scatter": lambda x: x.scatter(0, torch.tensor(0), ONE),
    "unfold": lambda x: x.unfold(0, 1, 1), "norm": lambda x: x.norm(2, 0, True), "vector_norm": torch.linalg.vector_norm,
    "median": torch.median, "logsumexp": lambda x: x.logsumexp(0), "sum": lambda x: x.sum(0), "mean": lambda x: x.mean(),
    "cumsum": lambda x: x.cumsum(0), "softmax": lambda x: x.softmax(0), "flip": lambda x: x.flip(0), "amax": lambda x: x.amax(0),
    "sort": lambda x: x.sort(0)[0], "topk": lambda x: x.topk(1)[0], "argmax": lambda x: x.argmax(), "prod": lambda x: x.prod(0),
    "all": lambda x: x.all(), "unsqueeze": lambda x: x.unsqueeze(-1), "squeeze": lambda x: x.squeeze(0),
    "var": lambda x: x.expand(3).var(),
}  # fmt: skip


@pytest.mark.parametrize("name", WITHOUT_DIMS)
def test_a_tensor_without_dims_is_taken(name: str) -> None:
    x = torch.tensor(2.5)
    found, wanted = tritoncnn.compile(Applied(WITHOUT_DIMS[name]).eval(), x)(x), WITHOUT_DIMS[name](x)
    torch.testing.assert_close(found, wanted)
