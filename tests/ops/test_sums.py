"""Two sums in one loop, whatever way their operands lie in memory."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from tests.ops.run_node import run_node
from tests.targets import CPU
from tritoncnn.ir import Node, TensorType, Value
from tritoncnn.ops import OPS

CASES = [
    ((3, 5, 40), (2,)),
    ((900, 3, 2), (0,)),
    ((3, 4, 5), (0, 1)),
    ((3, 4, 5), (0, 2)),
    ((4, 1, 9), (0,)),
    ((2, 3, 4), (0, 1, 2)),
]


def pair(shape: tuple[int, ...], dims: tuple[int, ...], order: tuple[int, ...]) -> Node:
    x, v = TensorType.dense("f32", shape).with_order(order), TensorType.dense("f32", shape[1:])
    attrs = {"dims": dims, "expr": "$0", "also": "mul($0, add($1, 1.0))"}
    types = OPS["sum"].infer(x, v, **attrs)
    assert isinstance(types, tuple)
    return Node("sum", (Value("x", x), Value("v", v)), tuple(Value(f"%{i}", t) for i, t in enumerate(types)), attrs)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize(("shape", "dims"), CASES)
def test_two_sums_are_those_of_each(shape: tuple[int, ...], dims: tuple[int, ...], order: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-4, 5, shape, generator=generator).double()
    v = torch.randint(-4, 5, shape[1:], generator=generator).double()
    y, z = run_node(pair(shape, dims, order), [x, v])
    assert torch.equal(y.double(), x.sum(dims))
    assert torch.equal(z.double(), (x * (v + 1)).sum(dims))


def test_two_sums_are_one_loop_and_read_a_tensor_once() -> None:
    lower = OPS["sum"].lower
    assert lower is not None
    for shape, launches in (((30, 4, 5), 1), ((9000, 4, 5), 2)):
        steps = lower(pair(shape, (0,), (0, 1, 2)), CPU).steps
        assert [sum(ref == "o0" for ref in refs) for _, refs in steps] == [1, *[0] * (launches - 1)]
