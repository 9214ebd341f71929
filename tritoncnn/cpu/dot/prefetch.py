"""Asking for rows of a factor before they are wanted: they lie so far apart that the CPU does not foresee the next one."""

from __future__ import annotations

from tritoncnn.cpu.emit.state import State
from tritoncnn.cpu.emit.values import Res
from tritoncnn.cpu.front.elements import size_of

LINE = 64  # bytes that memory gives at once
AHEAD = 16  # rows


def fetch_ahead(code: State, at: Res, elem: str, count: int) -> None:
    """Ask for ``count`` elements from this address on. They may lie past the end of the tensor: asking is no fault."""
    fetch = code.intrinsic("llvm.prefetch.p0", "void", "ptr", "i32 immarg", "i32 immarg", "i32 immarg")
    for n in range(0, count, LINE // size_of(elem)):
        code.emit(f"{fetch}(ptr {code.offset(at, elem, n).v}, i32 0, i32 3, i32 1)")  # to read, into all caches
