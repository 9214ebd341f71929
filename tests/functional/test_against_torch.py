"""Every fused op, forward and backward, against torch in fp64 on the same numbers."""

from __future__ import annotations

import itertools
import zlib
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import seed as seed_of_draws
from hypothesis import strategies as st

from tests.functional.cases import CASES, LOSS_CASES, NORM_CASES
from tests.kernels.cases import DEEP

# relu or a maximum of rounded sums: near a kink the gradient jumps with the last bit of a 16-bit sum.
KINKED = ("conv2d fused", "conv2d pool", "batch_norm fused")
LAYOUTS = ("contiguous", "channels last", "sliced")
DTYPES = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}  # unit roundoff


def layouts(x: torch.Tensor, layout: str) -> torch.Tensor:
    """The same numbers, laid out otherwise."""
    if layout == "channels last" and x.dim() > 2:
        order = (0, *range(2, x.dim()), 1)
        return x.permute(order).contiguous().permute([order.index(d) for d in range(x.dim())])
    if layout == "sliced" and x.dim() and x.numel():
        wide = torch.full([2 * n + 1 for n in x.shape], float("nan") if x.is_floating_point() else -7, dtype=x.dtype)
        part = wide[tuple(slice(1, None, 2) for _ in x.shape)]
        return part.copy_(x)
    return x.clone()


def make(spec: Any, dtype: torch.dtype, layout: str, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if spec and spec[0] == "labels":
        return layouts(torch.randint(0, spec[2], spec[1], generator=generator), layout)
    if spec and spec[0] in ("unit", "fixed"):
        x = torch.rand(spec[1], generator=generator) if spec[0] == "unit" else torch.randn(spec[1], generator=generator)
        return layouts(x.to(dtype), layout)
    return layouts(torch.randn(spec, generator=generator).to(dtype), layout).requires_grad_()


def as_tuple(x: Any) -> tuple[torch.Tensor, ...]:
    return x if isinstance(x, tuple) else (x,)


def check(name: str, dtype: torch.dtype, layout: str, seed: int = 0) -> None:
    case = CASES[name]
    inputs = [make(spec, dtype, layout, zlib.crc32(name.encode()) + seed + i) for i, spec in enumerate(case.inputs)]
    exact = [x.detach().double() if x.is_floating_point() else x for x in inputs]
    for x, y in zip(inputs, exact, strict=True):
        y.requires_grad_(x.requires_grad)
    ours, theirs = as_tuple(case.ours(*inputs)), as_tuple(case.theirs(*exact))
    compare(name, ours, theirs, dtype, inputs)
    leaves = [x for x in inputs if x.requires_grad]
    if not leaves:
        return
    dy = torch.randn(theirs[0].shape, generator=torch.Generator().manual_seed(7)).to(dtype)
    found = torch.autograd.grad(ours[0], leaves, dy)
    wanted = torch.autograd.grad(theirs[0], [x for x in exact if x.requires_grad], dy.double())
    compare(f"{name}: gradient", found, wanted, dtype, inputs)


def compare(what: str, found: Any, wanted: Any, dtype: torch.dtype, inputs: list[torch.Tensor]) -> None:
    """Sums are in f32; each result is rounded to its dtype once, and values that were kept between passes once more.

    Terms grow to about 4 and at most ``longest`` of them are added; functions are good to 2 units in the last place.
    """
    longest = max((x.numel() for x in inputs), default=1)
    for x, y in zip(found, wanted, strict=True):
        assert x.shape == y.shape, f"{what}: {list(x.shape)} instead of {list(y.shape)}"
        if not y.is_floating_point():
            assert torch.equal(x, y), f"{what}: whole numbers differ"
            continue
        scale = max(1.0, float(y.detach().abs().max()) if y.numel() else 1.0)
        bound = scale * (8 * DTYPES[dtype] + 8 * longest**0.5 * 2.0**-24)
        if y.numel() < longest:  # a sum of values that were kept: of up to 4, each off by up to a unit, evenly spread
            bound += 4 / 3**0.5 * DTYPES[dtype] * longest**0.5
        torch.testing.assert_close(x.detach().double(), y.detach(), rtol=0, atol=bound, msg=lambda m: f"{what}: {m}")


def pairs(name: str) -> list[tuple[torch.dtype, str]]:
    """Dtypes and layouts, each pair of which compiles kernels of its own: f32 and one of 16 bits, both for norms and losses,
    where range and precision matter most. Dtypes meet other layouts for other ops; all nine pairs in the deep profile.
    """
    if name in KINKED:
        return [(torch.float32, layout) for layout in LAYOUTS]
    if DEEP:
        return list(itertools.product(DTYPES, LAYOUTS))
    first = zlib.crc32(name.encode())
    chosen = [(dtype, LAYOUTS[(first + i) % len(LAYOUTS)]) for i, dtype in enumerate(DTYPES)]
    if name not in NORM_CASES | LOSS_CASES:
        del chosen[1 + first // 3 % 2]
    return chosen


def check_draws(name: str, dtype: torch.dtype, layout: str) -> None:
    """Three draws of numbers (600 in the deep profile), others for each op, dtype and layout."""
    drawn = given(seed=st.integers(0, 2**31))(lambda seed: check(name, dtype, layout, seed))
    if not DEEP:
        drawn = seed_of_draws(zlib.crc32(f"{name} {dtype} {layout}".encode()))(drawn)
    settings(max_examples=600 if DEEP else 3, deadline=None, derandomize=not DEEP, database=None)(drawn)()


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_agree_with_torch_for_drawn_data(name: str) -> None:
    for dtype, layout in pairs(name):
        check_draws(name, dtype, layout)
