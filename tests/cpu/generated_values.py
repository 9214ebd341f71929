"""Random Triton kernels over every value of every type: NaN, infinities, denormals, the least and the greatest integers.

Where ``generated.py`` varies addresses, these vary types and operations: all tensors of a kernel have one shape, of one to
three axes, and each step's result is defined bit for bit by the language, whatever comes in. INTERPRETER says which
operations are left out because Triton's interpreter departs from the language's definition.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.cpu.generated import Array, Kernel

INTERPRETER = {
    "maximum, minimum, max, min of NaN": "numpy's minimum passes NaN on; PropagateNan.NONE means the other operand",
    "fma": "the interpreter rounds the product; a fused multiply-add rounds once",
    "bf16 arithmetic, casts that round, denormals": "done on the bits; ties do not go to even, carries and places are lost",
    "umulhi of signed integers": "the interpreter takes the sign into the product; the operation is unsigned",
    "float to integer out of range": "numpy gives what the CPU gives; the language leaves it open",
    "product, then sum": "fused into one rounding by compilers (enable_fp_fusion), never by the interpreter",
    "float sums": "the language leaves the order open",
    "atomics on flipped, transposed or broadcast tensors": "the interpreter reads numpy's memory without its strides",
    "inversion of unsigned integers": "the interpreter asks numpy for a uint of -1, which raises OverflowError",
    "i1 arithmetic other than logic": "numpy's bool has no wrapping sum",
}
SIGNED, UNSIGNED, FLOAT = ("i8", "i16", "i32", "i64"), ("u8", "u16", "u32", "u64"), ("fp16", "fp32", "fp64")
INTS = SIGNED + UNSIGNED
TL = {
    **{t: f"tl.int{t[1:]}" for t in (*SIGNED, "i1")}, **{t: f"tl.uint{t[1:]}" for t in UNSIGNED},
    **{t: f"tl.float{t[2:]}" for t in FLOAT}, "bf16": "tl.bfloat16",
}  # fmt: skip
HELPERS = """
@triton.jit
def _xor(a, b):
    return a ^ b


@triton.jit
def _wrap_multiply(a, b):
    return a * b


@triton.jit
def _larger(a, b):
    return tl.where(a > b, a, b)


@triton.jit
def _step(a, b):
    return a + b * 3


