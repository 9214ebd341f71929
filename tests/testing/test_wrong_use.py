"""What makes no test is refused in one sentence that says what would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import strategies as st

from tritoncnn.errors import InputError
from tritoncnn.ir import TensorType
from tritoncnn.testing import Pointwise, Problem, check_adjoint, check_kernel, convs

LINE = TensorType.dense("f32", (3,))
PROBLEM = Pointwise((LINE,), (LINE,))
SMALL = st.just(PROBLEM)


@dataclass(frozen=True, repr=False)
class Nameless(Problem):
    def reference(self, a: torch.Tensor) -> torch.Tensor:
        return a


def copy(y: Any, a: Any, problem: Any) -> None:
    y.copy_(a)


def same(a: torch.Tensor, problem: Any) -> torch.Tensor:
    return a


@pytest.mark.parametrize(("call", "says"), [
    (lambda: check_kernel(None, same, SMALL), "a kernel must be a function of the outputs, .*; got None"),
    (lambda: check_adjoint(copy, None, SMALL), "a kernel must be a function of the outputs, .*; got None"),
    (lambda: check_kernel(copy, 3, SMALL), "reference must be a function of .*; got 3"),
    (lambda: check_kernel(copy, same, PROBLEM), r"problems must be a strategy, such as convs\(\) .*; got Pointwise"),
    (lambda: check_kernel(copy, same, convs), "problems must be a strategy"),
    (lambda: check_kernel(copy, same, st.integers()), "must be drawn as instances of tritoncnn.testing.Problem; got 0"),
    (lambda: check_kernel(copy, None, SMALL), "Pointwise has no reference of its own; hand in a function"),
    (lambda: check_kernel(copy, lambda a, p: None, SMALL), "must give tensors, one per output; got NoneType"),
    (lambda: check_kernel(copy, lambda a, p: a.numpy(), SMALL), "must give tensors, one per output; got ndarray"),
    (lambda: check_kernel(copy, None, st.just(Nameless((LINE,), (LINE,)))),
     r"Nameless.names must name its 1 inputs, then its 1 outputs; got \(\)"),
    (lambda: check_kernel(copy, same, st.just(Pointwise((LINE,), (LINE,), "ints"))),
     "Pointwise.values must be one of integers, floats, special; got 'ints'"),
    (lambda: check_kernel(copy, same, SMALL, threads=0), "threads must be 1 or more; got 0"),
    (lambda: check_kernel(copy, same, SMALL, timeout=0), "max_examples and timeout must be above 0; got 100 and 0"),
    (lambda: check_kernel(copy, same, SMALL, max_examples=0), "max_examples and timeout must be above 0; got 0 and 60"),
    (lambda: check_kernel(copy, same, convs(gradient="x")), "gradient must be '', 'input' or 'filter', .*; got 'x' and 2"),
    (lambda: check_kernel(copy, same, convs(dims=4)), "dims 1 to 3; got '' and 4"),
])  # fmt: skip
def test_what_makes_no_test_is_refused(call: Callable[[], None], says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()


@pytest.mark.parametrize("dtype", ["i32", "i64", "u8", "i1"])
def test_whole_numbers_are_compared_to_the_last_one(dtype: str) -> None:
    held = TensorType.dense(dtype, (3,))
    problems = st.just(Pointwise((held,), (held,)))
    check_kernel(copy, same, problems)
    with pytest.raises(AssertionError, match=r"y\[\d\] is .*, wanted .* exactly"):
        check_kernel(lambda y, a, p: y.copy_(a == 0), lambda a, p: (a != 0).double(), problems)
