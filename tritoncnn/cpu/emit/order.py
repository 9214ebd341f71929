"""The order of loads and stores.

A lazy load is read when its consumer runs, which may be after a store that followed it in the program. So before a
store, every load that is still wanted afterwards is forced into a buffer; and a store whose own value comes from
loads at other addresses, or from other elements of a load, is computed as a whole first. Arguments are assumed to be
equal or not to overlap.
"""

from __future__ import annotations

from collections.abc import Sequence

from tritoncnn.cpu.front.ttir import Op, Value

from .buffers import materialise
from .pull import is_lazy
from .state import State


def wanted_after(code: State, v: Value, op: Op) -> bool:
    """Will something that comes after op still pull v? Loops are entered again: what they hold comes after."""
    todo, seen = [v], {v}
    while todo:
        x = todo.pop()
        if x in code.buffers:
            continue
        for user in x.users:
            if is_lazy(code, user):
                todo += [r for r in user.results if r not in seen]
                seen.update(user.results)
            elif user.position > op.position:
                return True
    return False


def force_loads(code: State, op: Op, spare: Sequence[Value] = ()) -> None:
    """Read into buffers what later ops still want from memory that op may write."""
    for load in code.loads:
        v = load.results[0]
        if v not in code.buffers and v not in spare and wanted_after(code, v, op):
            materialise(code, v)
    code.loads = [load for load in code.loads if load.results[0] not in code.buffers]


def origin(code: State, p: Value) -> tuple[Value | None, tuple[object, ...]]:
    """The argument that an address starts from, and a key of the offsets added to it."""
    offsets: list[object] = []
    while p.op is not None:
        key = code.row(p.op).address
        if key is None:
            return None, ()
        offsets += (_unspread(code, part) if isinstance(part, Value) else part for part in key(p.op))
        p = p.op.operands[0]
    if p.block is not None and p.block.owner is not None:
        offsets.append(p)  # carried: it is another address in every turn
    return p, tuple(offsets)


def _unspread(code: State, v: Value) -> Value:
    """A value before it was repeated: offsets are equal whichever shape they are broadcast to."""
    while v.op is not None and code.row(v.op).spreads:
        v = v.op.operands[0]
    return v


def loads_under(code: State, v: Value, seen: set[Value]) -> list[Op]:
    """Loads that pulling v will do."""
    if v in seen or v in code.buffers or v in code.scalars or v.op is None:
        return []
    seen.add(v)
    found = [v.op] if code.row(v.op).access == "load" and v.type.shape else []
    return found + [load for x in v.op.operands for load in loads_under(code, x, seen)]


def _moved_loads(code: State, v: Value) -> set[Op]:
    """Loads of which an element of v needs another element than its own, as a transposition does."""
    todo, moved = [(v, False)], set()
    seen = set(todo)
    while todo:
        x, elsewhere = todo.pop()
        if x in code.buffers or x in code.scalars or x.op is None:
            continue
        row = code.row(x.op)
        if row.access == "load":
            if elsewhere:
                moved.add(x.op)
        elif not (row.pointwise or row.spreads or row.address):
            elsewhere = True
        fresh = [(y, elsewhere) for y in x.op.operands if (y, elsewhere) not in seen]
        seen.update(fresh)
        todo += fresh
    return moved


def find_conflicts(code: State, stores: Sequence[Op]) -> list[tuple[Value, Op]]:
    """Values of the stores, and their loads from where the stores may already have written. Of addresses, what is loaded."""
    targets = [origin(code, s.operands[0]) for s in stores]
    found: list[tuple[Value, Op]] = []
    for s in stores:
        for x in s.operands:
            moved = _moved_loads(code, x)
            for load in loads_under(code, x, set()) if x.type.shape else ():
                source = origin(code, load.operands[0])
                if load in moved or any(source[0] is None or t[0] is None or source[1] != t[1] for t in targets):
                    found.append((x if x.type.elem != "ptr" else load.results[0], load))
    return found
