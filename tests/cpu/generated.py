"""Random Triton kernels, as source text, with inputs for which every step is exact.

Values are integers, kept small by interval arithmetic, so that float sums and products have no rounding and two correct
compilers agree bit for bit. A kernel is a tile program: loads by several address patterns, a random expression graph
(arithmetic, comparisons, casts, reductions, scans, loops, branches, dots), masked stores.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

FLOATS = {"fp64": 2**53, "fp32": 2**24, "fp16": 2**11}  # exact integers up to here
INTS = {"i8": 7, "i16": 15, "i32": 31, "i64": 63}
UNSIGNED = {"u8": 8}
TL = {
    "fp64": "tl.float64", "fp32": "tl.float32", "fp16": "tl.float16", "bf16": "tl.bfloat16", "i8": "tl.int8",
    "i16": "tl.int16", "i32": "tl.int32", "i64": "tl.int64", "u8": "tl.uint8", "i1": "tl.int1",
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """An expression of the kernel: which axes it varies along, and between which numbers it lies."""

    name: str
    dtype: str
    axes: tuple[bool, bool]
    low: int
    high: int

    @property
    def bound(self) -> int:
        return max(abs(self.low), abs(self.high))


@dataclass
class Array:
    """One pointer argument. ``shape`` is what is allocated; ``fill`` its integers: (low, high), or None for an output."""

    name: str
    dtype: str
    size: int
    fill: tuple[int, int] | None
    special: bool = False  # an input of every kind of value, NaN and the greatest integers too


@dataclass
class Kernel:
    """Source, launch and memory of one generated kernel."""

    name: str
    source: str
    grid: tuple[int, int]
    arrays: list[Array]
    scalars: dict[str, int] = field(default_factory=dict)  # run-time
    constants: dict[str, int] = field(default_factory=dict)

    @property
    def signature(self) -> dict[str, str]:
        return {a.name: f"*{a.dtype}" for a in self.arrays} | dict.fromkeys(self.scalars, "i32")


class Generator:
    """One kernel from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.name = f"kernel_{seed}"
        self.lines: list[str] = []
        self.values: list[Value] = []
        self.arrays: list[Array] = []
        self.count = 0
        pick = self.random.choice
        self.rank = pick((1, 2, 2, 2))
        self.block = (1 if self.rank == 1 else pick((1, 2, 4, 8, 16, 32)), pick((1, 2, 4, 8, 16, 16, 32, 64, 128)))
        self.n = tuple(max(1, self.random.randint(b // 2, 2 * b + b // 2)) for b in self.block)
        if self.rank == 1:
            self.n = (1, self.n[1])
        self.sizes = {"N0": self.n[0], "N1": self.n[1]}
        self.runtime = {name for name in self.sizes if self.random.random() < 0.4}

    # ---- text --------------------------------------------------------------------------------------------------------
    def emit(self, line: str) -> None:
        self.lines.append(line)

    def let(self, text: str, dtype: str, axes: tuple[bool, bool], low: int, high: int) -> Value:
        self.count += 1
        value = Value(f"t{self.count}", dtype, axes, low, high)
        self.emit(f"{value.name} = {text}")
        self.values.append(value)
        return value

    def array(self, dtype: str, size: int, fill: tuple[int, int] | None) -> str:
        name = f"{'x' if fill else 'y'}{len(self.arrays)}_ptr"
        self.arrays.append(Array(name, dtype, size, fill))
        return name

    # ---- loads -------------------------------------------------------------------------------------------------------
    def offsets(self, axes: tuple[bool, bool]) -> tuple[str, str, int, bool]:
        """(offset, mask, elements needed, whether every lane is in range) of a random walk over an array."""
        pick = self.random.choice
        n0, n1 = self.n
        i, j = ("i" if axes[0] else "0"), ("j" if axes[1] else "0")
        kind = pick(("row", "row", "row", "column", "strided", "reversed", "wrapped", "shifted"))
        a, b = (n0 if axes[0] else 1), (n1 if axes[1] else 1)
        mask = " & ".join(m for m, used in (("(i < N0)", axes[0]), ("(j < N1)", axes[1])) if used) or "i >= 0"
        if kind == "column":
            return f"{j} * {a} + {i}", mask, a * b, False
        if kind == "strided":
            step = pick((2, 3))
            return f"{i} * {b * step} + {j} * {step}", mask, a * b * step, False
        if kind == "reversed":
            return f"({a - 1} - {i}) * {b} + ({b - 1} - {j})", mask, a * b, False
        if kind == "wrapped":
            return f"(({i} * 3 + 1) % {a}) * {b} + ({j} * 5 + 2) % {b}", "", a * b, True
        if kind == "shifted":  # a window's padding: the row and column before the first
            above = " & ".join(f"({x} > 0)" for x, used in (("i", axes[0]), ("j", axes[1])) if used) or "i >= 0"
            return f"({i} - {int(axes[0])}) * {b} + {j} - {int(axes[1])}", f"{mask} & {above}", a * b, False
        return f"{i} * {b} + {j}", mask, a * b, False

    def load(self, axes: tuple[bool, bool] | None = None) -> Value:
        pick = self.random.choice
        if axes is None:
            axes = pick(((True, True), (True, True), (True, True), (False, True), (True, False), (False, False)))
        if self.rank == 1:
            axes = (False, axes[1])
        dtype = pick(("fp32", "fp32", "fp32", "fp16", "bf16", "fp64", "i8", "i16", "i32", "i32", "i64", "u8", "i1"))
        low, high = {"u8": (0, 9), "i1": (0, 1)}.get(dtype, (-4, 4))
        offset, mask, size, total = self.offsets(axes)
        if not any(axes):
            offset, mask = "0", ""
        elif total and self.random.random() < 0.3:  # through a table of indices
            table = self.array("i32", size, (0, size - 1))
            offset = f"tl.load({table} + {offset})"
        pointer = self.array(dtype, size, (low, high))
        other = self.random.randint(max(low, 0), high)
        point = ".0" if dtype in (*FLOATS, "bf16") else ""  # the interpreter casts integers to bf16 wrongly
        masked = f", mask={mask}, other={other}{point}" if mask else ""
        text = f"tl.load({pointer} + {offset}{masked})"
        if dtype in ("bf16", "u8", "i1"):  # widened at once, as kernels do
            dtype = {"bf16": "fp32", "u8": "i32", "i1": "i32"}[dtype]
            text += f".to({TL[dtype]})"
        return self.let(text, dtype, axes, min(low, 0), high)

    # ---- expressions -------------------------------------------------------------------------------------------------
    def value(self, accept: Callable[[Value], bool] = lambda v: True) -> Value | None:
        found = [v for v in self.values if v.dtype != "i1" and accept(v)]
        return self.random.choice(found[-8:]) if found else None

    def fits(self, dtype: str, low: int, high: int) -> bool:
        most = FLOATS.get(dtype) or 2 ** INTS[dtype] - 1
        return max(abs(low), abs(high)) <= most

    def same_type(self, a: Value, b: Value) -> tuple[str, str, str]:
        """Texts of both in one type wide enough for most results."""
        if a.dtype == b.dtype:
            return a.name, b.name, a.dtype
        order = ("i8", "i16", "i32", "i64", "fp16", "fp32", "fp64")
        wide = max(a.dtype, b.dtype, key=order.index)
        if wide == "fp16" or (wide == "fp32" and "i64" in (a.dtype, b.dtype)):
            wide = "fp32" if self.fits("fp32", -a.bound, a.bound) and self.fits("fp32", -b.bound, b.bound) else "fp64"
        return f"{a.name}.to({TL[wide]})", f"{b.name}.to({TL[wide]})", wide

    def binary(self) -> None:
        a, b = self.value(), self.value()
        if a is None or b is None:
            return
        x, y, dtype = self.same_type(a, b)
        axes = (a.axes[0] or b.axes[0], a.axes[1] or b.axes[1])
        corners = [p * q for p in (a.low, a.high) for q in (b.low, b.high)]
        options = [
            (f"{x} + {y}", a.low + b.low, a.high + b.high),
            (f"{x} - {y}", a.low - b.high, a.high - b.low),
            (f"{x} * {y}", min(corners), max(corners)),
            (f"tl.maximum({x}, {y})", max(a.low, b.low), max(a.high, b.high)),
            (f"tl.minimum({x}, {y})", min(a.low, b.low), min(a.high, b.high)),
            (f"tl.where({x} < {y}, {x}, {y} - 1)", min(a.low, b.low - 1), max(a.high, b.high)),
        ]
        if dtype in INTS:
            bits = max(a.bound, b.bound).bit_length()
            options += [
                (f"({x} & {y})", -(2**bits), 2**bits - 1), (f"({x} | {y})", -(2**bits), 2**bits - 1),
                (f"({x} ^ {y})", -(2**bits), 2**bits - 1),
            ]  # fmt: skip
        text, low, high = self.random.choice(options)
        if self.fits(dtype, low, high):
            self.let(text, dtype, axes, low, high)

    def with_number(self) -> None:
        a = self.value()
        if a is None:
            return
        k = self.random.randint(1, 5)
        options = [
            (f"{a.name} + {k}", a.low + k, a.high + k), (f"{a.name} * {k}", a.low * k, a.high * k),
            (f"-{a.name}", -a.high, -a.low), (f"tl.abs({a.name})", 0, a.bound),
            (f"tl.where({a.name} > {k - 2}, {a.name}, 0)", min(a.low, 0), max(a.high, 0)),
        ]  # fmt: skip
        if a.dtype in INTS:
            options += [
                (f"({a.name} & 7)", 0, 7), (f"({a.name} >> {k % 3})", a.low, max(a.high, 0)),
                (f"({a.name} << {k % 3})", a.low * 4, a.high * 4), (f"((({a.name} & 31)) // {k})", 0, 31),
                (f"((({a.name} & 31)) % {k})", 0, 31),
            ]  # fmt: skip
        else:
            options += [(f"tl.clamp({a.name}, -2.0, 3.0)", -2, 3), (f"tl.floor({a.name} * 0.5)", a.low, max(a.high, 0))]
            if a.dtype == "fp16":
                options = options[:5]
        text, low, high = self.random.choice(options)
        if self.fits(a.dtype, low, high):
            self.let(text, a.dtype, a.axes, low, high)

    def compare(self) -> None:
        a, b = self.value(), self.value()
        if a is None or b is None:
            return
        x, y, _ = self.same_type(a, b)
        axes = (a.axes[0] or b.axes[0], a.axes[1] or b.axes[1])
        relation = self.random.choice(("<", "<=", ">", ">=", "==", "!="))
        first = f"({x} {relation} {y})"
        options = [first]
        if any(axes):  # the interpreter's scalars are no bools after a comparison
            options += [f"({first} & (i + j < {self.n[1]}))", f"({first} | (j % 2 == 0))", f"(~{first})"]
        joined = self.random.choice(options)
        axes = axes if joined in (first, f"(~{first})") else (self.rank == 2, True)
        self.let(f"{joined}.to(tl.int32)", "i32", axes, 0, 1)

    def cast(self) -> None:
        a = self.value()
        if a is None:
            return
        dtype = self.random.choice((*FLOATS, *INTS))
        if self.fits(dtype, a.low, a.high):
            self.let(f"{a.name}.to({TL[dtype]})", dtype, a.axes, a.low, a.high)

    def reduce(self) -> None:
        a = self.value(lambda v: v.axes[1] or v.axes[0])
        if a is None:
            return
        axis = self.random.choice([d for d in range(2) if a.axes[d]])
        length = self.block[axis]
        kind = self.random.choice(("sum", "sum", "max", "min", "argmax", "cumsum"))
        full = f"tl.broadcast_to({a.name}, ({', '.join(self.extent(a.axes))}))"
        at = axis if self.rank == 2 else 0
        low, high = a.low, a.high
        if kind in ("sum", "cumsum"):
            low, high = min(low * length, low), max(high * length, high)
        dtype = a.dtype
        if kind == "sum" and dtype in ("i8", "i16"):
            dtype = "i32"  # tl.sum widens
        if kind == "cumsum" and dtype in ("i8", "i16"):
            return
        if not self.fits(dtype, low, high):
            return
        axes = tuple(used and d != axis for d, used in enumerate(a.axes))
        if kind == "cumsum":
            self.let(f"tl.cumsum({full}, axis={at}).to({TL[dtype]})", dtype, a.axes, low, high)
            return
        if kind == "argmax":
            dtype, low, high = "i32", 0, length - 1
        keep = "" if self.rank == 1 else ", keep_dims=True"
        self.let(f"tl.{kind}({full}, axis={at}{keep}).to({TL[dtype]})", dtype, (axes[0], axes[1]), low, high)

    def extent(self, axes: tuple[bool, bool]) -> list[str]:
        if self.rank == 1:
            return ["B1"]
        return ["B0" if axes[0] else "1", "B1" if axes[1] else "1"]

    def loop(self) -> None:
        """A loop-carried value, and loads inside the loop."""
        a = self.value(lambda v: v.dtype in ("fp32", "i32", "i64", "fp64"))
        if a is None:
            return
        turns = self.random.randint(1, 5)
        dtype = a.dtype
        pointer = self.array("i32", turns + self.n[1] + turns, (-3, 3))
        high = a.bound + turns * 6
        if not self.fits(dtype, -high, high):
            return
        axes = (a.axes[0], True)
        bound = f"turns_{len(self.arrays)}"
        self.sizes[bound] = turns
        if self.random.random() < 0.5:
            self.runtime.add(bound)
        name = f"c{self.count}"
        self.emit(f"{name} = {a.name} + tl.zeros(({', '.join(self.extent(axes))},), {TL[dtype]})")
        if self.random.random() < 0.4:
            self.emit(f"{name}_2 = {name}")
            swap = [f"    {name}, {name}_2 = {name}_2 + w, {name} - k"]
            high = a.bound + turns * 10
            if not self.fits(dtype, -high, high):
                return
        else:
            swap = [f"    {name} = {name} + w + k % 2"]
        self.emit(f"for k in range({bound}):")
        self.emit(f"    w = tl.load({pointer} + j + k, mask=j < N1, other=1).to({TL[dtype]})")
        for line in swap:
            self.emit(line)
        self.let(f"{name} * 1", dtype, axes, -high, high)

    def branch(self) -> None:
        a = self.value()
        b = self.value(lambda v: v.dtype == a.dtype) if a else None
        if a is None or b is None:
            return
        axes = (a.axes[0] or b.axes[0], a.axes[1] or b.axes[1])
        low, high = min(a.low, b.low - 1), max(a.high, b.high - 1)
        if not self.fits(a.dtype, low, high):
            return
        name = f"b{self.count}"
        shape = f"({', '.join(self.extent(axes))},)"
        self.emit(f"if (tl.program_id(1) + tl.program_id(0)) % 2 == {self.random.randint(0, 1)}:")
        self.emit(f"    {name} = {a.name} + tl.zeros({shape}, {TL[a.dtype]})")
        self.emit("else:")
        self.emit(f"    {name} = {b.name} - tl.full({shape}, 1, {TL[a.dtype]})")
        self.let(f"{name} * 1", a.dtype, axes, low, high)

    def dot(self) -> None:
        if self.rank == 1:
            return
        depth = self.random.choice((4, 8, 16, 32))
        a = self.array("fp32", self.n[0] * depth, (-3, 3))
        b = self.array("fp32", self.n[1] * depth, (-3, 3))
        c = self.value(lambda v: v.dtype == "fp32")
        high = 9 * depth + (c.bound if c else 0)
        if not self.fits("fp32", -high, high):
            return
        self.emit(f"d = tl.arange(0, {depth})")
        left = f"tl.load({a} + i * {depth} + d[None, :], mask=i < N0, other=0.0)"
        if self.random.random() < 0.5:
            right = f"tl.load({b} + d[:, None] * N1 + j, mask=j < N1, other=0.0)"
        else:
            right = f"tl.trans(tl.load({b} + jr[:, None] * {depth} + d[None, :], mask=jr[:, None] < N1, other=0.0))"
        if self.random.random() < 0.3:
            left = f"tl.maximum({left}, -1.0)"
        if c is not None and self.random.random() < 0.6:
            start = f"tl.broadcast_to({c.name}, (B0, B1))"
            self.let(f'tl.dot({left}, {right}, {start}, input_precision="ieee")', "fp32", (True, True), -high, high)
        else:
            self.let(f'tl.dot({left}, {right}, input_precision="ieee")', "fp32", (True, True), -high, high)

    # ---- stores ------------------------------------------------------------------------------------------------------
    def inside(self) -> str:
        return "j < N1" if self.rank == 1 else "(i < N0) & (j < N1)"

    def store(self, v: Value) -> None:
        dtypes = [d for d in (*FLOATS, *INTS) if self.fits(d, v.low, v.high)]
        if v.bound <= 2**8:
            dtypes.append("bf16")
        if v.low >= 0 and v.high < 256:
            dtypes.append("u8")
        dtype = self.random.choice([v.dtype, *dtypes])
        n0, n1 = self.n
        inside = self.inside()
        column = self.rank == 2 and self.random.random() < 0.3
        y = self.array(dtype, n0 * n1, None)
        offset = f"j * {n0} + i" if column else f"i * {n1} + j"
        cast = "" if dtype == v.dtype else f".to({TL[dtype]})"
        if dtype == "bf16":  # the interpreter casts integers to bf16 wrongly
            cast = f".to(tl.float32){cast}"
        self.emit(f"tl.store({y} + {offset}, {v.name}{cast}, mask={inside})")
        if self.random.random() < 0.25 and dtype in ("fp32", "i32", "fp64", "i64"):  # read back, write again
            self.count += 1
            again = f"r{self.count}"
            self.emit(f"{again} = tl.load({y} + {offset}, mask={inside}, other=0)")
            self.emit(f"tl.store({y} + {offset}, {again} + 1, mask={inside})")
            z = self.array(dtype, n0 * n1, None)
            self.emit(f"tl.store({z} + {offset}, {again}, mask={inside})")

    def atomic(self, v: Value) -> None:
        n1 = self.n[1]
        if v.dtype in ("i32", "fp32") and self.fits(v.dtype, -v.bound * self.n[0] * 4, v.bound * self.n[0] * 4):
            y = self.array(v.dtype, n1, None)
            shape = "(B1,)" if self.rank == 1 else "(B0, B1)"
            value = f"{v.name} + tl.zeros({shape}, {TL[v.dtype]})"  # the interpreter's atomics misread a broadcast
            inside = self.inside()
            self.emit(f"tl.atomic_add({y} + j + i * 0, {value}, mask={inside})")

    # ---- the whole ---------------------------------------------------------------------------------------------------
    def kernel(self) -> Kernel:
        pick = self.random.choice
        for _ in range(pick((1, 2, 3))):
            self.load()
        steps: list[Callable[[], Any]] = [
            self.binary, self.binary, self.binary, self.binary, self.with_number, self.with_number, self.compare,
            self.cast, self.reduce, self.reduce, self.loop, self.branch, self.load, self.dot,
        ]  # fmt: skip
        for _ in range(self.random.randint(3, 14)):
            pick(steps)()
        for v in [*self.random.sample(self.values, min(len(self.values), pick((0, 1, 2)))), self.values[-1]]:
            self.store(v)
        if self.random.random() < 0.15:
            self.atomic(self.values[-1])
        grid = (-(-self.n[0] // self.block[0]), -(-self.n[1] // self.block[1]))
        if self.rank == 1:
            head = ["i = tl.program_id(0) * 0", "j = tl.program_id(1) * B1 + tl.arange(0, B1)"]
        else:
            head = [
                "i = (tl.program_id(0) * B0 + tl.arange(0, B0))[:, None]",
                "jr = tl.program_id(1) * B1 + tl.arange(0, B1)", "j = jr[None, :]",
            ]  # fmt: skip
        parameters = [a.name for a in self.arrays]
        parameters += [n if n in self.runtime else f"{n}: tl.constexpr" for n in self.sizes]
        parameters += ["B0: tl.constexpr", "B1: tl.constexpr"]
        body = "\n".join(f"    {line}" for line in head + self.lines)
        source = f"@triton.jit\ndef {self.name}({', '.join(parameters)}):\n{body}\n"
        runtime = {n: v for n, v in self.sizes.items() if n in self.runtime}
        constants = {n: v for n, v in self.sizes.items() if n not in self.runtime}
        constants |= {"B0": self.block[0], "B1": self.block[1]}
        return Kernel(self.name, source, grid, self.arrays, runtime, constants)


def module_text(kernels: list[Kernel], helpers: str = "") -> str:
    """A Python module that defines them all, after ``helpers``."""
    return f"import triton\nimport triton.language as tl\n\n\n{helpers}" + "\n\n".join(
        kernel.source for kernel in kernels
    )
