"""update: y_i = slot(0, y_i, operands of item i), in place, for many small vectors at once.

Items    of one expression. Their sizes and numbers are data, so that one kernel serves vectors of any sizes.
Tile     one program takes an item, BLOCK elements at a time.
Traffic  every operand and the results once.
Layout   flat and dense; an operand may be one number instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import triton
import triton.language as tl

from tritoncnn.errors import LayoutError, ShapeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import build
from tritoncnn.kernels.device import block_offsets, program
from tritoncnn.kernels.launch import Launch, Slot

COUNTS = (4, 16)  # items of a launch: each number is a kernel of its own
MOST = COUNTS[-1]
BLOCK = 128


@triton.jit
def _pick(args, FIRST: tl.constexpr, STEP: tl.constexpr, ITEMS: tl.constexpr, item):
    """args[FIRST + item * STEP]."""
    pointer = args[FIRST]
    for i in tl.static_range(1, ITEMS):
        pointer = tl.where(item == i, args[FIRST + i * STEP], pointer)
    return pointer


@triton.jit
def _longer(pointers, last):
    return pointers + (last,)  # noqa: RUF005 - Triton knows no (*pointers, last)


@triton.jit
def update_kernel(
    args,  # results; other operands, item by item; numbers [ITEMS, NUMBERS], where there are any; sizes [ITEMS]
    ITEMS: tl.constexpr, OPERANDS: tl.constexpr, NUMBERS: tl.constexpr,  # OPERANDS, NUMBERS: of each item
    EPILOGUE: tl.constexpr, GRID: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    item = program(0, GRID, WIDE)
    y_ptr = _pick(args, 0, 1, ITEMS, item)
    own = (y_ptr,)
    for j in tl.static_range(OPERANDS):
        own = _longer(own, _pick(args, ITEMS + j, OPERANDS, ITEMS, item))
    for j in tl.static_range(NUMBERS):
        own = _longer(own, args[ITEMS * (1 + OPERANDS)] + item * NUMBERS + j)
    size = tl.load(args[len(args) - 1] + item)
    for start in range(0, size, BLOCK):
        offs = block_offsets(start, BLOCK, WIDE)
        mask = offs < size
        tl.store(y_ptr + offs, EPILOGUE(0.0, own, (offs,), mask), mask=mask)


def items_of(count: int) -> int:
    """Items of the kernel that updates ``count`` vectors; those beyond ``count`` have no elements."""
    return next(items for items in COUNTS if items >= count)


def update(
    results: Sequence[TensorType], operands: Sequence[Sequence[TensorType]], numbers: TensorType | None, sizes: TensorType,
    slot: Slot,
) -> Launch:  # fmt: skip
    """y_i = slot's expression of y_i, the operands of item i and its numbers.

    ``results``, ``operands`` (a row for each item), ``numbers`` f32 [items, n] and ``sizes`` i32 [items] are the launch's
    operands in this order. The slot is made for one item of any size. Raises ShapeError, LayoutError.
    """
    items = len(results)
    if items not in COUNTS or len(operands) != items:
        raise ShapeError(
            f"update: items must be one of {COUNTS}; got {items} results and {len(operands)} rows of operands"
        )
    for y, row in zip(results, operands, strict=True):
        for name, tensor in (("result", y), *(("operand", x) for x in row)):
            if tensor.rank > 1 or not tensor.is_row_major:
                raise LayoutError(f"update: each {name} must be flat and dense; got {tensor}")
            if tensor.numel not in (y.numel, 1):
                raise ShapeError(f"update: each {name} must have {y.numel} elements, or 1; got {list(tensor.shape)}")
    count = numbers.shape[1] if numbers is not None else 0
    if sizes != TensorType.dense("i32", (items,)) or numbers not in (None, TensorType.dense("f32", (items, count))):
        raise ShapeError(f"update: numbers must be f32[{items},n] and sizes i32[{items}]; got {numbers}, {sizes}")
    tables = (sizes,) if numbers is None else (numbers, sizes)
    every = (*results, *(x for row in operands for x in row), *tables)
    return build(
        update_kernel,
        (items,),
        {},
        ITEMS=items, OPERANDS=len(operands[0]), NUMBERS=count, BLOCK=BLOCK,
        slot=replace(slot, operands=every),
        results=items,
        flops=sum(y.numel for y in results),
    )  # fmt: skip
