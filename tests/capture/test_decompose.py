"""Ops that are taken apart by torch's formulas, and the primitives in which some of these are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.applied import Applied
from tritoncnn.capture import capture_module, table
from tritoncnn.errors import UnsupportedError
from tritoncnn.ops.evaluate import evaluate

prims = torch.ops.prims
X = (torch.arange(1, 25) / 25).reshape(2, 3, 4)
WHOLE = torch.arange(-12, 12).reshape(2, 3, 4)


def ours(function: Callable[..., Any], *x: torch.Tensor) -> torch.Tensor:
    captured = capture_module(Applied(function), x)
    inputs = dict(zip(captured.inputs, x, strict=True)) | captured.constants
    (found,) = evaluate(captured.graph, {value.name: inputs[value.name] for value in captured.graph.inputs})
    return found


def operands(name: str) -> tuple[torch.Tensor, ...]:
    whole = name.startswith("bitwise")
    count = len(getattr(prims, name).default._schema.arguments)
    x = WHOLE if whole else X + 1 if name == "acosh" else X
    return {1: (x,), 2: (x, x.flip(0)), 3: (X > 0.5, X, X.flip(0))}[count]


@pytest.mark.parametrize("name", table.ALIKE)
def test_primitives_mean_what_torch_says(name: str) -> None:
    x = operands(name)
    function = getattr(prims, name).default
    torch.testing.assert_close(ours(function, *x), function(*x))


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (lambda x: prims.convert_element_type(x * 9, torch.int32), X),
        (lambda x: prims.sum(x, [0, 2]), X),
        (lambda x: prims.amax(x, [0, 2]) - prims.amin(x, [1, 0])[:3], X),
        (lambda x: prims.var(x, [1], 0), X),
        (lambda x: prims.broadcast_in_dim(x, [2, 5, 3, 4], [0, 2, 3]), X),
        (lambda x: prims.transpose(x, [2, 0, 1]), X),
        (lambda x: prims.reshape(x, [4, 6]) * 2, X),
    ],
)  # fmt: skip
def test_moves_and_sums_of_primitives_mean_what_torch_says(function: Any, x: torch.Tensor) -> None:
    torch.testing.assert_close(ours(function, x), function(x))


def test_a_primitive_is_not_taken_for_atens_op_of_its_name() -> None:
    """prims.prod takes a list of dims, aten.prod a dim; prims.div of whole numbers drops what stands after the point."""
    for function, x in ((lambda x: prims.prod(x, [0, 1]), X), (lambda x: prims.div(x, x + 30), WHOLE)):
        try:
            found = ours(function, x)
        except UnsupportedError as error:
            assert "prims::" in str(error)
        else:
            torch.testing.assert_close(found, function(x))


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_a_formula_of_torch_that_fails_at_an_option_is_not_the_last(reduction: str) -> None:
    """Some of torch's take the word that ATen has as a number."""
    sign = X[0].sign()
    for function in (
        lambda x: F.margin_ranking_loss(x, x.flip(0), sign, 0.3, reduction=reduction),
        lambda x: F.hinge_embedding_loss(x, sign, 0.3, reduction=reduction),
    ):
        # references hold numbers in f64
        torch.testing.assert_close(ours(function, X[0]), function(X[0]), check_dtype=False)


def test_a_search_in_what_is_empty_gives_what_is_empty() -> None:
    """A truth value of the code, of which there are no elements, is still a truth value."""
    x = torch.zeros(5, 0, 5)
    assert torch.equal(
        ours(lambda x: torch.bucketize(x, torch.arange(3.0), right=True), x), torch.zeros(5, 0, 5).long()
    )


@pytest.mark.parametrize(
    "function",
    [torch.nan_to_num, torch.logit, lambda x: torch.lerp(x, x * 2, 0.3), torch.special.entr, torch.sinc, torch.trace, torch.xlogy]
)  # fmt: skip
def test_what_the_table_lacks_is_taken_apart(function: Any) -> None:
    x = (X[0], X[0].flip(1)) if function is torch.xlogy else (X[0],)
    torch.testing.assert_close(ours(function, *x), function(*x))
