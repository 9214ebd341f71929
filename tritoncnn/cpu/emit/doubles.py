"""f32 functions computed in f64 vectors and rounded once (``wide.py``, ``circles.py``): the words that they share."""

from __future__ import annotations

from tritoncnn.cpu.front.elements import llvm_type

from .vector import Vector, Writer

MAGIC = 6755399441055744.0  # 1.5 * 2**52: adding it rounds to an integer, which then stands in the low bits


class Doubles(Vector):
    """Arithmetic in f64, of values that come as f32 and go back."""

    def __init__(self, emitter: Writer, lvl: int, vl: int) -> None:
        super().__init__(emitter, lvl, vl, "f64")
        self.f = llvm_type("f32", vl)

    def up(self, x: str) -> str:
        return self.let(f"fpext {self.f} {x} to {self.t}")

    def down(self, x: str) -> str:
        return self.let(f"fptrunc {self.t} {x} to {self.f}")

    def add(self, a: str, b: str) -> str:
        return self.op("fadd", a, b)

    def sub(self, a: str, b: str) -> str:
        return self.op("fsub", a, b)

    def mul(self, a: str, b: str) -> str:
        return self.op("fmul", a, b)

    def div(self, a: str, b: str) -> str:
        return self.op("fdiv", a, b)

    def sqrt(self, x: str) -> str:
        return self.call("sqrt", x)
