"""The way back through views: how an operand must lie for the view of it to lie as wanted."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tritoncnn.ir import TensorType
from tritoncnn.ops import OPS

CASES = [
    ("permute", (2, 3, 5), {"dims": (2, 0, 1)}),
    ("permute", (4, 1, 3, 2), {"dims": (3, 1, 0, 2)}),
    ("reshape", (4, 3, 5), {"shape": (4, 3, 1, 5)}),
    ("reshape", (4, 3, 1, 5), {"shape": (4, 3, 5)}),
    ("reshape", (2, 3, 4, 5), {"shape": (2, 60)}),
    ("reshape", (2, 60), {"shape": (2, 3, 4, 5)}),
    ("reshape", (6, 4), {"shape": (4, 6)}),
    ("reshape", (1, 1), {"shape": ()}),
    ("reshape", (2, 6, 1, 5), {"shape": (1, 4, 3, 5)}),
]


@pytest.mark.parametrize(("name", "shape", "attrs"), CASES, ids=str)
def test_the_view_of_an_operand_that_lies_as_told_lies_as_wanted(
    name: str, shape: tuple[int, ...], attrs: dict[str, Any]
) -> None:
    op = OPS[name]
    x = TensorType.dense("f32", shape)
    result = op.infer(x, **attrs)
    assert isinstance(result, TensorType)
    assert op.before is not None
    assert op.view is not None
    for order in itertools.permutations(range(result.rank)):
        found = op.before(x, order, **attrs)
        strides = {
            candidate: view.strides
            for candidate in itertools.permutations(range(x.rank))
            if (view := op.view(x.with_order(candidate), **attrs)) is not None
        }

        def same(strides: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
            return all(a == b or n == 1 for a, b, n in zip(strides, wanted, result.shape, strict=True))

        possible = [candidate for candidate, got in strides.items() if same(got, result.with_order(order).strides)]
        assert (found in possible) if possible else found is None


def test_there_is_no_way_back_for_a_tensor_without_elements() -> None:
    before = OPS["reshape"].before
    assert before is not None
    assert before(TensorType.dense("f32", (0, 3)), (1, 0), shape=(3, 0)) is None
