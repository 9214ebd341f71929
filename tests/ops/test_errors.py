"""Every shape rule's refusals, word by word: what was wanted and what came."""

from __future__ import annotations

from typing import Any

import pytest

from tritoncnn.errors import DTypeError, GraphError, ShapeError, TritonCNNError
from tritoncnn.ir import TensorType, parse_type
from tritoncnn.ops import OPS

CONV = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
POOL = {"window": (2, 2), "stride": (2, 2), "padding": (0, 0)}
MAX = {**POOL, "dilation": (1, 1)}
SGD = {"momentum": 0.9, "weight_decay": 0.0, "nesterov": False}
ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
X, W = "f32[2,3,8,8]", "f32[4,3,3,3]"

CASES: list[tuple[str, str, dict[str, Any], type[TritonCNNError], str]] = [
    ("conv2d", f"f32[3,8,8] {W}", CONV, ShapeError, "conv2d: x must be [N, C, H, W] or [N, C, D, H, W]; got [3, 8, 8]"),
    ("conv2d", f"i32[2,3,8,8] {W}", CONV, DTypeError, "conv2d: x must hold floats; got i32"),
    ("conv2d", f"{X} f16[4,3,3,3]", CONV, DTypeError, "conv2d: x and w must have one dtype; got f32 and f16"),
    ("conv2d", f"{X} f32[4,2,3,3]", CONV, ShapeError,
     "conv2d: w must be [K, C/groups, R, S] with C = 3 channels of x and K divisible by groups = 1; got [4, 2, 3, 3]"),
    ("conv2d", f"f32[2,4,8,8] {W[:4]}3,2,3,3]", CONV | {"groups": 2}, ShapeError,
     "conv2d: w must be [K, C/groups, R, S] with C = 4 channels of x and K divisible by groups = 2; got [3, 2, 3, 3]"),
    ("conv2d", f"{X} {W}", CONV | {"stride": (0, 1)}, ShapeError, "conv2d: stride must be 2 numbers from 1; got [0, 1]"),
    ("conv2d", f"{X} {W}", CONV | {"padding": (-1, 0)}, ShapeError,
     "conv2d: padding must be 2 numbers from 0, or 4; got [-1, 0]"),
    ("conv2d", f"{X} {W}", CONV | {"dilation": (1,)}, ShapeError, "conv2d: dilation must be 2 numbers from 1; got [1]"),
    ("conv2d", f"{X} {W}", CONV | {"dilation": (4, 1)}, ShapeError,
     "conv2d: weight of 3 taps with dilation 4 must fit into the padded input; got 8 pixels"),
    ("conv2d", f"{X} {W}", CONV | {"pool": (7, 2)}, ShapeError,
     "conv2d: pool must be two numbers from 1 that fit into [6, 6]; got [7, 2]"),
    ("conv2d_dgrad", f"f32[2,4,6,5] {W}", CONV | {"input_shape": (2, 3, 8, 8)}, ShapeError,
     "conv2d_dgrad: dy must be [2, 4, 6, 6], the shape conv2d gives; got [2, 4, 6, 5]"),
    ("conv2d_dgrad", f"f32[2,4,6,6] {W}", CONV | {"input_shape": (2, 5, 8, 8)}, ShapeError,
     "conv2d_dgrad: x [N, C, ...] and w [K, C/1, ...] must fit; got [2, 5, 8, 8], [4, 3, 3, 3]"),
    ("conv2d_wgrad", f"{X} f32[2,4,6,5]", CONV | {"filter_shape": (4, 3, 3, 3)}, ShapeError,
     "conv2d_wgrad: dy must be [2, 4, 6, 6], the shape conv2d gives; got [2, 4, 6, 5]"),
    ("conv2d_wgrad", f"{X} f16[2,4,6,6]", CONV | {"filter_shape": (4, 3, 3, 3)}, DTypeError,
     "conv2d_wgrad: x and dy must have one dtype; got f32 and f16"),
    ("max_pool2d", X, MAX | {"padding": (2, 0)}, ShapeError,
     "max_pool2d: padding must be at most half of kernel_size 2; got 2"),
    ("max_pool2d", X, MAX | {"window": (9, 2)}, ShapeError,
     "max_pool2d: kernel_size 9 with dilation 1 must fit into the padded input; got 8 pixels"),
    ("max_pool2d", X, MAX | {"window": (0, 2)}, ShapeError, "max_pool2d: window must be two numbers from 1; got [0, 2]"),
    ("max_pool2d_grad", "f32[2,3,4,4] u8[2,3,4,5]", MAX | {"input_shape": (2, 3, 8, 8)}, ShapeError,
     "max_pool2d_grad: index must be [2, 3, 4, 4], one per dy; got [2, 3, 4, 5]"),
    ("max_pool2d_grad", "f32[2,3,4,4] i32[2,3,4,4]", MAX | {"input_shape": (2, 3, 8, 8)}, DTypeError,
     "max_pool2d_grad: index must be u8 for [2, 2]; got i32"),
    ("max_pool2d_grad", "f32[2,3,4,4] u8[2,3,4,4]", MAX | {"input_shape": (2, 4, 8, 8)}, ShapeError,
     "max_pool2d_grad: input_shape must start with [2, 3]; got [2, 4, 8, 8]"),
    ("avg_pool2d", X, POOL | {"stride": (0, 2)}, ShapeError, "avg_pool2d: stride must be two numbers from 1; got [0, 2]"),
    ("avg_pool2d_grad", "f32[2,3,4,5]", POOL | {"input_shape": (2, 3, 8, 8)}, ShapeError,
     "avg_pool2d_grad: dy must be [2, 3, 4, 4], the shape avg_pool2d gives; got [2, 3, 4, 5]"),
    ("avg_pool2d_grad", "f32[2,3,4,4]", POOL | {"input_shape": (2, 3, 8)}, ShapeError,
     "avg_pool2d_grad: input_shape must be [N, C, H, W]; got [2, 3, 8]"),
    ("matmul", "f32[2,3] f32[4,5]", {}, ShapeError,
     "matmul: a [..., M, K] and b [..., K, N] must share K; got [2, 3] and [4, 5]"),
    ("matmul", "i64[2,3] i64[3,5]", {}, DTypeError, "matmul: a must hold floats; got i64"),
    ("matmul", "f32[2,3] f16[3,5]", {}, DTypeError, "matmul: a and b must have one dtype; got f32 and f16"),
    ("sum", X, {"dims": (2, 1)}, ShapeError,
     "sum: dims must be dims of x [2, 3, 8, 8], ascending, at least one; got [2, 1]"),
    ("sum", X, {"dims": ()}, ShapeError, "sum: dims must be dims of x [2, 3, 8, 8], ascending, at least one; got []"),
    ("sum", X, {"dims": (4,)}, ShapeError, "sum: dims must be dims of x [2, 3, 8, 8], ascending, at least one; got [4]"),
    ("sum", "i1[2]", {"dims": (0,)}, DTypeError, "sum: x must hold floats; got i1"),
    ("cross_entropy", "f32[2,3] i64[3]", {}, ShapeError,
     "cross_entropy: logits must be [N, C] and target [N]; got [2, 3] and [3]"),
    ("cross_entropy", "f32[2,3] i32[2]", {}, DTypeError, "cross_entropy: target must be i64 class numbers; got i32"),
    ("softmax", "f32[2,3,4]", {}, ShapeError, "softmax: x must be [N, C]; got [2, 3, 4]"),
    ("pad2d", X, {"padding": (1, 1)}, ShapeError, "pad2d: padding must be (top, bottom, left, right); got [1, 1]"),
    ("pad2d", X, {"padding": (-9, 9, 0, 0)}, ShapeError,
     "pad2d: padding [-9, 9, 0, 0] crops more than there is of x [2, 3, 8, 8]"),
    ("sgd", "f32[4] f32[4] f32[5] f32[]", SGD, ShapeError, "sgd: arenas must be flat and of one size; got [[4], [4], [5]]"),
    ("sgd", "f32[4] f16[4] f32[4] f32[]", SGD, DTypeError, "sgd: arenas must hold floats of one dtype; got f32, f16, f32"),
    ("sgd_plain", "f32[4] f32[4] f32[1]", {"weight_decay": 0.0}, ShapeError,
     "sgd_plain: lr must be a 0-d float tensor; got f32[1]"),
    ("adamw", "f32[4] f32[4] f32[4] f32[4] f32[] i32[]", ADAM, ShapeError, "adamw: step must be a 0-d i64 tensor; got i32[]"),
    ("increment", "i32[]", {}, DTypeError, "increment: step must be a 0-d i64 tensor; got i32[]"),
    ("update", "f32[3] f32[4] f32[3]", {"count": 2, "expr": "$0"}, ShapeError,
     "update: operands and numbers must be as many for each of 1 to 16 buffers; got 3 operands and 0 numbers for 2"),
    ("update", "f32[1] f32[4]", {"count": 1, "expr": "add($0, $1)"}, ShapeError,
     "update: a buffer must be a vector, or a number, of the expression's type f32[4]; got f32[1]"),
    ("update", "f32[3] i64[3] f32[3] f32[3]", {"count": 2, "expr": "$1"}, ShapeError,
     "update: a buffer must be a vector, or a number, of the expression's type f32[3]; got i64[3]"),
    ("update", "f32[3] f32[3] f32[3] i64[3]", {"count": 2, "expr": "cast_f32($1)"}, ShapeError,
     "update: all items must have the dtypes of the first; got f32[3], i64[3]"),
    ("update", "f32[3] f32[3] f32[] f32[3]", {"count": 2, "expr": "add($0, $1)"}, ShapeError,
     "update: an operand must be one number for all items or for none; got f32[], f32[3]"),
    ("sum", "f32[4,3] i64[3]", {"dims": (0,), "expr": "$0", "also": "$1"}, DTypeError,
     "sum: two sums must be of expressions in f32; got '$0' of f32, '$1' of i64"),
    ("sum", "f32[4,3]", {"dims": (0,), "also": "$0"}, DTypeError,
     "sum: two sums must be of expressions in f32; got '' of f32, '$0' of f32"),
    ("copy", X, {"order": (0, 1)}, ShapeError, "copy: order must be a permutation of 0..3; got [0, 1]"),
    ("add", "f32[2,3] f32[4]", {}, GraphError, "shapes [2, 3], [4] do not broadcast together"),
    ("add", "f32[2] f16[2]", {}, GraphError, "add: operands must have one dtype; got f32, f16"),
    ("reshape", "f32[2,3]", {"shape": (4,)}, GraphError, "reshape: [2, 3] has 6 elements; [4] has 4"),
    ("permute", "f32[2,3]", {"dims": (0, 0)}, GraphError, "permute: dims must be a permutation of 0..1; got [0, 0]"),
    ("expand", "f32[2,3]", {"shape": (2, 1)}, GraphError, "expand: [2, 3] does not expand to [2, 1]"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("op", "types", "attrs", "kind", "text"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)]
)
def test_a_refusal_says_what_was_wanted_and_what_came(
    op: str, types: str, attrs: dict[str, Any], kind: type[TritonCNNError], text: str
) -> None:
    operands: list[TensorType] = [parse_type(word) for word in types.split()]
    with pytest.raises(kind) as error:
        OPS[op].infer(*operands, **attrs)
    assert str(error.value) == text
