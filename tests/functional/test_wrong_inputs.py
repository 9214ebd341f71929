"""Every fused op given what it does not take: the message names the argument, its value, and what would be right."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch

from tests.functional.test_against_torch import as_tuple
from tests.functional.wrong_cases import CALLS, WRONG, Arguments, some
from tritoncnn import functional as T
from tritoncnn.errors import DTypeError, InputError, LayoutError

# Every tensor that an op takes, and its options that are floats.
OPERANDS = [(op, key) for op, call in CALLS.items() for key, value in call.items() if isinstance(value, torch.Tensor)]
FLOATS = [(op, key) for op, key in OPERANDS if CALLS[op][key].is_floating_point()]
LATER = [(op, key) for op, key in OPERANDS if key != next(iter(CALLS[op]))]
OPTIONS = [
    (op, key)
    for op in CALLS
    for key, parameter in inspect.signature(getattr(T, op)).parameters.items()
    if parameter.annotation == "float" and (op, key) != ("softplus", "threshold")  # infinite: never the line itself
]


def run(op: str, **changed: Any) -> Any:
    return getattr(T, op)(**CALLS[op] | changed)


def refused(op: str, kind: type[Exception], *words: str, **changed: Any) -> None:
    """The call raises ``kind``, in one sentence that has all ``words``."""
    with pytest.raises(kind) as error:
        run(op, **changed)
    assert type(error.value).__module__ == "tritoncnn.errors", repr(error.value)
    assert "\n" not in str(error.value)
    missing = [word for word in words if word not in str(error.value)]
    assert not missing, f"{op}: {missing} not in: {error.value}"


@pytest.mark.parametrize("op", T.__all__)
def test_the_right_call_is_taken(op: str) -> None:
    assert all(isinstance(y, torch.Tensor) for y in as_tuple(run(op)))


@pytest.mark.parametrize(("op", "key"), FLOATS)
@pytest.mark.parametrize("dtype", [torch.int32, torch.complex64, torch.float64, torch.bool])
def test_a_dtype_that_is_not_taken_is_named(op: str, key: str, dtype: torch.dtype) -> None:
    refused(op, DTypeError, f"{key} must be", "torch.float32", f"got {dtype}", **{key: CALLS[op][key].to(dtype)})


@pytest.mark.parametrize(("op", "key"), [pair for pair in LATER if pair in FLOATS and pair[0] != "embedding"])
def test_operands_of_two_dtypes_are_named(op: str, key: str) -> None:
    refused(
        op, DTypeError, f"{key} must be torch.float32, as ", "got torch.bfloat16", **{key: CALLS[op][key].bfloat16()}
    )


@pytest.mark.parametrize(("op", "key"), [pair for pair in OPERANDS if pair not in FLOATS])
def test_numbers_of_rows_and_classes_are_whole(op: str, key: str) -> None:
    refused(op, DTypeError, f"{key} must", "torch.int64", "got torch.int32", **{key: CALLS[op][key].int()})


@pytest.mark.parametrize(("op", "key"), LATER)
def test_an_operand_on_another_device_is_named(op: str, key: str) -> None:
    refused(op, InputError, f"{key} must be on cpu", "it is on meta", **{key: CALLS[op][key].to("meta")})


@pytest.mark.parametrize(("op", "key"), OPERANDS)
def test_what_is_no_tensor_is_named(op: str, key: str) -> None:
    refused(op, InputError, f"{key} must be a tensor", "got list", **{key: [1.0]})


@pytest.mark.parametrize(("op", "key"), FLOATS)
def test_a_sparse_tensor_is_named(op: str, key: str) -> None:
    refused(
        op, LayoutError, f"{key} must be a dense tensor", "got torch.sparse_coo", **{key: CALLS[op][key].to_sparse()}
    )


@pytest.mark.parametrize(("op", "key"), OPTIONS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_named(op: str, key: str, value: float) -> None:
    flag = "use_input_stats" if op == "instance_norm" else "training"
    changed = {flag: True} if key == "momentum" else {}  # where it is read
    refused(op, InputError, f"{key} must", f"got {value}", **changed, **{key: value})


@pytest.mark.sweep(2)
@pytest.mark.parametrize(("op", "key"), OPERANDS)
def test_a_tensor_that_overlaps_itself_is_read_as_its_copy(op: str, key: str) -> None:
    whole = CALLS[op][key]
    dim = next((d for d, n in enumerate(whole.shape) if n > 1))
    over = whole.narrow(dim, 0, 1).expand(whole.shape)
    found, wanted = (as_tuple(run(op, **{key: x})) for x in (over, over.contiguous()))
    for y, z in zip(found, wanted, strict=True):
        torch.testing.assert_close(y, z)


@pytest.mark.parametrize("key", ["running_mean", "running_var"])
@pytest.mark.parametrize(
    ("op", "flag"),
    [("batch_norm", "training"), ("conv2d_batch_norm", "training"), ("instance_norm", "use_input_stats")],
)
def test_a_tensor_that_is_written_must_not_overlap_itself(op: str, flag: str, key: str) -> None:
    over = some(1).expand(CALLS[op][key].shape)
    refused(op, LayoutError, f"{key} is written to", "got strides [0]", **{flag: True, key: over})


@pytest.mark.parametrize(
    ("op", "kind", "changed", "words"),
    WRONG,
    ids=[f"{op}-{'-'.join(more)}-{i}" for i, (op, _, more, _) in enumerate(WRONG)],
)
def test_a_mistake_is_said_with_argument_value_and_what_is_right(
    op: str, kind: type[Exception], changed: Arguments, words: tuple[str, ...]
) -> None:
    refused(op, kind, *words, **changed)


def test_every_public_op_is_in_the_table() -> None:
    assert set(CALLS) == set(T.__all__)
