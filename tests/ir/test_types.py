"""Tensor types: strides, memory order, bytes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tritoncnn.errors import GraphError
from tritoncnn.ir import TensorType

shapes = st.lists(st.integers(0, 4), max_size=5).map(tuple)


@given(shapes, st.data())
def test_a_dense_type_has_torchs_strides(shape: tuple[int, ...], data: st.DataObject) -> None:
    assert TensorType.dense("f32", shape).strides == torch.empty(shape).stride()
    order = tuple(data.draw(st.permutations(range(len(shape)))))
    inverse = [order.index(dim) for dim in range(len(shape))]
    wanted = torch.empty([shape[dim] for dim in order]).permute(inverse)
    assert TensorType.dense("f32", shape, order).strides == wanted.stride()


@given(st.lists(st.integers(2, 4), max_size=5).map(tuple), st.data())
def test_the_memory_order_of_a_dense_type_is_found(shape: tuple[int, ...], data: st.DataObject) -> None:
    order = tuple(data.draw(st.permutations(range(len(shape)))))
    assert TensorType.dense("f32", shape, order).order == order


@given(shapes, st.data())
def test_a_type_laid_out_in_its_own_order_is_the_same_memory(shape: tuple[int, ...], data: st.DataObject) -> None:
    """Sizes of 1 leave the order open, yet any order found must describe the same memory."""
    type = TensorType.dense("f32", shape, tuple(data.draw(st.permutations(range(len(shape))))))
    assert type.order is not None
    again = type.with_order(type.order)
    assert all(a == b for a, b, size in zip(again.strides, type.strides, shape, strict=True) if size > 1)


def test_a_type_with_gaps_or_overlaps_has_no_order() -> None:
    assert TensorType("f32", (3, 4), (8, 1)).order is None
    assert TensorType("f32", (3, 4), (0, 1)).order is None


def test_channels_last_is_the_order_nhwc() -> None:
    strides = torch.empty(2, 3, 5, 7).to(memory_format=torch.channels_last).stride()
    assert TensorType.dense("f32", (2, 3, 5, 7), (0, 2, 3, 1)).strides == strides


def test_row_major_ignores_strides_of_single_elements() -> None:
    assert TensorType("f32", (2, 1, 3), (3, 77, 1)).is_row_major
    assert not TensorType("f32", (2, 3), (1, 2)).is_row_major


def test_bytes_count_elements() -> None:
    assert TensorType.dense("f32", (2, 3)).nbytes == 24
    assert TensorType.dense("u8", ()).nbytes == 1
    assert TensorType.dense("i64", (0, 3)).nbytes == 0


def test_a_type_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(GraphError, match=r"dtype must be one of f64, f32.*; got f31"):
        TensorType.dense("f31", (2,))
    with pytest.raises(GraphError, match="one stride per size"):
        TensorType("f32", (2, 3), (1,))
    with pytest.raises(GraphError, match="no negative size"):
        TensorType.dense("f32", (-1,))
