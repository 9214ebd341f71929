"""Loads: plain, masked, broadcast or gathering."""

from __future__ import annotations

from tritoncnn.cpu.front.elements import llvm_type, mangled, size_of, stored, zero
from tritoncnn.cpu.front.ttir import Op, Value

from .pull import pull
from .scratch import truth_of
from .state import State
from .values import Coords, Res

WORD = 4  # bytes of a lane of a register


def lane_stride(code: State, v: Value, coords: Coords) -> int | None:
    """Step of v from lane to lane."""
    for d, c in enumerate(coords):
        if c.vl and v.type.shape and v.type.shape[d] > 1:
            if c.step == 1:
                return code.facts.stride(v, d, c.vl)
            s = code.facts.stride(v, d, v.type.shape[d])
            return None if s is None else s * c.step
    return 0


def load(code: State, op: Op, v: Value, coords: Coords) -> Res:
    """A plain, masked, broadcast or gathering load; where its mask is false and no other value is given, 0."""
    p = op.operands[0]
    mask, other = (*op.operands[1:], None, None)[:2]
    elem, floor = v.type.elem, code.floors.get(v, 0)
    vl = max([c.vl for c in coords], default=0)
    first = tuple(c.first() for c in coords)
    step = lane_stride(code, p, coords)
    m = pull(code, mask, coords) if mask else Res("1")
    o = Res("poison") if m.v == "1" else pull(code, other, coords) if other else Res(zero(elem))
    if not m.vl and m.v == "0":
        return o
    code.remarks.access(code.facts, op, [c.vl for c in coords], step, m.v != "1")
    if step == 0 or not vl:
        return _load_one(code, p, m, o, first, elem, floor)
    memory = llvm_type(stored(elem), vl)
    if step == 1:
        a = pull(code, p, first)
        lvl = max(a.lvl, m.lvl, o.lvl, floor)
        if not m.vl and (m.v == "1" or is_nothing(o, elem)):  # one mask for all lanes chooses an address
            at = (
                a.v
                if m.v == "1"
                else code.let(lvl, f"select i1 {m.v}, ptr {a.v}, ptr {code.zeros(vl * size_of(elem))}")
            )
            x = code.let(lvl, f"load {memory}, ptr {at}, align {size_of(elem)}")
        else:
            x = masked_load(code, lvl, a.v, elem, vl, code.widen(m, "i1", vl), o)
    else:
        a = pull(code, p, coords)
        lvl = max(a.lvl, m.lvl, o.lvl, floor)
        x = _gather(code, lvl, code.widen(a, "ptr", vl), elem, vl, code.widen(m, "i1", vl), o)
    if elem == "i1":
        x = code.let(lvl, truth_of(x, memory))
    return Res(x, lvl, vl)


def is_nothing(other: Res, elem: str) -> bool:
    """Is what masked lanes read 0?"""
    return other.v in ("zeroinitializer", zero(elem))


def _others(code: State, lvl: int, other: Res, elem: str, vl: int) -> str:
    """What masked lanes hold, as masked loads move it."""
    if is_nothing(other, elem):
        return "zeroinitializer"
    x, kind = code.widen(other, elem, vl), masked_kind(elem)
    if kind == elem or x == "poison":
        return x
    how = "zext" if elem == "i1" else "bitcast"
    return code.let(lvl, f"{how} {llvm_type(elem, vl)} {x} to {llvm_type(kind, vl)}")


