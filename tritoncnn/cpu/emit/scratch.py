"""Scratch memory: buffers made, read and written, a vector at a time."""

from __future__ import annotations

from tritoncnn.cpu.front.elements import llvm_type, size_of, stored
from tritoncnn.cpu.front.ttir import Value

from .state import State
from .values import Buffer, Coords, Res


def truth_of(x: str, type: str) -> str:
    """Stored bytes as i1. A trunc would do, but LLVM 22 for x86 drops the lanes' broadcast when such a mask is splat again."""
    zero = "zeroinitializer" if type.startswith("<") else "0"
    return f"icmp ne {type} {x}, {zero}"


def read(code: State, b: Buffer, coords: Coords) -> Res:
    """A vector (or scalar) of a buffer."""
    lanes = [d for d, c in enumerate(coords) if c.vl and b.strides[d]]
    p = code.element(Res(b.ptr, b.lvl), b.elem, coords, b.strides)
    vl = coords[lanes[0]].vl if lanes else 0
    type = llvm_type(stored(b.elem), vl)
    if not lanes or b.strides[lanes[0]] * coords[lanes[0]].step == 1:
        x = code.let(p.lvl, f"load {type}, ptr {p.v}, align {size_of(b.elem)}")
    else:
        step = b.strides[lanes[0]] * coords[lanes[0]].step
        x = _read_spread(code, p, b.elem, vl, step)
    if b.elem == "i1":
        x = code.let(p.lvl, truth_of(x, type))
    return Res(x, p.lvl, vl)


def _read_spread(code: State, p: Res, elem: str, vl: int, step: int) -> str:
    """Lanes that lie step elements apart, one scalar load each: scratch is in L1, gathers are slow."""
    type, vector, x = llvm_type(stored(elem)), llvm_type(stored(elem), vl), "poison"
    for k in range(vl):
        at = code.offset(p, elem, k * step)
        one = code.let(p.lvl, f"load {type}, ptr {at.v}, align {size_of(elem)}")
        x = code.let(p.lvl, f"insertelement {vector} {x}, {type} {one}, i32 {k}")
    return x


def new_buffer(code: State, v: Value, vaxis: int | None = None) -> Buffer:
    """Scratch for a tensor, with axis ``vaxis`` (default: the last) contiguous."""
    shape = v.type.shape
    order = [d for d in range(len(shape)) if d != vaxis] + ([vaxis] if vaxis is not None else [])
    strides, size = [0] * len(shape), 1
    for d in reversed(order):
        strides[d] = size if shape[d] > 1 else 0
        size *= shape[d]
    elem = v.type.elem
    return Buffer(code.alloca(llvm_type(stored(elem)), size), shape, tuple(strides), elem, code.depth)


def write(code: State, b: Buffer, coords: Coords, r: Res) -> None:
    """Store a vector or scalar into a buffer, here."""
    lanes = [d for d, c in enumerate(coords) if c.vl and b.strides[d]]
    vl = coords[lanes[0]].vl if lanes else 0
    p = code.element(Res(b.ptr, b.lvl), b.elem, coords, b.strides)
    x, memory = code.widen(r, b.elem, vl), stored(b.elem)
    if b.elem == "i1":
        x = code.let(code.depth, f"zext {llvm_type('i1', vl)} {x} to {llvm_type('i8', vl)}")
    if not lanes or b.strides[lanes[0]] * coords[lanes[0]].step == 1:
        code.emit(f"store {llvm_type(memory, vl)} {x}, ptr {p.v}, align {size_of(b.elem)}")
        return
    for k in range(vl):
        one = code.let(code.depth, f"extractelement {llvm_type(memory, vl)} {x}, i32 {k}")
        at = code.offset(p, b.elem, k * b.strides[lanes[0]] * coords[lanes[0]].step)
        code.emit(f"store {llvm_type(memory)} {one}, ptr {at.v}, align {size_of(b.elem)}")


def to_memory(code: State, x: str, elem: str, vl: int) -> str:
    """A value as memory holds it: a bool takes one byte."""
    if elem != "i1":
        return x
    return code.let(code.depth, f"zext {llvm_type('i1', vl)} {x} to {llvm_type('i8', vl)}")
