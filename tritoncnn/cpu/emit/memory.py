"""Scratch buffers, and the order of loads and stores.

A lazy load is read when its consumer runs, which may be after a store that followed it in the program. So before a
store, every load that is still wanted afterwards is forced into a buffer; and a store whose own value comes from
loads at other addresses is computed as a whole first. Arguments are assumed to be equal or not to overlap.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from tritoncnn.cpu.facts.analysis import DIVISIONS
from tritoncnn.cpu.facts.peel import peel
from tritoncnn.cpu.front.elements import FLOATS, llvm_type, size_of, stored
from tritoncnn.cpu.front.table import is_elementwise
from tritoncnn.cpu.front.ttir import Op, Value

from .arith import FUNCTIONS
from .pull import Pull
from .values import Buffer, Coords, Res

TREE_LIMIT = 64  # instructions for one vector
CHAIN_LIMIT = 150  # ops pulled through each other: pulling goes by recursion
# No load may move before an assertion, out of a loop.
WRITERS = {"tt.store", "tt.atomic_rmw", "tt.atomic_cas", "tt.call", "tt.assert"}
LOOPS = {"scf.for", "scf.while"}


class Memory(Pull):
    """What lives in memory, and when."""

    # ---- buffers -----------------------------------------------------------------------------------------------
    def new_buffer(self, v: Value, vaxis: int | None = None) -> Buffer:
        """Scratch for a tensor, with axis ``vaxis`` (default: the last) contiguous."""
        shape = v.type.shape
        order = [d for d in range(len(shape)) if d != vaxis] + ([vaxis] if vaxis is not None else [])
        strides, size = [0] * len(shape), 1
        for d in reversed(order):
            strides[d] = size if shape[d] > 1 else 0
            size *= shape[d]
        elem = v.type.elem
        return Buffer(self.alloca(llvm_type(stored(elem)), size), shape, tuple(strides), elem, self.depth)

    def write(self, b: Buffer, coords: Coords, r: Res) -> None:
        """Store a vector or scalar into a buffer, here."""
        lanes = [d for d, c in enumerate(coords) if c.vl and b.strides[d]]
        vl = coords[lanes[0]].vl if lanes else 0
        p = self.element(Res(b.ptr, b.lvl), b.elem, coords, b.strides)
        x, memory = self.widen(r, b.elem, vl), stored(b.elem)
        if b.elem == "i1":
            x = self.let(self.depth, f"zext {llvm_type('i1', vl)} {x} to {llvm_type('i8', vl)}")
        if not lanes or b.strides[lanes[0]] * coords[lanes[0]].step == 1:
            self.emit(f"store {llvm_type(memory, vl)} {x}, ptr {p.v}, align {size_of(b.elem)}")
            return
        for k in range(vl):
            one = self.let(self.depth, f"extractelement {llvm_type(memory, vl)} {x}, i32 {k}")
            at = self.offset(p, b.elem, k * b.strides[lanes[0]] * coords[lanes[0]].step)
            self.emit(f"store {llvm_type(memory)} {one}, ptr {at.v}, align {size_of(b.elem)}")

    def vector_axis(self, v: Value) -> int:
        """Along which axis to compute a tensor: the one its loads and buffers are contiguous along, else the widest."""
        votes, shape = self.contiguous_axes(v), v.type.shape
        widest = max(range(len(shape)), key=lambda d: (min(shape[d], self.lanes), d))
        return max(votes, key=lambda d: (votes[d], d)) if votes else widest

    def contiguous_axes(self, v: Value) -> dict[int, int]:
        """The axes along which loads and buffers behind v are contiguous: axis -> how much speaks for it."""
        votes: dict[int, int] = {}
        seen: set[tuple[Value, tuple[int | None, ...]]] = set()

        def walk(x: Value, axes: tuple[int | None, ...]) -> None:
            """axes[d]: which axis of v the axis d of x is."""
            if not x.type.shape or (x, axes) in seen:
                return
            seen.add((x, axes))
            for d, at in enumerate(axes):
                if at is None or x.type.shape[d] == 1:
                    continue
                if x in self.buffers:
                    votes[at] = votes.get(at, 0) + (self.buffers[x].strides[d] == 1)
                elif x.op is not None and x.op.name == "tt.load":
                    width = min(self.lanes, x.type.shape[d])
                    votes[at] = votes.get(at, 0) + (self.facts.stride(x.op.operands[0], d, width) == 1) * width
            op = x.op
            if x in self.buffers or op is None:
                return
            if op.name == "tt.trans":
                order = op.attrs["order"]
                assert isinstance(order, list)
                walk(op.operands[0], tuple(axes[order.index(d)] for d in range(len(axes))))
            elif op.name == "tt.broadcast" or is_elementwise(op.name):
                for y in op.operands:
                    if y.type.shape:
                        walk(y, axes)
            elif op.name == "tt.expand_dims":
                axis = op.number("axis")
                walk(op.operands[0], axes[:axis] + axes[axis + 1 :])

        walk(v, tuple(range(len(v.type.shape))))
        return {d: n for d, n in votes.items() if n}

    def materialise(self, v: Value, vaxis: int | None = None) -> Buffer:
        """Compute a tensor into scratch, as far out as it can be."""
        if v in self.buffers:
            return self.buffers[v]
        with self.at_level(self.available(v)):
            axis = self.vector_axis(v) if vaxis is None else vaxis
            b = self.new_buffer(v, axis)
            self.fill(b, v, axis)
        self.buffers[v] = b
        return b

    def fill(self, b: Buffer, v: Value, vaxis: int) -> None:
        """Write every element of v into an existing buffer."""
        ends = self.peel([v], vaxis, self.lanes)
        self.nest(v.type.shape, vaxis, lambda c: self.write(b, c, self.eval(v, c)), cuts=ends)

    def peel(self, values: Sequence[Value], axis: int, step: int) -> tuple[int, ...]:
        """Where to cut the loop along an axis that computes the values."""
        return peel(self.facts, self.buffers.keys() | self.scalars.keys(), values, axis, step)

    # ---- is it worth a buffer? ---------------------------------------------------------------------------------
    def sinks_of(self, v: Value) -> frozenset[Op]:
        """The ops that will pull v, through lazy ops."""
        todo = [] if v in self.sinks else [v]
        while todo:  # not by recursion: chains may be long
            x = todo[-1]
            through = [r for user in x.users if self.is_lazy(user) for r in user.results]
            unknown = [r for r in through if r not in self.sinks]
            if unknown:
                todo += unknown
                continue
            found = {self.leader(user) for user in x.users if not self.is_lazy(user)}
            self.sinks[x] = frozenset(found.union(*(self.sinks[r] for r in through)))
            todo.pop()
        return self.sinks[v]

    @abstractmethod
    def leader(self, op: Op) -> Op:
        """The first of the stores or reductions that are done in one loop with this one; any other op itself."""

    def weight(self, op: Op) -> int:
        """Cost of one vector of an op's result, in plain instructions."""
        n = op.name
        if n in DIVISIONS:
            c = self.facts.const(op.operands[1])
            return 20 if not c else 1 if c & (c - 1) == 0 else 6
        if n in ("arith.divf", "tt.precise_divf", "math.sqrt", "math.rsqrt", "tt.precise_sqrt"):
            return 8
        if n == "tt.extern_elementwise" or (n.startswith("math.") and n[5:] in FUNCTIONS):
            return 16
        if n == "tt.load":
            p = op.operands[0]
            last = len(p.type.shape) - 1
            flat = self.facts.stride(p, last, min(self.lanes, p.type.shape[last]))
            return 2 if flat in (0, 1) else 12
        if n == "tt.map_elementwise":
            return len(op.regions[0][0].ops)
        return 1 if is_elementwise(n) else 2 * op.operands[0].type.shape[op.number("axis")] if n == "tt.reduce" else 0

    def cost(self, v: Value) -> int:
        """Cost of pulling one vector of v. A shared operand counts once."""
        total, todo, seen = 0, [v], {v}
        while todo:
            x = todo.pop()
            if x in self.buffers or x in self.scalars or x.op is None or not x.type.shape:
                continue
            if self.facts.static(x) is not None:
                total += 1
                continue
            total += self.weight(x.op)
            fresh = [y for y in x.op.operands if y not in seen]
            seen.update(fresh)
            todo += dict.fromkeys(fresh)
        return total

    def chain(self, v: Value) -> int:
        """The longest way from v back to what is read, in ops that are pulled through."""
        assert v.op is not None
        behind = (self.lengths.get(x, 0) for x in v.op.operands if x not in self.buffers)
        self.lengths[v] = 1 + max(behind, default=0)
        return self.lengths[v]

    def tree(self, v: Value) -> int:
        """Cost of pulling v where nothing is shared by what reads an operand at several places, as a sort's steps do."""
        if v in self.buffers or v in self.scalars or v.op is None or not v.type.shape:
            return 1
        if v not in self.trees:
            self.trees[v] = 1  # none of what follows comes back here
            total, todo, seen = 0, [v], {v}
            while todo:  # what is computed at one place is computed once
                x = todo.pop()
                assert x.op is not None
                total += self.weight(x.op)
                for y in x.op.operands:
                    if y in seen:
                        continue
                    seen.add(y)
                    moved = x.op.name in ("tt.reduce", "tt.reshape")
                    if moved or y in self.buffers or y in self.scalars or y.op is None or not y.type.shape:
                        times = y.type.shape[x.op.number("axis")] if x.op.name == "tt.reduce" else 1
                        total += times * self.tree(y)
                    else:
                        todo.append(y)
            self.trees[v] = total
        return self.trees[v]

    def spreads(self, v: Value) -> bool:
        """Is v broadcast before it is consumed?"""
        todo, seen = [v], {v}
        while todo:
            for user in todo.pop().users:
                if user.name == "tt.broadcast":
                    return True
                if self.is_lazy(user):
                    todo += [r for r in user.results if r not in seen]
                    seen.update(user.results)
        return False

    def in_inner_loop(self, v: Value, sink: Op) -> bool:
        """Does the sink stand in a loop that v's op does not stand in?"""
        block = sink.block
        while block is not None and v.op is not None and block is not v.op.block:
            if block.owner is None:
                return False
            if block.owner.name in LOOPS:
                return True
            block = block.owner.block
        return False

    def holds_data(self, v: Value) -> bool:
        """Is a tensor of integers made of ones that lie in memory? Indices and masks are not, nor are bits of floats."""
        todo, seen = [v], {v}
        while todo:
            x = todo.pop()
            if x.op is None or x.type.elem in ("i1", *FLOATS) or self.facts.static(x) is not None:
                continue
            if x.op.name == "tt.load" and x.type.shape:
                return True
            todo += [y for y in x.op.operands if y not in seen]
            seen.update(x.op.operands)
        return False

    def worth_a_buffer(self, v: Value) -> bool:
        """Would pulling v again and again cost more than writing and reading it?"""
        if v.type.elem == "ptr" or self.facts.static(v) is not None:
            return False
        sinks, cost = self.sinks_of(v), self.cost(v)
        if self.chain(v) > CHAIN_LIMIT:
            return True
        if self.tree(v) > max(TREE_LIMIT, 2 * cost):
            return True
        if not sinks or cost < 4 or all(s.name == "tt.dot" for s in sinks):
            return False
        if len([n for n in v.type.shape if n > 1]) == 1 and self.spreads(v):
            return True
        if v.type.elem not in FLOATS and len(v.type.shape) > 1 and not self.holds_data(v):
            return False
        again = any(self.in_inner_loop(v, s) for s in sinks if s.name != "tt.dot")
        return cost >= 8 and (len(sinks) > 1 or again)

    # ---- order of loads and stores -----------------------------------------------------------------------------
    def wanted_after(self, v: Value, op: Op) -> bool:
        """Will something that comes after op still pull v? Loops are entered again: what they hold comes after."""
        todo, seen = [v], {v}
        while todo:
            x = todo.pop()
            if x in self.buffers:
                continue
            for user in x.users:
                if self.is_lazy(user):
                    todo += [r for r in user.results if r not in seen]
                    seen.update(user.results)
                elif user.position > op.position:
                    return True
        return False

    def force_loads(self, op: Op, spare: Sequence[Value] = ()) -> None:
        """Read into buffers what later ops still want from memory that op may write."""
        for load in self.loads:
            v = load.results[0]
            if v not in self.buffers and v not in spare and self.wanted_after(v, op):
                self.materialise(v)
        self.loads = [load for load in self.loads if load.results[0] not in self.buffers]

    def address(self, p: Value) -> tuple[Value | None, tuple[object, ...]]:
        """The argument that an address starts from, and a key of the offsets added to it."""
        offsets: list[object] = []
        while p.op is not None:
            if p.op.name == "tt.addptr":
                offsets.append(self.key(p.op.operands[1]))
            elif p.op.name == "tt.expand_dims":
                offsets.append(("expand", p.op.number("axis")))
            elif p.op.name not in ("tt.splat", "tt.broadcast"):
                return None, ()
            p = p.op.operands[0]
        if p.block is not None and p.block.owner is not None:
            offsets.append(p)  # carried: it is another address in every turn
        return p, tuple(offsets)

    def key(self, v: Value) -> object:
        """Equal for equal index expressions, whichever shape they are broadcast to."""
        while v.op is not None and v.op.name in ("tt.broadcast", "tt.splat"):
            v = v.op.operands[0]
        return v

    def loads_under(self, v: Value, seen: set[Value]) -> list[Op]:
        """Loads that pulling v will do."""
        if v in seen or v in self.buffers or v in self.scalars or v.op is None:
            return []
        seen.add(v)
        found = [v.op] if v.op.name == "tt.load" and v.type.shape else []
        return found + [load for x in v.op.operands for load in self.loads_under(x, seen)]

    def conflicts(self, stores: Sequence[Op]) -> list[tuple[Value, Op]]:
        """Values of the stores, and their loads from where the stores may already have written."""
        targets = [self.address(s.operands[0]) for s in stores]
        found: list[tuple[Value, Op]] = []
        for s in stores:
            for x in s.operands[1:]:
                for load in self.loads_under(x, set()) if x.type.shape else ():
                    source = self.address(load.operands[0])
                    if any(source[0] is None or t[0] is None or source[1] != t[1] for t in targets):
                        found.append((x, load))
        return found
