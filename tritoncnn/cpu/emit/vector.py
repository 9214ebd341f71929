"""The words that vector functions are written in: arithmetic on vl lanes (0: a scalar) of f32 or f64, as LLVM text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tritoncnn.cpu.front.elements import float_literal, llvm_type


class Writer(Protocol):
    """Where lines go: a kernel's level, or a function of its own."""

    def let(self, lvl: int, text: str) -> str: ...

    def intrinsic(self, name: str, result: str, *args: str) -> str: ...

    def table(self, elem: str, numbers: Sequence[int | str]) -> str: ...

    def define(self, name: str, text: str) -> None: ...


class FunctionText:
    """Lines of a function; what it declares and defines goes to the module."""

    def __init__(self, module: Writer) -> None:
        self.module = module
        self.lines: list[str] = []

    def let(self, lvl: int, text: str) -> str:
        name = f"%f{len(self.lines)}"
        self.lines.append(f"  {name} = {text}")
        return name

    def intrinsic(self, name: str, result: str, *args: str) -> str:
        return self.module.intrinsic(name, result, *args)

    def table(self, elem: str, numbers: Sequence[int | str]) -> str:
        return self.module.table(elem, numbers)

    def define(self, name: str, text: str) -> None:
        self.module.define(name, text)


class Vector:
    """Arithmetic at one level. ``t`` is the float type, ``i`` the integer type of its width, ``b`` that of tests."""

    def __init__(self, emitter: Writer, lvl: int, vl: int, elem: str) -> None:
        self.emitter, self.lvl, self.vl, self.elem = emitter, lvl, vl, elem
        self.whole = "i32" if elem == "f32" else "i64"
        self.t, self.i, self.b = (llvm_type(e, vl) for e in (elem, self.whole, "i1"))
        self.suffix = f"v{vl}{elem}" if vl else elem

    def let(self, text: str) -> str:
        return self.emitter.let(self.lvl, text)

    def c(self, x: float) -> str:
        text = float_literal(x, self.elem)
        return f"splat ({llvm_type(self.elem)} {text})" if self.vl else text

    def n(self, x: int) -> str:
        return f"splat ({self.whole} {x})" if self.vl else str(x)

    def call(self, name: str, *args: str) -> str:
        call = self.emitter.intrinsic(f"llvm.{name}.{self.suffix}", self.t, *[self.t] * len(args))
        return self.let(f"{call}({', '.join(f'{self.t} {a}' for a in args)})")

    def fma(self, a: str, b: str, c: str) -> str:
        return self.call("fma", a, b, c)

    def op(self, name: str, a: str, b: str) -> str:
        return self.let(f"{name} {self.i if name[0] != 'f' else self.t} {a}, {b}")

    def bits(self, x: str) -> str:
        return self.let(f"bitcast {self.t} {x} to {self.i}")

    def real(self, x: str) -> str:
        return self.let(f"bitcast {self.i} {x} to {self.t}")

    def test(self, how: str, a: str, b: str) -> str:
        return self.let(f"fcmp {how} {self.t} {a}, {b}")

    def pick(self, test: str, yes: str, no: str) -> str:
        return self.let(f"select {self.b} {test}, {self.t} {yes}, {self.t} {no}")

    def where(self, how: str, a: str, b: str, yes: str, no: str) -> str:
        return self.pick(self.test(how, a, b), yes, no)

    def both(self, a: str, b: str) -> str:
        return self.let(f"and {self.b} {a}, {b}")

    def horner(self, x: str, *coefficients: float) -> str:
        r = self.c(coefficients[0])
        for k in coefficients[1:]:
            r = self.fma(r, x, self.c(k))
        return r
