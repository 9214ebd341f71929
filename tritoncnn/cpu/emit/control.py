"""scf.for, scf.if, scf.while, and the branches of an early return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tritoncnn.cpu.front.blocks import in_order, walk
from tritoncnn.cpu.front.elements import llvm_type
from tritoncnn.cpu.front.table import is_elementwise
from tritoncnn.cpu.front.ttir import Block, Function, Op, Value, unsupported

from .memory import WRITERS
from .reduce import Reduce
from .values import Buffer, Coord, Res

TERMINATORS = {"scf.yield", "scf.condition", "cf.br", "cf.cond_br", "tt.return"}


def writes(op: Op) -> bool:
    """Does the op, or one inside of it, write memory?"""
    if op.name in WRITERS:
        return True
    return any(writes(inner) for region in op.regions for block in region for inner in block.ops)


class Control(Reduce):
    """Structured control flow. Carried scalars are phis, carried tensors live in buffers."""

    def function(self, function: Function, name: str, result: str = "void") -> str:
        """An LLVM function (the driver's part)."""
        raise NotImplementedError

    def give_back(self, end: Op) -> None:
        """tt.return of a function with branches (the driver's part)."""
        raise NotImplementedError

    def block(self, ops: Sequence[Op]) -> None:
        """Lower a list of ops (the driver's part)."""
        raise NotImplementedError

    def region(self, block: Block, load_level: int | None = None) -> list[Value]:
        """Lower a region's one block; what its terminator yields comes back (an empty yield is not printed)."""
        self.load_levels = [*self.load_levels[: self.depth], self.depth if load_level is None else load_level]
        ends = bool(block.ops) and block.ops[-1].name in TERMINATORS
        self.block(block.ops[:-1] if ends else block.ops)
        return block.ops[-1].operands if ends else []

    def bound(self, v: Value) -> int | str:
        c = self.facts.const(v)
        return self.eval(v).v if c is None else c

    # ---- carried tensors ---------------------------------------------------------------------------------------
    def last_axis(self, v: Value) -> int:
        wide = [d for d, n in enumerate(v.type.shape) if n > 1]
        return wide[-1] if wide else 0

    def carry(self, arg: Value, start: Value) -> Buffer:
        """The buffer of a carried tensor, filled with its first value."""
        axis = self.last_axis(arg)
        b = self.new_buffer(arg, axis)
        self.fill(b, start, axis)
        return b

    def same_place(self, y: Value, arg: Value, others: set[Value]) -> bool:
        """Does each element of y need, of the carried tensors, only the same element of arg?"""
        seen: dict[Value, bool] = {}

        def walk(x: Value) -> bool:
            if x is arg:
                return x.type.shape == y.type.shape
            if x in others:
                return False
            if x in self.buffers or x in self.scalars or x.op is None:
                return all(self.buffers[x].ptr != self.buffers[a].ptr for a in others) if x in self.buffers else True
            if x not in seen:
                plain = is_elementwise(x.op.name) or x.op.name in ("tt.splat", "arith.constant")
                seen[x] = all(walk(z) for z in x.op.operands) if plain else not self.reaches(x, others | {arg})
            return seen[x]

        return walk(y)

    def reaches(self, x: Value, targets: set[Value]) -> bool:
        """Would pulling x read one of the targets?"""
        if x in targets:
            return True
        if x in self.scalars or x.op is None:
            return False
        if x in self.buffers:
            return any(t in self.buffers and self.buffers[t].ptr == self.buffers[x].ptr for t in targets)
        return any(self.reaches(y, targets) for y in x.op.operands)

    def hand_over(self, yields: Sequence[Value], args: Sequence[Value], cells: Sequence[Buffer]) -> None:
        """Put the next iteration's tensors into their buffers, as if all at once."""
        carried = set(args)
        in_place, copies = [], []
        for y, arg, cell in zip(yields, args, cells, strict=True):
            if y in self.buffers and self.buffers[y].ptr == cell.ptr:
                continue
            if y not in self.buffers and self.same_place(y, arg, carried - {arg}):
                in_place.append((y, cell))
                continue
            if y in self.buffers and all(self.buffers[y].ptr != c.ptr for c in cells):
                copies.append((y, cell, self.buffers[y]))
                continue
            axis = self.last_axis(arg)
            spare = self.new_buffer(arg, axis)
            self.fill(spare, y, axis)
            copies.append((y, cell, spare))
        for y, cell in in_place:
            self.fill(replace(cell, lvl=self.depth), y, self.last_axis(y))
        for y, cell, spare in copies:
            target = replace(cell, lvl=self.depth)

            def copy(c: tuple[Coord, ...], target: Buffer = target, spare: Buffer = spare) -> None:
                self.write(target, c, self.read(spare, c))

            self.nest(y.type.shape, self.last_axis(y), copy)

    # ---- for ---------------------------------------------------------------------------------------------------
    def scf_for(self, op: Op) -> None:
        block = op.regions[0][0]
        lo, hi, step = (self.bound(x) for x in op.operands[:3])
        certain = isinstance(lo, int) and isinstance(hi, int) and lo < hi
        writer = writes(op)
        if writer:
            self.force_loads(op)
        args, inits = block.args[1:], op.operands[3:]
        tensors = [k for k, a in enumerate(args) if a.type.shape]
        plain = [k for k, a in enumerate(args) if not a.type.shape]
        cells = [self.carry(args[k], inits[k]) for k in tensors]
        outside = self.load_levels[self.depth]

        def body(i: Coord, values: list[str]) -> list[str]:
            self.scalars[block.args[0]] = Res(i.name, i.lvl)
            for k, v in zip(plain, values, strict=True):
                self.scalars[args[k]] = Res(v, self.depth)
            for k, cell in zip(tensors, cells, strict=True):
                self.buffers[args[k]] = replace(cell, lvl=self.depth)
            yielded = self.region(block, outside if certain and not writer else None)
            results = [self.eval(yielded[k]).v for k in plain]
            self.hand_over([yielded[k] for k in tensors], [args[k] for k in tensors], cells)
            return results

        carried = [(llvm_type(args[k].type.elem), self.eval(inits[k]).v) for k in plain]
        below = "ult" if op.attrs.get("unsigned") else "slt"
        last = self.loop(lo, hi, step, body, carried, block.args[0].type.elem, below)
        self.load_levels = self.load_levels[: self.depth + 1]
        for k, v in zip(plain, last, strict=True):
            self.scalars[op.results[k]] = Res(v, self.depth)
        for k, cell in zip(tensors, cells, strict=True):
            self.buffers[op.results[k]] = replace(cell, lvl=self.depth)

    # ---- if ----------------------------------------------------------------------------------------------------
    def scf_if(self, op: Op) -> None:
        test = self.eval(op.operands[0]).v
        if writes(op):
            self.force_loads(op)
        blocks = [region[0] for region in op.regions]
        tensors = [(k, self.new_buffer(r, self.last_axis(r))) for k, r in enumerate(op.results) if r.type.shape]
        plain = [k for k, r in enumerate(op.results) if not r.type.shape]
        label = self.fresh("I")[1:]
        names: list[list[str]] = []
        parts: list[list[str]] = []
        for block in blocks:
            self.push()
            yielded = self.region(block)
            names.append([self.eval(yielded[k]).v for k in plain])
            for k, b in tensors:
                self.fill(replace(b, lvl=self.depth), yielded[k], self.last_axis(yielded[k]))
            parts.append(self.pop())
        self.load_levels = self.load_levels[: self.depth + 1]
        out = self.stack[-1]
        has_else = len(parts) > 1
        out += [f"  br i1 {test}, label %{label}t, label %{label}{'f' if has_else else 'e'}", f"{label}t:", *parts[0]]
        out += [f"  br label %{label}x", f"{label}x:", f"  br label %{label}e"]
        if has_else:
            out += [f"{label}f:", *parts[1], f"  br label %{label}y", f"{label}y:", f"  br label %{label}e"]
        out.append(f"{label}e:")
        for n, k in enumerate(plain):
            r = op.results[k]
            t = llvm_type(r.type.elem)
            text = f"phi {t} [ {names[0][n]}, %{label}x ], [ {names[1][n]}, %{label}y ]"
            self.scalars[r] = Res(self.let(self.depth, text), self.depth)
        for k, b in tensors:
            self.buffers[op.results[k]] = b

    # ---- while -------------------------------------------------------------------------------------------------
    def scf_while(self, op: Op) -> None:
        before, after = op.regions[0][0], op.regions[1][0]
        self.force_loads(op)
        tensors = [k for k, a in enumerate(before.args) if a.type.shape]
        plain = [k for k, a in enumerate(before.args) if not a.type.shape]
        cells = [self.carry(before.args[k], op.operands[k]) for k in tensors]
        starts = [self.eval(op.operands[k]).v for k in plain]
        label = self.fresh("W")[1:]
        self.push()
        names = {k: f"%{label}a{k}" for k in plain}
        for k, name in names.items():
            self.scalars[before.args[k]] = Res(name, self.depth)
        for k, cell in zip(tensors, cells, strict=True):
            self.buffers[before.args[k]] = replace(cell, lvl=self.depth)
        test, *forwarded = self.region(before)
        condition = self.eval(test).v
        finals: list[tuple[Value, Res | Buffer]] = []
        for r, arg, y in zip(op.results, after.args, forwarded, strict=True):
            if arg.type.shape:
                b = self.new_buffer(arg, self.last_axis(arg))
                self.fill(b, y, self.last_axis(arg))
                self.buffers[arg] = b
                finals.append((r, b))
            else:
                self.scalars[arg] = self.eval(y)
                finals.append((r, self.scalars[arg]))
        self.emit(f"br i1 {condition}, label %{label}b, label %{label}e")
        self.label(f"{label}b")
        yielded = self.region(after)
        nexts = {k: self.eval(yielded[k]).v for k in plain}
        self.hand_over([yielded[k] for k in tensors], [before.args[k] for k in tensors], cells)
        code = self.pop()
        self.load_levels = self.load_levels[: self.depth + 1]
        out = self.stack[-1]
        out += [f"  br label %{label}p", f"{label}p:", f"  br label %{label}h", f"{label}h:"]
        for (k, name), start in zip(names.items(), starts, strict=True):
            t = llvm_type(before.args[k].type.elem)
            out.append(f"  {name} = phi {t} [ {start}, %{label}p ], [ {nexts[k]}, %{label}l ]")
        out += [*code, f"  br label %{label}l", f"{label}l:", f"  br label %{label}h", f"{label}e:"]
        for r, final in finals:
            if isinstance(final, Buffer):
                self.buffers[r] = replace(final, lvl=self.depth)
            else:
                self.scalars[r] = Res(final.v, self.depth)

    # ---- branches of a function --------------------------------------------------------------------------------
    def branches(self, function: Function) -> list[str]:
        """Blocks of a function with early returns: the first stays in level 0, the others follow it, each a level."""
        by_label = {b.label: b for b in function.blocks}
        blocks = in_order(function.blocks)
        for position, op in enumerate(walk(replace(function, blocks=blocks))):
            op.position = position  # in the order of execution, whatever the text's is
        labels = {b.label: f"B{n}" for n, b in enumerate(blocks)}
        incoming: dict[str, list[tuple[list[str], str]]] = {}
        cells: dict[Value, Buffer] = {}
        done: set[str] = set()
        made: dict[Value, Buffer] = {}
        tail: list[str] = []
        for n, block in enumerate(blocks):
            done.add(block.label)
            if n:
                self.push()
                self.emit_phis(block, incoming.get(block.label, []))
                for a in block.args:
                    if a.type.shape and a in cells:
                        self.buffers[a] = replace(cells[a], lvl=self.depth)
                self.region(block)
                self.force_loads(block.ops[-1], [x.results[0] for x in self.loads if x.block is not block])
            else:
                self.block(block.ops[:-1])
                self.push()
            self.leave(block.ops[-1], by_label, labels, incoming, cells, done)
            made |= {v: b for v, b in self.buffers.items() if b.lvl == self.depth and v.block is block}
            code = self.pop()
            self.buffers |= made  # what a block has made, those it leads to may read
            self.load_levels = self.load_levels[:1]
            tail += ([f"{labels[block.label]}:"] if n else []) + code
        return tail

    def emit_phis(self, block: Block, edges: list[tuple[list[str], str]]) -> None:
        for k, a in enumerate(block.args):
            if not a.type.shape and edges:
                pairs = ", ".join(f"[ {values[k]}, %{edge} ]" for values, edge in edges)
                self.scalars[a] = Res(self.let(self.depth, f"phi {llvm_type(a.type.elem)} {pairs}"), self.depth)

    def leave(
        self,
        end: Op,
        blocks: dict[str, Block],
        labels: dict[str, str],
        incoming: dict[str, list[tuple[list[str], str]]],
        cells: dict[Value, Buffer],
        done: set[str],
    ) -> None:
        """A block's terminator; each edge has a label of its own, where the target's tensors are filled."""
        if end.name == "tt.return":
            self.give_back(end)
            return
        targets = end.attrs.get("targets")
        if not isinstance(targets, list) or any(label in done for label, _ in targets):
            raise unsupported(end, "only branches forward are supported")
        edges = [self.fresh("E")[1:] for _ in targets]
        if end.name == "cf.cond_br":
            self.emit(f"br i1 {self.eval(end.operands[0]).v}, label %{edges[0]}, label %{edges[1]}")
        else:
            self.emit(f"br label %{edges[0]}")
        for edge, (label, values) in zip(edges, targets, strict=True):
            self.label(edge)
            names = []
            for a, v in zip(blocks[label].args, values, strict=True):
                if not a.type.shape:
                    names.append(self.eval(v).v)
                    continue
                names.append("")
                if a not in cells:
                    cells[a] = self.new_buffer(a, self.last_axis(a))
                self.fill(replace(cells[a], lvl=self.depth), v, self.last_axis(a))
            # filling opens loops: the label that the target sees is the one after them
            last = self.fresh("E")[1:]
            self.emit(f"br label %{last}")
            self.label(last)
            self.emit(f"br label %{labels[label]}")
            incoming.setdefault(label, []).append((names, last))
