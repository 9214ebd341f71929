"""Atomic operations, an element at a time, in order."""

from __future__ import annotations

from tritoncnn.cpu.front.elements import FLOATS, llvm_type, size_of
from tritoncnn.cpu.front.ttir import Op, unsupported

from .buffers import materialise
from .order import force_loads, loads_under
from .pull import pull
from .scratch import new_buffer, write
from .state import State
from .values import Coords, Res

ATOMIC = {"add": "add", "fadd": "fadd", "and": "and", "or": "or", "xor": "xor", "max": "max", "min": "min",
          "umax": "umax", "umin": "umin", "exch": "xchg"}  # fmt: skip


def read_modify_write(code: State, op: Op) -> None:
    """``tt.atomic_rmw``."""
    kind = ATOMIC.get(op.words()[0])
    if kind is None:
        raise unsupported(op, f"atomic {op.words()[0]!r} is not known")
    _atomic(code, op, kind)


def compare_and_swap(code: State, op: Op) -> None:
    """``tt.atomic_cas``."""
    _atomic(code, op, None)


def _atomic(code: State, op: Op, kind: str | None) -> None:
    """An atomic op, element by element in order; kind: how it modifies, None: it swaps. Where its mask is false it gives 0."""
    p, r = op.operands[0], op.results[0]
    mask = op.operands[2] if kind is not None and len(op.operands) > 2 else None
    elem = op.operands[1].type.elem
    force_loads(code, op)
    for x in op.operands:
        if x.type.shape and loads_under(code, x, set()):
            materialise(code, x)
    out = new_buffer(code, r) if r.type.shape and r.users else None
    kept = code.alloca(llvm_type(elem)) if not r.type.shape and r.users else None
    t = llvm_type(elem)
    masked = mask is not None and code.facts.truth(mask) is not True
    code.remarks.element(op, "atomic", masked, "atomics go an element at a time, in order")

    def one(coords: Coords) -> None:
        a, *xs = (pull(code, x, coords if x.type.shape else ()).v for x in op.operands)

        def give(old: str) -> None:
            if out is not None:
                write(code, out, coords, Res(old, code.depth))
            if kept is not None:
                code.emit(f"store {t} {old}, ptr {kept}")

        def go() -> None:
            d = code.depth
            if kind is None:
                bits = t if elem not in FLOATS else f"i{size_of(elem) * 8}"
                args = [x if bits == t else code.let(d, f"bitcast {t} {x} to {bits}") for x in xs]
                pair = code.let(d, f"cmpxchg ptr {a}, {bits} {args[0]}, {bits} {args[1]} seq_cst seq_cst")
                old = code.let(d, f"extractvalue {{ {bits}, i1 }} {pair}, 0")
                old = old if bits == t else code.let(d, f"bitcast {bits} {old} to {t}")
            else:
                old = code.let(d, f"atomicrmw {kind} ptr {a}, {t} {xs[0]} acq_rel")
            give(old)

        if masked:
            give("zeroinitializer")
        code.when(xs[1] if mask else "1", go)

    if p.type.shape:
        code.nest(p.type.shape, None, one)
    else:
        one(())
    if out is not None:
        code.buffers[r] = out
    elif kept is not None:
        code.scalars[r] = Res(code.let(code.depth, f"load {t}, ptr {kept}"), code.depth)
