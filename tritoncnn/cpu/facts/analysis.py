"""What is known of a tensor before it is computed: constant values, ranges, strides, divisibility, separability.

All facts are about integer and pointer tensors (indices, masks, addresses); they decide which loads are plain
vectors, which masks are always true, and how a dot reads its operands in place.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from tritoncnn.cpu.front.elements import BITS
from tritoncnn.cpu.front.table import is_elementwise, of_kind
from tritoncnn.cpu.front.ttir import Op, Value

STATIC_LIMIT = 1 << 16  # elements of a tensor that we are willing to compute at compile time

_NUMPY = {"i1": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64}
_UNSIGNED = {"i1": np.bool_, "i8": np.uint8, "i16": np.uint16, "i32": np.uint32, "i64": np.uint64}

DIVISIONS = of_kind("division")
ASSUMES = {"llvm.intr.assume", "tt.assume"}
SHAPE_OPS = {"tt.splat", "tt.broadcast", "tt.expand_dims", "tt.trans", "tt.reshape", "tt.unsplat"}


def constant_elements(op: Op) -> list[str]:
    """The literals of an ``arith.constant``, in the order of their indices; one stands for all that are equal."""
    text, elem = str(op.attrs["value"]), op.results[0].type.elem
    if text.startswith('"'):  # "0x...": the bytes in memory, little end first; bools are packed
        raw = bytes.fromhex(text.strip('"')[2:])
        if elem == "i1":
            bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
            return [str(b) for b in bits[: math.prod(op.results[0].type.shape)]]
        size = BITS[elem] // 8
        return [hex(int.from_bytes(raw[k : k + size], "little")) for k in range(0, len(raw), size)]
    return re.findall(r"[^\s,\[\]]+", text)


@dataclass(frozen=True)
class Term:
    """A summand of an address: ``sign * value``, where value does not vary along the other axes."""

    value: Value
    scale: int = 1


class Facts:
    """Caches of facts, by value. Nothing here emits code."""

    def __init__(self) -> None:
        self.cache: dict[Any, Any] = {}

    # ---- constants ---------------------------------------------------------------------------------------------
    def static(self, v: Value) -> np.ndarray | None:
        """The elements of an integer tensor or scalar, if they are the same in every program and iteration."""
        key = ("static", v)
        if key not in self.cache:
            size = math.prod(v.type.shape)
            known = v.op is not None and v.type.elem in _NUMPY and size <= STATIC_LIMIT
            with np.errstate(all="ignore"):
                self.cache[key] = self._static(v.op, v) if known and v.op else None
        result: np.ndarray | None = self.cache[key]
        return result

    def _static(self, op: Op, v: Value) -> np.ndarray | None:
        n, shape, dtype = op.name, v.type.shape, _NUMPY[v.type.elem]
        if n == "arith.constant":
            words = {"true": 1, "false": 0}
            bits = BITS[v.type.elem]
            numbers = [words[e] if e in words else int(e, 0) & ((1 << bits) - 1) for e in constant_elements(op)]
            flat: np.ndarray = np.array(numbers, _UNSIGNED[v.type.elem]).astype(dtype)
            return flat.reshape(shape) if len(numbers) > 1 or not shape else np.broadcast_to(flat, shape)
        if n == "tt.make_range":
            return np.arange(op.number("start"), op.number("end"), dtype=np.int32)
        if n not in SHAPE_OPS and (not is_elementwise(n) or n.startswith("math.")):
            return None
        xs = []
        for x in op.operands:
            known = self.static(x)
            if known is None:
                return None
            xs.append(known)
        if n in ("tt.splat", "tt.broadcast"):
            return np.broadcast_to(xs[0], shape)
        if n in ("tt.expand_dims", "tt.reshape", "tt.unsplat"):
            return None if n == "tt.reshape" and "allow_reorder" in op.words() else xs[0].reshape(shape)
        if n == "tt.trans":
            order = op.attrs["order"]
            assert isinstance(order, list)
            return xs[0].transpose(order)
        return _fold(op, xs, dtype)

    def const(self, v: Value) -> int | None:
        """The one value of all elements of an integer tensor or scalar."""
        if v.op is not None and v.op.name in SHAPE_OPS:
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
        op = v.op
        if op is None:
            return self._induction_range(v)
        n = op.name
        if n == "tt.get_program_id":
            return 0, self._assumed_most(v)
        if n == "tt.get_num_programs":
            return 1, inf
        if n in SHAPE_OPS or n in ("arith.extsi", "arith.index_cast"):
            return self.range(op.operands[0])
        if n == "arith.extui" or n == "arith.trunci":
            found = self.range(op.operands[0])
            top = 2 ** (BITS[v.type.elem] - 1) - 1
            return found if found and found[0] >= 0 and found[1] <= top else None
        if n == "arith.select":
            a, b = self.range(op.operands[1]), self.range(op.operands[2])
            return (min(a[0], b[0]), max(a[1], b[1])) if a and b else None
        if len(op.operands) != 2 or not n.startswith("arith."):
            return None
        a, b = self.range(op.operands[0]), self.range(op.operands[1])
        if n in ("arith.remsi", "arith.remui") and b and b[0] > 0:
            low = 0 if a and a[0] >= 0 else 1 - b[1] if n == "arith.remsi" else 0
            return low, min(b[1] - 1, a[1] if a and a[0] >= 0 else inf)
        if n == "arith.andi":
            known = [r for r in (a, b) if r and r[0] >= 0]
            return (0, min(r[1] for r in known)) if known else None
        if not a or not b:
            return None
        if n == "arith.addi":
            return a[0] + b[0], a[1] + b[1]
        if n == "arith.subi":
            return (a[0] - b[1], a[1] - b[0]) if inf not in (b[1], a[1]) or b[1] != inf else None
        if n == "arith.muli":
            ends = [x * y if x and y else 0 for x in a for y in b]
            return min(ends), max(ends)
        if n in ("arith.divsi", "arith.divui") and b[0] > 0 and a[0] >= 0:
            return (a[0] // b[1] if b[1] != inf else 0), (a[1] // b[0] if a[1] != inf else inf)
        if n == "arith.minsi":
            return min(a[0], b[0]), min(a[1], b[1])
        if n == "arith.maxsi":
            return max(a[0], b[0]), max(a[1], b[1])
        return None

    def _assumed_most(self, v: Value) -> float:
        """What ``tl.assume(v < number)`` says of v."""
        most = inf
        for user in v.users:
            if user.name == "arith.cmpi" and user.operands[0] is v and user.words()[:1] == ["slt"]:
                limit = self.const(user.operands[1])
                if limit is not None and any(u.name in ASSUMES for u in user.results[0].users):
                    most = min(most, limit - 1)
        return most

    def _induction_range(self, v: Value) -> tuple[float, float] | None:
        owner = v.block.owner if v.block else None
        if owner is None or owner.name != "scf.for" or v is not owner.regions[0][0].args[0]:
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
        op = v.op
        if op is None:
            return None
        if op.name in SHAPE_OPS:
            return self.truth(op.operands[0])
        if op.name == "arith.andi":
            parts = [self.truth(x) for x in op.operands]
            return False if False in parts else True if parts == [True, True] else None
        if op.name == "arith.ori":
            parts = [self.truth(x) for x in op.operands]
            return True if True in parts else False if parts == [False, False] else None
        if op.name == "arith.cmpi":
            return self._compare(op)
        return None

    def _compare(self, op: Op) -> bool | None:
        a, b = self.range(op.operands[0]), self.range(op.operands[1])
        if not a or not b:
            return None
        how = op.words()[0]
        if how[0] == "u":
            if a[0] < 0 or b[0] < 0:
                return None
            how = "s" + how[1:]
        if how in ("sgt", "sge"):
            a, b, how = b, a, {"sgt": "slt", "sge": "sle"}[how]
        if how == "slt":
            return True if a[1] < b[0] else False if a[0] >= b[1] else None
        if how == "sle":
            return True if a[1] <= b[0] else False if a[0] > b[1] else None
        if a[1] < b[0] or b[1] < a[0]:
            return how == "ne"
        return None

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
        n = op.name
        xs = self.static(v) if v.type.elem != "i1" else None
        if xs is not None:
            runs = np.moveaxis(xs.astype(np.int64), d, -1).reshape(-1, w)
            steps = np.diff(runs, axis=1)
            return int(steps.flat[0]) if (steps == steps.flat[0]).all() else None
        if n in ("tt.splat", "arith.constant") or self.truth_known(v):
            return 0
        x = op.operands[0] if op.operands else None
        if x is None:
            return None
        if n == "tt.expand_dims":
            axis = op.number("axis")
            return self.stride(x, d - (d > axis), w)
        if n == "tt.broadcast":
            return 0 if x.type.shape[d] == 1 else self.stride(x, d, w)
        if n == "tt.trans":
            order = op.attrs["order"]
            assert isinstance(order, list)
            return self.stride(x, order[d], w)
        if n == "tt.reshape":
            return self._reshape_stride(x, shape, d, w)
        if n == "tt.load":
            return 0 if all(self.stride(y, d, w) == 0 for y in op.operands) else None
        if not is_elementwise(n):
            return None
        steps_of = [self.stride(y, d, w) for y in op.operands]
        if all(s == 0 for s in steps_of):
            return 0
        return self._elementwise_stride(op, steps_of, d, w)

    def truth_known(self, v: Value) -> bool:
        return v.type.elem == "i1" and self.truth(v) is not None

    def _elementwise_stride(self, op: Op, steps: list[int | None], d: int, w: int) -> int | None:
        n = op.name
        if n in DIVISIONS:
            # x runs over w consecutive numbers from a multiple of w: no run crosses a multiple of c when w divides c.
            c, x = self.const(op.operands[1]), op.operands[0]
            if steps[0] == 1 and c and c > 0 and c % w == 0 and self.multiple(x, d, w) % w == 0 and self.nonnegative(x):
                return 0 if "div" in n else 1
            return None
        if n in ("arith.addi", "tt.addptr"):
            return steps[0] + steps[1] if steps[0] is not None and steps[1] is not None else None
        if n == "arith.subi":
            return steps[0] - steps[1] if steps[0] is not None and steps[1] is not None else None
        if n == "arith.muli":
            for a, b in ((0, 1), (1, 0)):
                c, step = self.const(op.operands[b]), steps[a]
                if c is not None and step is not None:
                    return step * c
        if n in ("arith.extsi", "arith.index_cast") or n == "tt.bitcast":
            return steps[0]
        if n == "arith.extui":
            return steps[0] if self.nonnegative(op.operands[0]) else None
        return None

    def _reshape_stride(self, x: Value, shape: tuple[int, ...], d: int, w: int) -> int | None:
        """Axis d of the result walks one axis of x, or stays inside of one."""
        inner = math.prod(shape[d + 1 :])
        span = math.prod(x.type.shape)
        for a, size in enumerate(x.type.shape):
            span //= size
            if span <= inner < span * size and inner % span == 0 and shape[d] * inner <= span * size:
                s = self.stride(x, a, size)
                return None if s is None else s * (inner // span)
        return None

    def multiple(self, v: Value, d: int, w: int) -> int:
        """A number that divides the first element of every aligned run of w along axis d (0: divides everything)."""
        op = v.op
        if op is None:
            if v.divisible > 1:
                return v.divisible
            owner = v.block.owner if v.block else None
            if owner is not None and owner.name == "scf.for" and v is owner.regions[0][0].args[0]:
                return math.gcd(self.multiple(owner.operands[0], d, w), self.multiple(owner.operands[2], d, w))
            return 1
        xs = self.static(v)
        if xs is not None:
            if not xs.shape or xs.shape[d] == 1:
                return int(np.gcd.reduce(np.abs(xs.astype(np.int64)), axis=None))
            runs = np.moveaxis(xs.astype(np.int64), d, -1)[..., :: max(w, 1)]
            return int(np.gcd.reduce(np.abs(runs), axis=None))
        n = op.name
        if n in SHAPE_OPS and n != "tt.reshape":
            x = op.operands[0]
            if not x.type.shape:
                return self.multiple(x, 0, 1)
            axis = op.number("axis") if n == "tt.expand_dims" else -1
            order = op.attrs.get("order")
            at = order[d] if isinstance(order, list) else d - (axis >= 0 and d > axis)
            return self.multiple(x, at, w) if d != axis else 1
        if n in ("arith.addi", "arith.subi"):
            return math.gcd(self.multiple(op.operands[0], d, w), self.multiple(op.operands[1], d, w))
        if n == "arith.muli":
            return self.multiple(op.operands[0], d, w) * self.multiple(op.operands[1], d, w)
        if n in ("arith.extsi", "arith.extui"):
            return self.multiple(op.operands[0], d, w)
        return 1

    # ---- separable addresses -----------------------------------------------------------------------------------
    def varies(self, v: Value, d: int) -> bool:
        """May the value change along axis d?"""
        return bool(v.type.shape) and self.stride(v, d, v.type.shape[d]) != 0

    def terms(self, v: Value, d: int) -> tuple[list[Term], list[Term]] | None:
        """A 2-D index or address as (terms that vary along axis d only, all others), or None when it mixes both."""
        other = 1 - d
        if not self.varies(v, d):
            return [], [Term(v)]
        if not self.varies(v, other):
            return [Term(v)], []
        op = v.op
        if op is None or len(op.operands) < 1:
            return None
        if op.name in ("arith.extsi", "arith.index_cast"):
            return self.terms(op.operands[0], d)
        if op.name in ("arith.addi", "arith.subi", "tt.addptr"):
            a, b = self.terms(op.operands[0], d), self.terms(op.operands[1], d)
            if a is None or b is None:
                return None
            sign = -1 if op.name == "arith.subi" else 1
            flip = [[Term(t.value, sign * t.scale) for t in part] for part in b]
            return a[0] + flip[0], a[1] + flip[1]
        if op.name == "arith.muli":
            for x, y in (op.operands, op.operands[::-1]):
                c = self.const(y)
                inner = self.terms(x, d) if c is not None else None
                if inner and c is not None:
                    return [Term(t.value, t.scale * c) for t in inner[0]], [
                        Term(t.value, t.scale * c) for t in inner[1]
                    ]
        return None

    def conjuncts(self, mask: Value) -> list[Value]:
        """The parts of a mask that is an ``and`` of parts, before they were broadcast; what is always true is left out."""
        if self.truth(mask) is True:
            return []
        if mask.op is not None and mask.op.name == "arith.andi":
            return [p for x in mask.op.operands for p in self.conjuncts(x)]
        if mask.op is not None and mask.op.name == "tt.broadcast":
            return self.conjuncts(mask.op.operands[0])
        return [mask]


def _fold(op: Op, xs: list[np.ndarray], dtype: Any) -> np.ndarray | None:
    """Integer arithmetic on constants, wrapping as the machine does; None for what is not folded."""
    n = op.name[6:] if op.name.startswith("arith.") else ""
    unsigned = [x if x.dtype == np.bool_ else x.view(f"u{x.itemsize}") if x.flags.c_contiguous else
                np.ascontiguousarray(x).view(f"u{x.itemsize}") for x in xs]  # fmt: skip
    a, b = xs[0], xs[1] if len(xs) > 1 else xs[0]
    ua, ub = unsigned[0], unsigned[1] if len(xs) > 1 else unsigned[0]
    if n in ("divsi", "remsi", "divui", "remui"):
        if (b == 0).any():
            return None
        if n[3:] == "ui":
            return (ua // ub if n == "divui" else ua % ub).astype(dtype)
        quotient = np.sign(a) * np.sign(b) * (np.abs(a.astype(np.int64)) // np.abs(b.astype(np.int64)))
        return (quotient if n == "divsi" else a - quotient * b).astype(dtype)
    if n in ("shli", "shrsi", "shrui"):
        if (ub >= BITS[op.operands[0].type.elem]).any():
            return None
        return {"shli": a << b, "shrsi": a >> b, "shrui": ua >> ub}[n].astype(dtype)
    if n == "cmpi":
        how = op.words()[0]
        x, y = (ua, ub) if how[0] == "u" else (a, b)
        how = how[-2:]
        return {"eq": x == y, "ne": x != y, "lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y}[how]
    if a.dtype == np.bool_ and n in ("addi", "subi", "muli"):
        return (a & b) if n == "muli" else (a ^ b)
    simple = {
        "addi": lambda: a + b, "subi": lambda: a - b, "muli": lambda: a * b, "andi": lambda: a & b,
        "ori": lambda: a | b, "xori": lambda: a ^ b, "maxsi": lambda: np.maximum(a, b),
        "minsi": lambda: np.minimum(a, b), "select": lambda: np.where(a, b, xs[2]), "extui": lambda: ua,
        "extsi": lambda: np.where(a, -1, 0) if a.dtype == np.bool_ else a,
        "trunci": lambda: (a & 1) != 0 if dtype is np.bool_ else a,
    }  # fmt: skip
    return simple[n]().astype(dtype) if n in simple else None
