"""The kit finds every planted bug, and nothing in the kernels without one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import strategies as st

from tests.kernels.cases import DEEP
from tests.testing import planted
from tritoncnn.errors import KernelBug
from tritoncnn.ir import TensorType
from tritoncnn.testing import Pointwise, check_kernel, convs, norms, pointwises, pools, resizes

EXAMPLES = 1000 if DEEP else 40


class Rows(Pointwise):
    """y[m] = sum of x[m, :]."""

    def reference(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(1)

    def magnitude(self, x: torch.Tensor) -> torch.Tensor:
        return x.abs().sum(1)

    def terms(self) -> int:
        return self.inputs[0].shape[1]


class Columns(Pointwise):
    """y[n] = sum of x[:, n], where all rows are one: long work in little memory."""

    def fill(self) -> list[torch.Tensor]:
        (x,) = self.inputs
        return [(torch.arange(64.0).double() % 4).expand(x.shape)]

    def reference(self, x: torch.Tensor) -> torch.Tensor:
        return x[0] * len(x)

    def is_exact(self) -> bool:
        return True


@st.composite
def rows(draw: Any) -> Rows:
    M, N, dtype = draw(st.integers(0, 4)), draw(st.integers(0, 40)), draw(st.sampled_from(("f32", "bf16", "f16")))
    values = draw(st.sampled_from(("integers", "floats")))
    types = TensorType.dense(dtype, (M, N)), TensorType.dense(dtype, (M,))
    return Rows((types[0],), (types[1],), values, draw(st.integers(0, 9)))


# Long enough for threads to meet.
columns = st.just(Columns((TensorType("f32", (4_000_000, 64), (0, 1)),), (TensorType.dense("f32", (64,)),)))
# Three rows of two numbers, the last more than 2**31 elements behind the first; each stride fits in 32 bits.
far = st.just(
    Pointwise(
        (TensorType("f16", (3, 2), (2**30 + 64, 1)), TensorType.dense("f16", (3, 2))),
        (TensorType.dense("f16", (3, 2)),),
    )
)
dense_convs = {"any_layout": False, "grouped": False, "dilated": False, "max_size": 6, "max_channels": 3}
KERNELS: dict[str, tuple[Any, Any, Any, dict[str, Any]]] = {
    "double": (planted.double, lambda x, p: 2 * x, pointwises(any_layout=False), {"exact": True}),
    "relu": (planted.relu, lambda x, p: x.relu(), pointwises(any_layout=False, max_rank=2), {"exact": True}),
    "add": (planted.add, lambda a, b, p: a + b, pointwises(2, max_rank=2).filter(lambda p: p.inputs[0].rank == 2), {}),
    "far": (planted.add, lambda a, b, p: a + b, far, {}),
    "row_sum": (planted.row_sum, None, rows(), {}),
    "column_sum": (planted.column_sum, None, columns, {"threads": 4}),
    "layer_norm": (planted.layer_norm, None, norms("layer", any_layout=False), {"laws": ["batch split"]}),
    "pool": (planted.pool, None, pools(), {"laws": ["batch split", "channel permutation", "shift"]}),
    "avg_pool": (planted.pool, None, pools("avg"), {"laws": ["additive", "homogeneous"]}),
    "conv": (planted.conv, None, convs(), {"laws": ["additive", "homogeneous", "batch split", "shift"]}),
    "conv_input_grad": (planted.conv_input_grad, None, convs(gradient="input", **dense_convs), {}),
    "conv_filter_grad": (planted.conv_filter_grad, None, convs(gradient="filter", **dense_convs), {}),
    "nearest": (planted.nearest, None, resizes("nearest", any_layout=False), {}),
}
# (kernel, bug, what the report says)
BUGS = [
    ("double", "off-by-one mask", "0 bytes behind the end of a"),
    ("double", "store without mask", "behind the end of y"),
    ("double", "lost tail", "never wrote y[0]"),
    ("double", "input mutated", "changed its input a"),
    ("double", "reads its output", "y[0] is nan"),
    ("relu", "NaN swallowed by maximum", "is 0, wanted nan"),
    ("add", "wrong stride", ""),
    ("add", "swapped dims", ""),
    ("far", "int32 offset", "did an offset pass 2**31?"),
    ("row_sum", "narrow accumulator", "wanted"),
    ("row_sum", "wrong identity", "is 1, wanted 0"),
    ("row_sum", "tail of the loop", "wanted"),
    ("row_sum", "masked lanes count", "wanted"),
    ("row_sum", "another order at every launch", "is not deterministic"),
    ("column_sum", "race", ""),
    ("layer_norm", "mean over the block", "wanted"),
    ("layer_norm", "masked lanes in the variance", "wanted"),
    ("layer_norm", "variance over N - 1", "wanted"),
    ("layer_norm", "eps outside the root", "wanted"),
    ("pool", "max pool padded with 0", "is 0, wanted -"),
    ("pool", "right edge unchecked", ""),
    ("pool", "NaN swallowed by maximum", "wanted nan"),
    ("avg_pool", "count_include_pad ignored", "count_include_pad=False"),
    ("avg_pool", "divided by the whole window", "ceil_mode=True"),
    ("pool", "wrong dilation", "dilation="),
    ("conv", "wrong group", "groups="),
    ("conv", "narrow accumulator", "wanted"),
    ("conv", "missing halo", "wanted"),
    ("conv", "filter transposed", ""),
    ("conv", "dilation's dims swapped", "dilation="),
    ("conv", "padding ignored", "padding="),
    ("conv", "stride's dims swapped", "stride="),
    ("conv_input_grad", "gradient between strides", "stride="),
    ("conv_input_grad", "filter not turned", "wanted"),
    ("conv_input_grad", "sign of the gradient", "wanted"),
    ("conv_filter_grad", "first picture only", "wanted"),
    ("nearest", "rounded to nearest", "wanted"),
]


def check(name: str, bug: str, **more: Any) -> None:
    make, reference, problems, options = KERNELS[name]
    check_kernel(make(bug), reference, problems, **{"max_examples": EXAMPLES, **options, **more})


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_without_a_bug_passes(name: str) -> None:
    check(name, "")


@pytest.mark.parametrize(("name", "bug", "says"), BUGS, ids=[f"{name}-{bug}" for name, bug, _ in BUGS])
def test_a_planted_bug_is_found(name: str, bug: str, says: str) -> None:
    with pytest.raises(KernelBug) as found:
        check(name, bug, shrink=DEEP, max_examples=20 * EXAMPLES)
    assert says in str(found.value)
