"""Max pooling where values tie, are NaN or -inf: the same tap as torch's, in the reference and in the kernel."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.ops.run_node import Sample, node_of, run_node
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
        if name != "NaN":  # of several NaNs torch names the last, we the first
            assert torch.equal(index.long(), tap)


@pytest.mark.parametrize("attrs", ATTRS, ids=["plain", "ceil", "dilated"])
def test_of_several_nans_the_first_wins(attrs: dict[str, object]) -> None:
    x = image(VALUES["NaN"])
    op = OPS["max_pool2d"]
    sample: Sample = ((tuple(x.shape),), attrs)
    wanted = op.reference(x, **attrs)
    found = run_node(node_of(op, sample, True), [x])
    torch.testing.assert_close(found[0], wanted[0], rtol=0.0, atol=0.0, equal_nan=True)
    assert torch.equal(found[1], wanted[1])
