"""What is known of a tensor before it is computed: constant values, ranges, strides, divisibility, offsets.

All facts are about integer and pointer tensors (indices, masks, addresses); they decide which loads are plain
vectors, which masks are always true, and how a dot reads its operands in place. Here is what holds of every value; the
rules of single ops are columns of their rows (``fold.py``, ``ranges.py``, ``strides.py``, ``offsets.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from tritoncnn.cpu.front.blocks import loop_of
from tritoncnn.cpu.front.elements import BITS
from tritoncnn.cpu.front.traits import Traits
from tritoncnn.cpu.front.ttir import Op, Value

from .fold import NUMPY, Fold

STATIC_LIMIT = 1 << 16  # elements of a tensor that we are willing to compute at compile time


def not_known(facts: Facts, op: Op) -> str:
    """Nothing special is known of why."""
    return f"how the result of {op.name} steps is not known"


@dataclass(frozen=True)
class Rules(Traits):
    """What is known of one op's result by what is known of its operands. A column that is left out says that nothing is.

    fold        elements of its result, given those of its operands as numpy arrays
    range       inclusive bounds
    truth       of a mask, the same everywhere
    stride      difference of neighbours along an axis, in runs of some width
    multiple    what divides the first of each run; left out: 1
    offsets     along an axis, relative to the first element
    uneven      what people are told where it is not known how its result steps
    """

    fold: Fold | None = None
    range: Callable[[Facts, Op], tuple[float, float] | None] | None = None
    truth: Callable[[Facts, Op], bool | None] | None = None
    stride: Callable[[Facts, Op, int, int], int | None] | None = None
    multiple: Callable[[Facts, Op, int, int], int] | None = None
    offsets: Callable[[Facts, Op, int], np.ndarray | None] | None = None
    uneven: Callable[[Facts, Op], str] = not_known


class Facts:
    """Caches of facts, by value. Nothing here emits code."""

    def __init__(self, rows: Mapping[str, Rules]) -> None:
        self.rows = rows
        self.cache: dict[Any, Any] = {}

    def row(self, op: Op) -> Rules:
        """What is known of an op by its name."""
        return self.rows[op.name]

    def axis(self, op: Op, d: int) -> int | None:
        """The axis of the operands that axis d of the result walks."""
        found = self.row(op).axis
        return None if found is None else found(op, d)

    # ---- constants ---------------------------------------------------------------------------------------------
    def static(self, v: Value) -> np.ndarray | None:
        """The elements of an integer tensor or scalar, if they are the same in every program and iteration."""
        key = ("static", v)
        if key not in self.cache:
            size = math.prod(v.type.shape)
            known = v.op is not None and v.type.elem in NUMPY and size <= STATIC_LIMIT
            with np.errstate(all="ignore"):
                self.cache[key] = self._fold(v.op, NUMPY[v.type.elem]) if known and v.op else None
        result: np.ndarray | None = self.cache[key]
        return result

    def _fold(self, op: Op, dtype: Any) -> np.ndarray | None:
        fold = self.row(op).fold
        if fold is None:
            return None
        xs = []
        for x in op.operands:
            known = self.static(x)
            if known is None:
                return None
            xs.append(known)
        return fold(op, xs, dtype)

    def const(self, v: Value) -> int | None:
        """The one value of all elements of an integer tensor or scalar."""
        if v.op is not None and self.row(v.op).moves:
            return self.const(v.op.operands[0])
        xs = self.static(v)
        return int(xs.flat[0]) if xs is not None and xs.size and (xs == xs.flat[0]).all() else None

    # ---- ranges ------------------------------------------------------------------------------------------------
    def range(self, v: Value) -> tuple[float, float] | None:
        """Inclusive bounds of an integer. inf: no bound is known, but arithmetic is trusted not to wrap around."""
        key = ("range", v)
        if key not in self.cache:
            self.cache[key] = None  # a cycle through a loop knows nothing
            found = self._range(v)
            top = 2 ** (BITS.get(v.type.elem, 64) - 1) - 1
            if found and (inf > found[1] > top or -inf < found[0] < -top - 1):
                found = None
            self.cache[key] = found
        result: tuple[float, float] | None = self.cache[key]
        return result

    def _range(self, v: Value) -> tuple[float, float] | None:
        xs = self.static(v)
        if xs is not None and xs.size:
            return int(xs.min()), int(xs.max())
        if v.op is None:
            return self._induction_range(v)
        rule = self.row(v.op).range
        return None if rule is None else rule(self, v.op)

    def _induction_range(self, v: Value) -> tuple[float, float] | None:
        owner = loop_of(v, self.rows)
        if owner is None:
            return None
        lo, hi, step = (self.range(x) for x in owner.operands[:3])
        if not lo or not step or step[0] <= 0:
            return None
        last = hi[1] - 1 if hi else inf
        bounds = [self.const(x) for x in owner.operands[:3]]
        if bounds[0] is not None and bounds[1] is not None and bounds[2]:
            last = bounds[0] + max(0, (bounds[1] - bounds[0] - 1) // bounds[2]) * bounds[2]
        return lo[0], max(last, lo[0])

    def fits(self, v: Value) -> bool:
        """Is it known that computing v does not wrap around?"""
        found = self.range(v)
        return found is not None and -inf < found[0] and found[1] < inf

    def nonnegative(self, v: Value) -> bool:
        found = self.range(v)
        return found is not None and found[0] >= 0

    def truth(self, v: Value) -> bool | None:
        """A mask that is true (or false) everywhere."""
        c = self.const(v)
        if c is not None:
            return bool(c)
        rule = self.row(v.op).truth if v.op is not None else None
        return None if rule is None or v.op is None else rule(self, v.op)

    # ---- strides -----------------------------------------------------------------------------------------------
    def stride(self, v: Value, d: int, width: int) -> int | None:
        """Difference of neighbours along axis d, within every aligned run of ``width`` elements; None: irregular.

        Pointers count in elements. 0 means the same value in the whole run.
        """
        key = ("stride", v, d, width)
        if key not in self.cache:
            self.cache[key] = None
            self.cache[key] = self._stride(v, d, width)
        result: int | None = self.cache[key]
        return result

    def _stride(self, v: Value, d: int, w: int) -> int | None:
        op, shape = v.op, v.type.shape
        if not shape or shape[d] == 1 or w == 1:
            return 0
        if op is None:
            return None
        xs = self.static(v) if v.type.elem != "i1" else None
        if xs is not None:
            runs = np.moveaxis(xs.astype(np.int64), d, -1).reshape(-1, w)
            steps = np.diff(runs, axis=1)
            return int(steps.flat[0]) if (steps == steps.flat[0]).all() else None
        if v.type.elem == "i1" and self.truth(v) is not None:
            return 0
        rule = self.row(op).stride
        return None if rule is None else rule(self, op, d, w)

    def multiple(self, v: Value, d: int, w: int) -> int:
        """A number that divides the first element of every aligned run of w along axis d (0: divides everything)."""
        op = v.op
        if op is None:
            if v.divisible > 1:
                return v.divisible
            owner = loop_of(v, self.rows)
            if owner is not None:
                return math.gcd(self.multiple(owner.operands[0], d, w), self.multiple(owner.operands[2], d, w))
            return 1
        xs = self.static(v)
        if xs is not None:
            if not xs.shape or xs.shape[d] == 1:
                return int(np.gcd.reduce(np.abs(xs.astype(np.int64)), axis=None))
            runs = np.moveaxis(xs.astype(np.int64), d, -1)[..., :: max(w, 1)]
            return int(np.gcd.reduce(np.abs(runs), axis=None))
        rule = self.row(op).multiple
        return 1 if rule is None else rule(self, op, d, w)

    # ---- addresses ---------------------------------------------------------------------------------------------
    def varies(self, v: Value, d: int) -> bool:
        """May the value change along axis d?"""
        return bool(v.type.shape) and self.stride(v, d, v.type.shape[d]) != 0

    def offsets(self, v: Value, d: int) -> np.ndarray | None:
        """v along axis d relative to its first element, if the program's data do not change it."""
        key = ("offsets", v, d)
        if key not in self.cache:
            self.cache[key] = self._offsets(v, d)
        found: np.ndarray | None = self.cache[key]
        return found

    def _offsets(self, v: Value, d: int) -> np.ndarray | None:
        shape = v.type.shape
        n = shape[d] if shape else 1
        step = self.stride(v, d, n) if shape else 0
        if step is not None:
            return np.arange(n, dtype=np.int64) * step
        known = self.static(v)
        if known is not None:
            moved = np.moveaxis(known.astype(np.int64), d, 0).reshape(n, -1)
            moved = moved - moved[0]
            return moved[:, 0] if (moved == moved[:, :1]).all() else None
        rule = self.row(v.op).offsets if v.op is not None else None
        return None if rule is None or v.op is None else rule(self, v.op, d)

    def conjuncts(self, mask: Value) -> list[Value]:
        """The parts of a mask that is an ``and`` of parts, before they were broadcast; what is always true is left out."""
        if self.truth(mask) is True:
            return []
        parts = self.row(mask.op).conjuncts if mask.op is not None else None
        if parts is None or mask.op is None:
            return [mask]
        return [p for x in parts(mask.op) for p in self.conjuncts(x)]