"""


@dataclass(frozen=True)
class Value:
    name: str
    dtype: str
    product: bool = False  # of floats: must not be summed next
    nan: bool = True  # may be


def bits(dtype: str) -> int:
    return int(dtype.lstrip("iubfp"))


class ValueGenerator:
    """One kernel from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        pick = self.random.choice
        self.name = f"values_{seed}"
        rank = pick((1, 1, 2, 2, 3))
        self.shape = tuple(pick((1, 2, 4, 8, 16) if rank > 1 else (1, 4, 16, 32, 64, 128)) for _ in range(rank))
        self.lanes = math.prod(self.shape)
        self.programs = pick((1, 2, 3))
        self.n = self.random.randint(max(1, self.lanes * self.programs // 2), self.lanes * self.programs)
        self.lines: list[str] = []
        self.values: list[Value] = []
        self.arrays: list[Array] = []

    # ---- text --------------------------------------------------------------------------------------------------------
    def let(self, text: str, dtype: str, product: bool = False, nan: bool | None = None) -> Value:
        may = dtype in FLOAT if nan is None else nan
        value = Value(f"t{len(self.lines)}", dtype, product, may)
        self.lines.append(f"{value.name} = {text}")
        self.values.append(value)
        return value

    def value(self, *kinds: str, accept: Callable[[Value], bool] = lambda v: True) -> Value:
        """An earlier value of one of these types, or a load of one."""
        found = [v for v in self.values[-10:] if v.dtype in kinds and accept(v)]
        return (
            self.random.choice(found) if found and self.random.random() < 0.9 else self.load(self.random.choice(kinds))
        )

    def second(self, v: Value, accept: Callable[[Value], bool] = lambda v: True) -> Value:
        return self.value(v.dtype, accept=accept)

    def load(self, dtype: str) -> Value:
        name = f"x{len(self.arrays)}_ptr"
        self.arrays.append(Array(name, dtype, self.n, None, special=True))
        other = {"i1": "False"}.get(dtype, "1.5" if dtype in (*FLOAT, "bf16") else "7")
        mask = self.random.choice((f"mask=inside, other={other}", f"mask=inside, other={other}", "mask=inside & odd"))
        if "odd" in mask:
            mask += f", other={other}"
        return self.let(f"tl.load({name} + offs, {mask})", dtype)

    def plain(self, v: Value) -> Value:
        """The same without NaN."""
        return self.let(f"tl.where({v.name} == {v.name}, {v.name}, 2.0)", v.dtype, nan=False) if v.nan else v

    # ---- steps -------------------------------------------------------------------------------------------------------
    def integers(self) -> None:
        a = self.value(*INTS)
        b = self.second(a)
        x, y, width = a.name, b.name, bits(a.dtype)
        text = self.random.choice(
            (f"{x} + {y}", f"{x} - {y}", f"{x} * {y}", f"{x} & {y}", f"{x} | {y}", f"{x} ^ {y}", f"tl.minimum({x}, {y})",
             f"tl.maximum({x}, {y})", f"{x} << ({y} & {width - 1})", f"{x} >> ({y} & {width - 1})", f"~{x}",
             f"{x} // (({y} & 15) + 1)", f"{x} % (({y} & 31) + 1)", f"tl.where({x} < {y}, {x}, {y})", f"tl.abs({x})",
             f"{x} * 5 + 3", f"tl.where({x} >= {y}, {x} - {y}, {y} - {x})")
        )  # fmt: skip
        if a.dtype in UNSIGNED and text[0] in "~t" and "where" not in text and "imum" not in text:
            text = f"{x} + 1"
        if a.dtype in ("u32", "u64") and self.random.random() < 0.2:
            text = f"tl.umulhi({x}, {y})"
        self.let(text, a.dtype)

    def floats(self) -> None:
        def free(v: Value) -> bool:
            return not v.product

        a = self.value(*FLOAT)
        x = a.name
        kind = self.random.choice(("sum", "sum", "product", "divide", "extreme", "select", "one", "one", "propagate"))
        if kind == "sum":
            a = self.value(*FLOAT, accept=free)
            b = self.second(a, free)
            self.let(f"{a.name} {self.random.choice('+-')} {b.name}", a.dtype)
        elif kind == "product":
            self.let(f"{x} * {self.second(a).name}", a.dtype, product=True)
        elif kind == "divide" and a.dtype != "fp16":
            self.let(f"{x} / {self.second(a).name}", a.dtype)
        elif kind == "extreme":
            p, q = self.plain(a), self.plain(self.second(a))
            self.let(f"tl.{self.random.choice(('maximum', 'minimum'))}({p.name}, {q.name})", a.dtype, nan=False)
        elif kind == "propagate":
            word = self.random.choice(("maximum", "minimum"))
            self.let(f"tl.{word}({x}, {self.second(a).name}, propagate_nan=tl.PropagateNan.ALL)", a.dtype)
        elif kind == "select":
            relation = self.random.choice(("<", "<=", ">", ">=", "==", "!="))
            self.let(f"tl.where({x} {relation} {self.second(a).name}, {x}, {self.second(a).name})", a.dtype)
        elif kind == "one":
            options = [f"-{x}", f"tl.abs({x})", f"{x} * 0.5", f"tl.where({x} < 0, -{x}, {x})"]
            if a.dtype != "fp16":
                options += [f"tl.floor({x})", f"tl.ceil({x})", f"tl.sqrt({x})"]
            self.let(self.random.choice(options), a.dtype, product=True)

    def logic(self) -> None:
        a = self.value(*INTS, *FLOAT)
        c = self.let(f"{a.name} {self.random.choice(('<', '<=', '>', '>=', '==', '!='))} {self.second(a).name}", "i1")
        d = self.value("i1")
        text = self.random.choice(("{c} & {d}", "{c} | {d}", "{c} ^ {d}", "~{c}", "{c}")).format(c=c.name, d=d.name)
        e = self.let(text, "i1")
        b = self.value(*INTS, *FLOAT)
        self.let(f"tl.where({e.name}, {b.name}, {self.second(b).name})", b.dtype, b.product)

    def cast(self) -> None:
        a = self.value(*INTS, *FLOAT, "i1", "bf16")
        if a.dtype in INTS:
            to = self.random.choice((*INTS, "fp32", "fp64"))
            same = {8: ("i8", "u8"), 16: ("i16", "u16", "fp16"), 32: ("i32", "u32", "fp32"), 64: ("i64", "u64", "fp64")}
            if self.random.random() < 0.25:
                to = self.random.choice(same[bits(a.dtype)])
                self.let(f"{a.name}.to({TL[to]}, bitcast=True)", to)
                return
        elif a.dtype == "i1":
            to = self.random.choice((*INTS, "fp32"))
        elif a.dtype == "bf16":
            to = "fp32"
        elif self.random.random() < 0.4:  # to an integer, inside its range
            to = self.random.choice(INTS)
            most = {"fp16": 6e4, "fp32": 2.0**30, "fp64": 2.0**30}[a.dtype] if bits(to) > 16 else 100.0
            low = 0.0 if to in UNSIGNED else -most
            p = self.plain(a).name
            inside = self.let(f"tl.where({p} < {low}, {low}, tl.where({p} > {most}, {most}, {p}))", a.dtype, nan=False)
            self.let(f"{inside.name}.to({TL[to]})", to)
            return
        else:
            to = self.random.choice(FLOAT)
        self.let(f"{a.name}.to({TL[to]})", to)

    def reduce(self) -> None:
        axis = self.random.randrange(len(self.shape))
        a = self.value(*INTS, *FLOAT)
        kinds = ["max", "min"]
        if a.dtype in INTS:
            kinds += ["sum", "xor_sum", "_xor", "_wrap_multiply", "_larger", "argmax", "argmin"]
        else:
            a = self.plain(a)
        kind = self.random.choice(kinds)
        to = a.dtype
        if kind.startswith("_"):
            text = f"tl.reduce({a.name}, {axis}, {kind}, keep_dims=True)"
        elif kind in ("argmax", "argmin"):
            text, to = f"tl.{kind}({a.name}, {axis}, keep_dims=True)", "i32"
        else:
            text = f"tl.{kind}({a.name}, {axis}, keep_dims=True).to({TL[to]})"
        self.let(f"tl.broadcast_to({text}, {self.shape})", to, nan=False)

    def scan(self) -> None:
        axis = self.random.randrange(len(self.shape))
        a = self.value(*INTS)
        kind = self.random.choice(("_xor", "_wrap_multiply", "_larger", "cumsum"))
        reverse = self.random.random() < 0.4
        if kind == "cumsum":
            self.let(f"tl.cumsum({a.name}, {axis}, reverse={reverse}).to({TL[a.dtype]})", a.dtype)
        else:
            self.let(f"tl.associative_scan({a.name}, {axis}, {kind}, reverse={reverse})", a.dtype)

    def move(self) -> None:
        """Elements change places."""
        a = self.value(*INTS, *FLOAT, "i1")
        b = self.second(a)
        options = [f"tl.reshape(tl.reshape({a.name}, ({self.lanes},)), {self.shape})"]
        last = self.shape[-1]
        if a.dtype != "i1" and last > 1:
            options.append(f"tl.flip({a.name}, {len(self.shape) - 1})")
        if len(self.shape) == 2:
            options.append(f"tl.reshape(tl.trans({a.name}), {self.shape})")
        if len(self.shape) == 3:
            order = self.random.sample(range(3), 3)
            options.append(f"tl.reshape(tl.permute({a.name}, ({order[0]}, {order[1]}, {order[2]})), {self.shape})")
        if last > 1 and a.dtype != "i1":
            halves = f"tl.reshape({a.name}, ({', '.join(map(str, self.shape[:-1]))}{', ' * (len(self.shape) > 1)}{last // 2}, 2))"
            self.lines.append(f"p{len(self.lines)}, q{len(self.lines)} = tl.split({halves})")
            at = len(self.lines) - 1
            options.append(f"tl.interleave(q{at}, p{at})")
            options.append(f"tl.reshape(tl.join(p{at}, q{at}), {self.shape})")
        if self.shape[-1] > 1 and a.dtype in SIGNED:
            index = self.let(f"({self.value('i32').name} & {last - 1})", "i32")
            options.append(f"tl.gather({b.name}, {index.name}, {len(self.shape) - 1})")
        self.let(self.random.choice(options), a.dtype, a.product, a.nan and b.nan)

    def sort(self) -> None:
        a = self.value(*SIGNED)
        if self.shape[-1] > 1 and self.lanes <= 64:
            self.let(f"tl.sort({a.name}, descending={self.random.random() < 0.5})", a.dtype)

    def loop(self) -> None:
        """Carried values of one type or two; the number of turns may come from a scalar of memory."""
        a, b = self.value(*INTS), self.value("i64", "u32", "i1", "fp64")
        n = len(self.lines)
        start, step = self.random.randint(0, 3), self.random.randint(1, 3)
        self.lines += [f"a{n} = {a.name}", f"b{n} = {b.name}"]
        if self.random.random() < 0.5:
            self.lines.append(f"for k{n} in range({start}, {start} + turns, {step}):")
            self.lines.append(f"    a{n} = a{n} * 3 + (offs * 0 + k{n}).to({TL[a.dtype]})")
        else:
            self.lines += [f"k{n} = {start}", f"while k{n} < turns:", f"    a{n} = _step(a{n}, a{n} ^ {a.name})"]
            self.lines.append(f"    k{n} += {step}")
        change = "~b{n}" if b.dtype == "i1" else "-b{n}" if b.dtype in FLOAT else "b{n} ^ (b{n} >> 1)"
        if self.random.random() < 0.5:
            self.lines.append(f"    if k{n} % 2 == 0:")
            self.lines.append(f"        b{n} = {change.format(n=n)}")
        else:
            self.lines.append(f"    b{n} = {change.format(n=n)}")
        self.let(f"a{n}", a.dtype)
        self.let(f"b{n}", b.dtype)

    def branch(self) -> None:
        a = self.value(*INTS, *FLOAT)
        b = self.second(a)
        n = len(self.lines)
        self.lines += [f"c{n} = {a.name}", f"if (tl.program_id(0) + turns) % 2 == {self.random.randint(0, 1)}:"]
        self.lines.append(f"    c{n} = {b.name}")
        self.let(f"c{n}", a.dtype, a.product or b.product, a.nan or b.nan)

    # ---- stores ------------------------------------------------------------------------------------------------------
    def output(self, dtype: str, size: int) -> str:
        name = f"y{len(self.arrays)}_ptr"
        self.arrays.append(Array(name, dtype, size, None))
        return name

    def store(self, v: Value) -> None:
        self.lines.append(f"tl.store({self.output(v.dtype, self.n)} + offs, {v.name}, mask=inside)")

    def atomic(self) -> None:
        a = self.value("i32", "u32", "i64", "u64")
        a = self.let(f"tl.where(inside, {a.name}, 0)", a.dtype)  # no view, see INTERPRETER
        kind = self.random.choice(("add", "max", "min", "and", "or", "xor", "xchg"))
        size = self.n if kind == "xchg" else 8
        at = "offs" if kind == "xchg" else f"(offs % {size})"
        y = self.output(a.dtype, size)
        self.lines.append(f"tl.atomic_{kind}({y} + {at}, {a.name}, mask=inside)")
        if kind == "xchg":
            old = f"tl.atomic_add({y} + {at}, {a.name}, mask=inside)"  # nothing in particular where the mask is false
            self.let(f"tl.where(inside, {old}, 0)", a.dtype)

    # ---- the whole ---------------------------------------------------------------------------------------------------
    def kernel(self) -> Kernel:
        for _ in range(self.random.choice((1, 2))):
            self.load(self.random.choice((*INTS, *FLOAT, "i1", "bf16")))
        steps = (
            self.integers, self.integers, self.integers, self.floats, self.floats, self.floats, self.logic, self.cast,
            self.cast, self.reduce, self.scan, self.move, self.sort, self.loop, self.branch, self.atomic,
        )  # fmt: skip
        for _ in range(self.random.randint(2, 10)):
            self.random.choice(steps)()
        for v in dict.fromkeys([*self.random.sample(self.values, min(3, len(self.values))), self.values[-1]]):
            self.store(v)
        flat = f"tl.arange(0, {self.lanes})"
        head = [
            f"offs = tl.program_id(0) * {self.lanes} + tl.reshape({flat}, {self.shape})"
            if len(self.shape) > 1 else f"offs = tl.program_id(0) * {self.lanes} + {flat}",
            "inside = offs < n", "odd = (offs & 1) == 1",
        ]  # fmt: skip
        parameters = ", ".join([*(a.name for a in self.arrays), "n", "turns"])
        body = "\n".join(f"    {line}" for line in head + self.lines)
        source = f"@triton.jit\ndef {self.name}({parameters}):\n{body}\n"
        scalars = {"n": self.n, "turns": self.random.randint(2, 6)}
        return Kernel(self.name, source, (self.programs, 1), self.arrays, scalars, {})
