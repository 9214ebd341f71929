"""ATen's searches for values, and writes in the order of a mask, in terms of our ops."""

from __future__ import annotations

import math
from typing import Any

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.formulas import running
from tritoncnn.formulas.dtypes import cast, filled, promoted
from tritoncnn.formulas.index import unsqueeze
from tritoncnn.ops import OPS
from tritoncnn.ops.define import broadcast_shape

op = OPS


def isin(elements: Any, tests: Any, *, assume_unique: bool = False, invert: bool = False) -> Any:
    """Whether each element is one of the tests, by comparing all pairs."""
    dtype = promoted(elements, tests)
    n = math.prod(tests.shape)
    line = op["reshape"](cast(tests, dtype), shape=(n,))
    same = op["eq"](unsqueeze(cast(elements, dtype), len(elements.shape)), line)
    found = op["sum"](op["cast_f32"](same), dims=(len(elements.shape),)) > 0.0
    return op["bit_not"](found) if invert else found


def searchsorted(line: Any, values: Any, *, out_int32: bool = False, right: bool = False, side: str | None = None,
                 sorter: Any = None) -> Any:  # fmt: skip
    """How many numbers of the ascending line lie before each value, by comparing all pairs; before NaN lie all."""
    if sorter is not None:
        raise UnsupportedError("searchsorted with sorter; sort the line by torch.gather")
    lead = tuple(values.shape[:-1])
    if len(line.shape) != 1 and tuple(line.shape[:-1]) != lead:
        raise ShapeError(
            f"searchsorted: sorted_sequence must be a line, or one for each of values {list(values.shape)}; "
            f"got {list(line.shape)}"
        )
    dtype = promoted(line, values)
    at = cast(line, dtype) if len(line.shape) == 1 else unsqueeze(cast(line, dtype), len(line.shape) - 1)
    value = unsqueeze(cast(values, dtype), len(values.shape))
    before = op["bit_not"](op["gt" if right or side == "right" else "ge"](at, value))
    count = op["sum"](cast(before, "i64"), dims=(len(values.shape),))
    return cast(count, "i32") if out_int32 else count


def masked_scatter(x: Any, mask: Any, source: Any) -> Any:
    """The numbers of the source, one after another, where the mask holds."""
    shape = broadcast_shape(tuple(x.shape), tuple(mask.shape))
    n = math.prod(shape)
    wide = op["expand"](mask, shape=shape)
    place = running.cumsum(op["reshape"](cast(wide, "i64"), shape=(n,)), 0)
    place = place - filled(place, 1, "i64")
    taken = op["take"](op["reshape"](source, shape=(math.prod(source.shape),)), place, dim=0)
    return op["where"](wide, op["reshape"](taken, shape=shape), op["expand"](x, shape=shape))