def masked_load(code: State, lvl: int, p: str, elem: str, vl: int, mask: str, other: Res) -> str:
    """Load the lanes that the mask leaves, ``other`` in the rest.

    It goes register by register: LLVM 22 for x86 ends the process where it cuts a wider load and knows one half to be empty.
    """
    kind = masked_kind(elem)
    p = unless_empty(code, lvl, p, mask, vl, code.zeros(vl * size_of(elem)))
    others = _others(code, lvl, other, elem, vl)
    width = min(vl, WORD * code.lanes // size_of(elem))
    memory = llvm_type(kind, width)
    call = code.intrinsic(
        f"llvm.masked.load.{mangled(kind, width)}.p0", memory, "ptr", "i32", f"<{width} x i1>", memory
    )
    loaded = ""
    for first in range(0, vl, width):
        masks, rest = mask, others
        if width < vl:
            masks = _lanes(code, lvl, f"<{vl} x i1>", mask, range(first, first + width))
            rest = _lanes(code, lvl, llvm_type(kind, vl), others, range(first, first + width))
        at = code.offset(Res(p, lvl), elem, first).v
        part = f"{call}(ptr {at}, i32 {size_of(elem)}, <{width} x i1> {masks}, {memory} {rest})"
        part = code.let(lvl, part)
        loaded = part if not first else _joined(code, lvl, kind, loaded, first, part, width)
    return _as_stored(code, lvl, loaded, elem, vl)


def _lanes(code: State, lvl: int, t: str, x: str, lanes: range) -> str:
    numbers = ", ".join(f"i32 {n}" for n in lanes)
    return code.let(lvl, f"shufflevector {t} {x}, {t} poison, <{len(lanes)} x i32> <{numbers}>")


def _joined(code: State, lvl: int, kind: str, before: str, count: int, part: str, width: int) -> str:
    """``count`` lanes, and ``width`` more behind them."""
    t = llvm_type(kind, count)
    if width < count:  # both operands of a shuffle have one type
        numbers = ", ".join([*(f"i32 {n}" for n in range(width)), *["i32 poison"] * (count - width)])
        small = llvm_type(kind, width)
        part = code.let(lvl, f"shufflevector {small} {part}, {small} poison, <{count} x i32> <{numbers}>")
    numbers = ", ".join(f"i32 {n}" for n in range(count + width))
    return code.let(lvl, f"shufflevector {t} {before}, {t} {part}, <{count + width} x i32> <{numbers}>")


def _gather(code: State, lvl: int, p: str, elem: str, vl: int, mask: str, other: Res) -> str:
    kind = masked_kind(elem)
    memory = llvm_type(kind, vl)
    name = f"llvm.masked.gather.{mangled(kind, vl)}.v{vl}p0"
    call = code.intrinsic(name, memory, f"<{vl} x ptr>", "i32", f"<{vl} x i1>", memory)
    rest = f"<{vl} x i1> {mask}, {memory} {_others(code, lvl, other, elem, vl)}"
    x = code.let(lvl, f"{call}(<{vl} x ptr> {p}, i32 {size_of(elem)}, {rest})")
    return _as_stored(code, lvl, x, elem, vl)


def _as_stored(code: State, lvl: int, x: str, elem: str, vl: int) -> str:
    """What a masked load has moved, in the type that stored elements have."""
    kind = masked_kind(elem)
    if kind == stored(elem):
        return x
    return code.let(lvl, f"bitcast {llvm_type(kind, vl)} {x} to {llvm_type(elem, vl)}")


def masked_kind(elem: str) -> str:
    """What masked loads and stores move: without AVX512-BF16, LLVM takes bf16 lane by lane, 16-bit integers at once."""
    return "i16" if elem in ("f16", "bf16") else stored(elem)


def unless_empty(code: State, lvl: int, p: str, mask: str, vl: int, spare: str) -> str:
    """The address, or a spare one where no lane is wanted: x86 takes 200 ns to find that an address off the map is masked."""
    if not mask.startswith("%"):
        return p
    bits = code.let(lvl, f"bitcast <{vl} x i1> {mask} to i{vl}")
    some = code.let(lvl, f"icmp ne i{vl} {bits}, 0")
    return code.let(lvl, f"select i1 {some}, ptr {p}, ptr {spare}")


def _load_one(code: State, p: Value, m: Res, o: Res, first: Coords, elem: str, floor: int) -> Res:
    """One element for all lanes; where the mask is false its address is not touched."""
    a = pull(code, p, first if p.type.shape else ())
    lvl = max(a.lvl, m.lvl, floor)
    memory, address = llvm_type(stored(elem)), a.v
    if m.v != "1":
        wanted = m.v
        if m.vl:
            call = code.intrinsic(f"llvm.vector.reduce.or.v{m.vl}i1", "i1", f"<{m.vl} x i1>")
            wanted = code.let(lvl, f"{call}(<{m.vl} x i1> {m.v})")
        address = code.let(lvl, f"select i1 {wanted}, ptr {address}, ptr {code.zeros(8)}")
    x = code.let(lvl, f"load {memory}, ptr {address}, align {size_of(elem)}")
    if elem == "i1":
        x = code.let(lvl, truth_of(x, "i8"))
    if m.v == "1" or (not m.vl and is_nothing(o, elem)):  # masked, it has read zeros
        return Res(x, lvl)
    vl = max(m.vl, o.vl)
    lvl = max(lvl, o.lvl)
    t = llvm_type(elem, vl)
    yes, no = code.widen(Res(x, lvl), elem, vl), code.widen(o, elem, vl)
    return Res(code.let(lvl, f"select {llvm_type('i1', m.vl)} {m.v}, {t} {yes}, {t} {no}"), lvl, vl)


def note_load(code: State, op: Op) -> None:
    """Say how far out it may be read: a load that is checked stays behind its check."""
    code.floors[op.results[0]] = code.load_levels[code.depth] if code.guard is None else code.depth
    if op.results[0].type.shape:
        code.loads.append(op)


def weight(code: State, op: Op) -> int:
    """Plain instructions for one vector: a gather reads lane by lane."""
    return 2 if is_flat(code, op) else 12


def is_flat(code: State, op: Op) -> bool:
    """Do the lanes of a load lie side by side, or in one place?"""
    p = op.operands[0]
    last = len(p.type.shape) - 1
    return last < 0 or code.facts.stride(p, last, min(code.lanes, p.type.shape[last])) in (0, 1)
