"""Max pooling where values tie, are NaN or -inf: the same tap as torch's, in the reference and in the kernel."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import tritoncnn
from tests.ops.run_node import Sample, node_of, run_node
from tritoncnn import functional as T
from tritoncnn.errors import ShapeError
from tritoncnn.ops import OPS

ATTRS = [
    {"window": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1), "ceil_mode": False},
    {"window": (3, 2), "stride": (1, 2), "padding": (1, 1), "dilation": (1, 1), "ceil_mode": True},
    {"window": (2, 3), "stride": (2, 1), "padding": (1, 1), "dilation": (2, 1), "ceil_mode": False},
]
VALUES = {
    "ties": [0.0, 1.0],
    "zeros": [0.0, -0.0],
    "NaN": [float("nan"), 1.0, 2.0, 3.0, 4.0, 5.0],
    "-inf": [float("-inf"), 1.0],
    "only -inf": [float("-inf")],
    "inf": [float("inf"), float("-inf"), 0.0],
}


def image(values: list[float]) -> torch.Tensor:
    choice = torch.randint(len(values), (2, 3, 7, 6), generator=torch.Generator().manual_seed(2))
    return torch.tensor(values)[choice]


def torchs_taps(x: torch.Tensor, attrs: dict[str, object]) -> tuple[torch.Tensor, torch.Tensor]:
    """torch's result, and its flat pixel indices as numbers of taps."""
    args = [attrs[key] for key in ("window", "stride", "padding", "dilation", "ceil_mode")]
    y, pixel = F.max_pool2d(x, *args, return_indices=True)  # type: ignore[arg-type]
    window, stride, padding, dilation = args[:4]
    h, w = pixel // x.shape[3], pixel % x.shape[3]
    top = torch.arange(y.shape[2])[:, None] * stride[0] - padding[0]  # type: ignore[index]
    left = torch.arange(y.shape[3]) * stride[1] - padding[1]  # type: ignore[index]
    return y, (h - top) // dilation[0] * window[1] + (w - left) // dilation[1]  # type: ignore[index]


@pytest.mark.parametrize("attrs", ATTRS, ids=["plain", "ceil", "dilated"])
@pytest.mark.parametrize("name", VALUES)
def test_max_pool2d_picks_the_same_tap_as_torch(name: str, attrs: dict[str, object]) -> None:
    x = image(VALUES[name])
    y, tap = torchs_taps(x, attrs)
    op = OPS["max_pool2d"]
    sample: Sample = ((tuple(x.shape),), attrs)
    for found, index in (op.reference(x, **attrs), run_node(node_of(op, sample, True), [x])):
        torch.testing.assert_close(found, y, rtol=0.0, atol=0.0, equal_nan=True)
        assert torch.equal(index.long(), tap)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("kind", ["max", "adaptive"])
@pytest.mark.parametrize("name", VALUES)
def test_places_and_gradients_are_torchs_along_any_axes(name: str, kind: str, axes: int) -> None:
    choice = torch.randint(len(VALUES[name]), (2, 3, *(7, 6, 5)[:axes]), generator=torch.Generator().manual_seed(2))
    x = torch.tensor(VALUES[name])[choice].requires_grad_()
    call = f"max_pool{axes}d" if kind == "max" else f"adaptive_max_pool{axes}d"
    numbers = (3, 2, 1) if kind == "max" else (4,)
    found, wanted = (getattr(module, call)(x, *numbers, return_indices=True) for module in (T, F))
    torch.testing.assert_close(found[0], wanted[0], rtol=0.0, atol=0.0, equal_nan=True)
    assert torch.equal(found[1], wanted[1])
    dy = torch.randn(found[0].shape, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(*(torch.autograd.grad(y[0], x, dy)[0] for y in (found, wanted)))


@pytest.mark.parametrize("taps", [(1, 1), (2, 2)])
def test_a_convolution_that_pools_names_the_last_nan(taps: tuple[int, int]) -> None:
    x = torch.full((1, 1, 4, 4), 1.0)
    x[0, 0, 1] = x[0, 0, 2, 1:] = float("nan")
    w = torch.zeros(2, 1, *taps)
    w[:, :, 0, 0] = 1.0

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return F.max_pool2d(F.conv2d(x, w, padding="same"), 2, return_indices=True)

    _, at = tritoncnn.compile(Net().eval(), x)(x)
    assert torch.equal(at, Net()(x)[1])


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_window_without_a_tap_in_the_picture_is_refused_before_anything_runs(axes: int) -> None:
    pool = getattr(T, f"max_pool{axes}d")
    for ceil_mode in (False, True):
        with pytest.raises(
            ShapeError, match=r"every window must have a tap in the input|must fit into the padded input"
        ):
            pool(torch.randn(1, 1, *(1,) * axes), 3, 6, 1, 2, ceil_mode)
        with pytest.raises(
            ShapeError, match="every window must have a tap in the input; kernel_size 2 with dilation 2"
        ):
            pool(torch.randn(1, 1, *(1,) * axes), 2, 1, 1, 2, ceil_mode)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_window_that_fits_only_with_ceil_mode_has_a_gradient(axes: int) -> None:
    x = torch.randn(1, 2, *(2,) * axes, requires_grad=True)
    found, wanted = (getattr(module, f"max_pool{axes}d")(x, 3, 6, 1, 2, True) for module in (T, F))
    assert torch.equal(found, wanted)
    assert torch.equal(*(torch.autograd.grad(y.sum(), x)[0] for y in (found, wanted)))
