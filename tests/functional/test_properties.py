"""The fused ops under the test kit: drawn shapes, strides, dtypes, special values; guard pages, poisoned outputs, same bits.

Each drawn problem has kernels of its own to compile: twenty of each by default, thousands in the deep profile
(HYPOTHESIS_PROFILE=deep).
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.kernels.cases import DEEP
from tritoncnn import functional as T
from tritoncnn.testing import check_kernel, convs, norms, pointwises, pools, resizes

EXAMPLES = 5000 if DEEP else 20


def options(problem: Any) -> dict[str, Any]:
    return {
        "stride": problem.stride,
        "padding": problem.padding,
        "dilation": problem.dilation,
        "groups": problem.groups,
    }


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolutions(dims: int) -> None:
    conv = {1: T.conv1d, 2: T.conv2d, 3: T.conv3d}[dims]

    def fused(y: torch.Tensor, x: torch.Tensor, w: torch.Tensor, problem: Any) -> None:
        padding = [n for size in problem.padding for n in (size, size)]
        y.copy_(conv(x, w, **options(problem) | {"padding": padding}))

    check_kernel(fused, None, convs(dims, max_size=7), max_examples=EXAMPLES)


def gradient(wanted: int) -> Any:
    def fused(result: torch.Tensor, dy: torch.Tensor, other: torch.Tensor, problem: Any) -> None:
        leaf = torch.zeros(result.shape, dtype=result.dtype, requires_grad=True)
        x, w = (leaf, other) if wanted == 0 else (other, leaf)
        (found,) = torch.autograd.grad(T.conv2d(x, w, **options(problem)), leaf, dy)
        result.copy_(found)

    return fused


@pytest.mark.parametrize("kind", ["input", "filter"])
def test_gradients_of_convolutions(kind: str) -> None:
    check_kernel(gradient(kind == "filter"), None, convs(2, kind, max_size=7), max_examples=EXAMPLES)


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pools(kind: str) -> None:
    def fused(y: torch.Tensor, x: torch.Tensor, problem: Any) -> None:
        steps = (problem.window, problem.stride, problem.padding)
        if kind == "max":
            y.copy_(T.max_pool2d(x, *steps, problem.dilation, problem.ceil_mode))
        else:
            y.copy_(T.avg_pool2d(x, *steps, problem.ceil_mode, problem.count_include_pad))

    check_kernel(fused, None, pools(kind), max_examples=EXAMPLES)


@pytest.mark.parametrize("kind", ["layer", "group"])
def test_norms(kind: str) -> None:
    def fused(y: torch.Tensor, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor, problem: Any) -> None:
        if kind == "layer":
            y.copy_(T.layer_norm(x, x.shape[1:], w, b, problem.eps))
        else:
            y.copy_(T.group_norm(x, problem.groups, w, b, problem.eps))

    check_kernel(fused, None, norms(kind), max_examples=EXAMPLES)


@pytest.mark.parametrize("kind", ["nearest", "bilinear"])
def test_resizing(kind: str) -> None:
    def fused(y: torch.Tensor, x: torch.Tensor, problem: Any) -> None:
        y.copy_(T.interpolate(x, y.shape[2:], mode=kind, align_corners=problem.align_corners))

    check_kernel(fused, None, resizes(kind), max_examples=EXAMPLES)


def test_activations() -> None:
    def fused(y: torch.Tensor, x: torch.Tensor, problem: Any) -> None:
        y.copy_(T.gelu(x))

    check_kernel(fused, lambda x, problem: F.gelu(x), pointwises(1), max_examples=EXAMPLES)
