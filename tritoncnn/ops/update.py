"""update: many small buffers, each taking the value of one expression of itself and its own operands and numbers, in place.

Running statistics and counters of all norms: ``{count=2, expr='add(mul($0, $2), mul($1, $3))', numbers=[0.9,0.1,0.8,0.2]}`` of
(a, b, x, y) is a' = 0.9 a + 0.1 x, b' = 0.8 b + 0.2 y. $0 is the buffer, then come operands, then numbers. No gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import Node, TensorType, parse_expr
from tritoncnn.kernels import update as kernel
from tritoncnn.kernels.target import Target
from tritoncnn.ops.define import Lowering, OpDef, Table
from tritoncnn.ops.evaluate import evaluate_expr
from tritoncnn.ops.lowering import types_of
from tritoncnn.ops.pointwise import pointwise_op
from tritoncnn.ops.slot import make_slot

NUMBER = TensorType.dense("f32", ())
T = TypeVar("T")


def _rows(given: Sequence[T], count: int) -> list[Sequence[T]]:
    """What belongs to each of ``count`` items."""
    each = len(given) // count
    return [given[i * each : (i + 1) * each] for i in range(count)]


def infer(*tensors: TensorType, count: int, expr: str, numbers: tuple[float, ...] = ()) -> tuple[TensorType, ...]:
    if not 1 <= count <= kernel.MOST or len(tensors) % count or not tensors or len(numbers) % count:
        raise ShapeError(
            f"update: operands and numbers must be as many for each of 1 to {kernel.MOST} buffers; got {len(tensors)} operands "
            f"and {len(numbers)} numbers for {count}"
        )
    buffers, rows = tensors[:count], _rows(tensors[count:], count)
    plain = (NUMBER,) * (len(numbers) // count)
    for buffer, row in zip(buffers, rows, strict=True):
        found = pointwise_op.infer(buffer, *row, *plain, expr=expr)
        if found != TensorType.dense(buffer.dtype, buffer.shape) or buffer.rank > 1:
            raise ShapeError(
                f"update: a buffer must be a vector, or a number, of the expression's type {found}; got {buffer}"
            )
        if [t.dtype for t in (buffer, *row)] != [t.dtype for t in (buffers[0], *rows[0])]:
            raise ShapeError(
                f"update: all items must have the dtypes of the first; got {', '.join(map(str, (buffer, *row)))}"
            )
    for column in zip(*rows, strict=True):
        if len({_single(x, y) for x, y in zip(column, buffers, strict=True)} - {None}) > 1:
            got = ", ".join(map(str, column))
            raise ShapeError(f"update: an operand must be one number for all items or for none; got {got}")
    return tuple(TensorType.dense(t.dtype, t.shape) for t in buffers)


def _single(x: TensorType, buffer: TensorType) -> bool | None:
    """Is the operand one number for all elements of the buffer? None where there is but one element."""
    return None if buffer.numel == 1 else x.numel == 1


def reference(*tensors: torch.Tensor, count: int, expr: str, numbers: tuple[float, ...] = ()) -> Any:
    tree = parse_expr(expr)
    dtype = torch.float64 if tensors[0].dtype == torch.float64 else torch.float32
    found = []
    for buffer, row, plain in zip(tensors, _rows(tensors[count:], count), _rows(numbers, count), strict=False):
        own = (buffer, *row, *(torch.tensor(number, dtype=dtype) for number in plain))
        found.append(evaluate_expr(tree, None, own).to(buffer.dtype).expand(buffer.shape).clone())
    return tuple(found) if count > 1 else found[0]


def lower(node: Node, target: Target) -> Lowering:
    results, operands = types_of(node)
    count = len(results)
    numbers: tuple[float, ...] = node.attrs.get("numbers", ())
    rows, plain = _rows(operands[count:], count), _rows(numbers, count)
    names = _rows([f"o{i}" for i in range(count, len(operands))], count)
    single = [any(_single(row[j], y) for row, y in zip(rows, results, strict=True)) for j in range(len(rows[0]))]
    one = TensorType.dense(results[0].dtype, (2,))  # an item of any size
    types = (one, *(TensorType.dense(x.dtype, () if s else (2,)) for x, s in zip(rows[0], single, strict=True)))
    slot = make_slot(str(node.attrs["expr"]), one, (*types, *(NUMBER,) * len(plain[0])))
    spare = kernel.items_of(count) - count  # items without elements, at memory that is there

    def filled(items: Sequence[T]) -> list[T]:
        return [*items, *[items[0]] * spare]

    tables = [Table(TensorType.dense("i32", (count + spare,)), (*(y.numel for y in results), *(0,) * spare))]
    if numbers:
        flat = tuple(number for row in filled(plain) for number in row)
        tables.insert(0, Table(TensorType.dense("f32", (count + spare, len(plain[0]))), flat))
    launch = kernel.update(
        filled(results), filled(rows), tables[0].type if numbers else None, tables[-1].type, slot
    )  # fmt: skip
    refs = (*filled([f"r{i}" for i in range(count)]), *(name for row in filled(names) for name in row))
    return Lowering(((launch, (*refs, *(f"t{i}" for i in range(len(tables))))),), tables=tuple(tables))


MOVED = "add(mul($0, $2), mul($1, $3))"
update = OpDef(
    "update",
    infer,
    reference,
    lower=lower,
    arity=-1,
    inplace=tuple((i, i) for i in range(kernel.MOST)),
    wants={i: {1: (0,)} for i in range(kernel.MOST, kernel.MOST * 9)},
    samples=(
        (((3,), (300,), (3,), (300,)), {"count": 2, "expr": MOVED, "numbers": (0.9, 0.1, 0.75, 0.5)}),
        (((5,),), {"count": 1, "expr": "relu($0)"}),
        (((0,), (17,), (128,), (0,), (17,), (128,)), {"count": 3, "expr": "mul($0, $1)"}),
        (((4,), (129,), (4,), (), (129,), ()), {"count": 2, "expr": "add(mul($0, $2), $1)"}),
        ((*((("i64", (), 1000),) * 5),), {"count": 5, "expr": "add($0, 1)"}),
        (((7,),) * 16, {"count": 16, "expr": "mul($0, $1)", "numbers": tuple(range(16))}),
        (((), (3,), ("i64", (), 9), ("i64", (3,), 9)), {"count": 2, "expr": "cast_f32($1)"}),
    ),
)
