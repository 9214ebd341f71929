"""TTIR text in, LLVM IR text out.

A module exports ``launch(ptr record)``, which runs the whole grid, and ``chunk(ptr record)``, one worker of it. The
record has 8-byte slots: work counter, three grid sizes, threads, then the kernel's arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from .dot.batches import Batches
from .emit.calls import call, give_back
from .emit.reduce import MOST_SUMS
from .emit.report import asserted, printed
from .emit.values import ZERO, Buffer, Coord, Coords, Res
from .facts.inductions import rewrite_inductions
from .facts.points_to import PointsTo
from .facts.remarks import Remarks
from .front.elements import llvm_type
from .front.reshapes import rewrite_reshapes
from .front.scaled import rewrite_scaled
from .front.sums import rewrite_sums
from .front.table import is_elementwise
from .front.ttir import Function, Op, Parser, Value, unsupported
from .sanitize.guards import ACCESSES, Guard, slots

IGNORED = {"tt.return", "llvm.intr.assume", "tt.assume", "ttg.barrier", "gpu.barrier"}  # one thread runs a program
RUNS = 8  # runs of programs per thread: one atomic operation each


class Lowering(Batches):
    """Ops in program order: what is emitted at once, and what stays lazy."""

    def function(self, function: Function, name: str, result: str = "void") -> str:
        """An LLVM function of the arguments, program ids and grid sizes."""
        parameters = []
        for k, a in enumerate(function.args):
            self.scalars[a] = Res(f"%arg{k}")
            parameters.append(f"{llvm_type(a.type.elem)} %arg{k}")
            if name == "body" and a.type.elem == "ptr":
                self.tensors.add(a)
        parameters += [f"i32 %pid{d}" for d in range(3)] + [f"i32 %np{d}" for d in range(3)]
        self.result = result
        if self.guard is not None:
            parameters.append("ptr %record")
        if len(function.blocks) == 1:
            self.block(function.blocks[0].ops)
            tail = ["  ret void"]
        else:
            tail = self.branches(function)
        assert self.depth == 0
        head = f"define internal {result} @{name}({', '.join(parameters)}) #0 {{"
        return "\n".join([head, "entry:", *self.allocas, *self.stack[0], *tail, "}"])

    def give_back(self, end: Op) -> None:
        give_back(self, end)

    def block(self, ops: Sequence[Op]) -> None:
        at, done = 0, set[Op]()
        while at < len(ops):
            op = ops[at]
            if op in done:
                pass
            elif op.name == "tt.reduce" and not self.is_lazy(op):
                group, before = self.reductions(ops, at)
                for x in before:
                    self.op(x)
                self.reduce(group)
                done.update(before, group)
            elif op.name == "tt.store":
                group = self.together(ops, at)
                for lazy in ops[at : ops.index(group[-1])]:
                    if lazy.name != "tt.store":
                        self.op(lazy)
                for store in group:
                    self.check(store)
                self.stores(group)
                at = ops.index(group[-1])
            else:
                self.op(op)
            at += 1

    def together(self, ops: Sequence[Op], at: int) -> list[Op]:
        """Stores of one shape and address pattern, with nothing between them that touches memory."""
        first = ops[at]
        group = [first]
        place = self.address(first.operands[0])
        if not first.operands[0].type.shape or place[0] is None:
            return group
        for op in ops[at + 1 :]:
            if op.name == "tt.store":
                p = op.operands[0]
                there = self.address(p)
                if p.type.shape != first.operands[0].type.shape or there[0] is None or there[1] != place[1]:
                    break
                group.append(op)
            elif op.name == "tt.load" or op.regions or not (self.is_lazy(op) or op.name == "arith.constant"):
                break
        return group

    def reductions(self, ops: Sequence[Op], at: int) -> tuple[list[Op], list[Op]]:
        """Reductions of one shape and axis from ops[at] on that don't need each other, and what must come before them."""
        first = ops[at]
        group, before = [first], list[Op]()
        after, between = set(first.results), list[Op]()  # what needs one of their results; what does not
        for op in ops[at + 1 :]:
            reduces = op.name == "tt.reduce" and not self.is_lazy(op)
            if any(x in after for x in op.operands):
                if reduces or op.regions or not (self.is_lazy(op) or is_elementwise(op.name)):
                    break
                after.update(op.results)
            elif reduces:
                operands = sum(len(x.operands) for x in (*group, op))
                same = op.operands[0].type.shape == first.operands[0].type.shape
                if not same or op.number("axis") != first.number("axis") or operands > MOST_SUMS:
                    break
                group.append(op)
                after.update(op.results)
                before = list(between)
            elif self.is_lazy(op) or is_elementwise(op.name) or op.name in ("arith.constant", "tt.load"):
                between.append(op)
            else:
                break
        return group, before

    def leader(self, op: Op) -> Op:
        if op.name in ("tt.store", "tt.reduce") and op not in self.leaders:
            assert op.block is not None
            ops = op.block.ops
            for at, x in enumerate(ops):
                if x in self.leaders:
                    continue
                if x.name == "tt.store":
                    self.leaders.update(dict.fromkeys(self.together(ops, at), x))
                elif x.name == "tt.reduce" and not self.is_lazy(x):
                    self.leaders.update(dict.fromkeys(self.reductions(ops, at)[0], x))
        return self.leaders.get(op, op)

    def check(self, op: Op) -> None:
        """In the modes that ask for it: is each element that the op touches one of its tensor?"""
        if self.guard is not None and op.name in ACCESSES:
            self.guard.check(self, op)

    def op(self, op: Op) -> None:
        if op.name in IGNORED:
            return
        self.check(op)
        handler = HANDLERS.get(op.name)
        if op.name == "tt.load":
            # A load that is checked stays behind its check.
            self.floors[op.results[0]] = self.load_levels[self.depth] if self.guard is None else self.depth
            if op.results[0].type.shape:
                self.loads.append(op)
        if self.is_lazy(op):
            for r in op.results:
                if self.worth_a_buffer(r):
                    self.materialise(r)
        elif handler is not None:
            handler(self, op)
        elif op.results and not op.results[0].type.shape and not op.regions:
            self.scalar(op)
        else:
            raise unsupported(op)

    def scalar(self, op: Op) -> None:
        """An op with a scalar result, computed now."""
        v = op.results[0]
        known = self.facts.static(v)
        if known is not None:
            self.scalars[v] = Res(str(int(known)))
        elif op.name in ("tt.get_program_id", "tt.get_num_programs"):
            name = "pid" if op.name == "tt.get_program_id" else "np"
            self.scalars[v] = Res(f"%{name}{'xyz'.index(op.words()[0])}")
        else:
            self.scalars[v] = self._compute(v, ())

    # ---- ops that rearrange ------------------------------------------------------------------------------------
    def row_major(self, v: Value) -> Buffer:
        """A tensor in scratch in the order of its indices."""
        b = self.materialise(v, len(v.type.shape) - 1) if v not in self.buffers else self.buffers[v]
        steps, size = [0] * len(b.shape), 1
        for d in reversed(range(len(b.shape))):
            steps[d] = size if b.shape[d] > 1 else 0
            size *= b.shape[d]
        if b.strides == tuple(steps):
            return b
        fresh = self.new_buffer(v)
        self.fill(fresh, v, len(v.type.shape) - 1)
        return fresh

    def reshape(self, op: Op) -> None:
        """Axes are merged: the same memory with other strides."""
        b, r = self.row_major(op.operands[0]), op.results[0]
        view = self.strides_of(r.type.shape)
        self.buffers[r] = Buffer(b.ptr, r.type.shape, view, b.elem, b.lvl)

    def strides_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        steps, size = [0] * len(shape), 1
        for d in reversed(range(len(shape))):
            steps[d] = size if shape[d] > 1 else 0
            size *= shape[d]
        return tuple(steps)

    def part(self, whole: Buffer, start: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Buffer:
        at = self.offset(Res(whole.ptr, whole.lvl), whole.elem, start)
        steps = tuple(s if n > 1 else 0 for s, n in zip(strides, shape, strict=True))
        return Buffer(at.v, shape, steps, whole.elem, whole.lvl)

    def join(self, op: Op) -> None:
        r = op.results[0]
        out = self.new_buffer(r)
        shape = op.operands[0].type.shape
        for k, x in enumerate(op.operands):
            steps = tuple(2 * s for s in self.strides_of(shape))
            self.fill(self.part(out, k, shape, steps), x, self.vector_axis(x))
        self.buffers[r] = out

    def cat(self, op: Op) -> None:
        r = op.results[0]
        out = self.new_buffer(r)
        start = 0
        for x in op.operands:
            self.fill(self.part(out, start, x.type.shape, out.strides), x, len(x.type.shape) - 1)
            start += x.type.shape[0] * out.strides[0]
        self.buffers[r] = out

    def gather(self, op: Op) -> None:
        source, index = op.operands
        r, axis = op.results[0], op.number("axis")
        b, out = self.row_major(source), self.new_buffer(r)

        def one(c: Coords) -> None:
            at = (*c[:axis], self.position(index, c), *c[axis + 1 :])
            self.write(out, c, self.read(b, at))

        self.nest(r.type.shape, None, one)
        self.buffers[r] = out

    def position(self, index: Value, c: Coords) -> Coord:
        """An element of an index tensor as an index; it is not negative."""
        i, elem = self.eval(index, c), index.type.elem
        if elem != "i32":
            i = Res(self.let(i.lvl, f"{'trunc' if elem == 'i64' else 'zext'} {elem} {i.v} to i32"), i.lvl)
        return Coord(i.v, i.lvl)

    def histogram(self, op: Op) -> None:
        r, x = op.results[0], op.operands[0]
        mask = op.operands[1] if len(op.operands) > 1 else None
        out = self.new_buffer(r)
        self.nest(r.type.shape, 0, lambda c: self.write(out, c, Res("0")))

        def one(c: Coords) -> None:
            bin = self.position(x, c)

            def count() -> None:
                at = (bin,)
                here = replace(out, lvl=self.depth)
                old = self.read(here, at)
                self.write(here, at, Res(self.let(self.depth, f"add i32 {old.v}, 1"), self.depth))

            self.when(self.eval(mask, c).v if mask else "1", count)

        self.nest(x.type.shape, None, one)
        self.buffers[r] = out

    def unsplat(self, op: Op) -> None:
        x = op.operands[0]
        self.scalars[op.results[0]] = self.eval(x, tuple(ZERO for _ in x.type.shape))


HANDLERS: dict[str, Callable[[Lowering, Op], None]] = {
    "tt.call": call,
    "tt.print": printed, "tt.assert": asserted,
    "scf.for": Lowering.scf_for, "scf.if": Lowering.scf_if, "scf.while": Lowering.scf_while, "tt.dot": Lowering.product,
    "tt.scan": Lowering.scan, "tt.map_elementwise": Lowering.map_packs, "tt.atomic_rmw": Lowering.atomic,
    "tt.atomic_cas": Lowering.atomic, "tt.reshape": Lowering.reshape, "tt.join": Lowering.join, "tt.cat": Lowering.cat,
    "tt.gather": Lowering.gather, "tt.histogram": Lowering.histogram, "tt.unsplat": Lowering.unsplat,
}  # fmt: skip


def workers(arguments: Sequence[Value], guarded: bool = False) -> str:
    """``launch`` and ``chunk``: programs are claimed in runs from the counter in slot 0; if guarded, in a given order."""
    loads, call = [], []
    for k, a in enumerate(arguments):
        t = llvm_type(a.type.elem)
        loads += [f"  %p{k} = getelementptr i64, ptr %r, i64 {5 + k}", f"  %a{k} = load {t}, ptr %p{k}, align 8"]
        call.append(f"{t} %a{k}")
    for d in range(3):
        loads += [f"  %g{d}p = getelementptr i64, ptr %r, i64 {1 + d}", f"  %g{d}l = load i64, ptr %g{d}p"]
        loads += [f"  %g{d} = trunc i64 %g{d}l to i32"]
    call += ["i32 %x", "i32 %y", "i32 %z", "i32 %g0", "i32 %g1", "i32 %g2"]
    turn = "%x64 = urem i64 %i, %g0l\n  %q = udiv i64 %i, %g0l"
    if guarded:
        call.append("ptr %r")
        loads += [f"  %op = getelementptr i64, ptr %r, i64 {slots(len(arguments))[1]}", "  %order = load ptr, ptr %op"]
        turn = "%tp2 = getelementptr i64, ptr %order, i64 %i\n  %turn = load i64, ptr %tp2\n  " + turn.replace(
            "%i,", "%turn,"
        )
    lines = "\n".join(loads)
    return f"""
define void @chunk(ptr %r) #0 {{
entry:
{lines}
  %tp = getelementptr i64, ptr %r, i64 4
  %g01 = mul i64 %g0l, %g1l
  %n = mul i64 %g01, %g2l
  %threads = load i64, ptr %tp
  %runs = mul i64 %threads, {RUNS}
  %some = call i64 @llvm.umax.i64(i64 %runs, i64 1)
  %share = udiv i64 %n, %some
  %single = icmp ule i64 %threads, 1
  %most = select i1 %single, i64 %n, i64 %share
  %run = call i64 @llvm.umax.i64(i64 %most, i64 1)
  br label %next
next:
  %lo = atomicrmw add ptr %r, i64 %run monotonic
  %left = icmp ult i64 %lo, %n
  br i1 %left, label %start, label %done
start:
  %end = add i64 %lo, %run
  %hi = call i64 @llvm.umin.i64(i64 %end, i64 %n)
  br label %work
work:
  %i = phi i64 [ %lo, %start ], [ %more, %work ]
  {turn}
  %y64 = urem i64 %q, %g1l
  %z64 = udiv i64 %q, %g1l
  %x = trunc i64 %x64 to i32
  %y = trunc i64 %y64 to i32
  %z = trunc i64 %z64 to i32
  call void @body({", ".join(call)})
  %more = add i64 %i, 1
  %again = icmp ult i64 %more, %hi
  br i1 %again, label %work, label %next
done:
  ret void
}}
define void @launch(ptr %r) #0 {{
  %p = getelementptr i64, ptr %r, i64 4
  %t = load i64, ptr %p
  %one = icmp ule i64 %t, 1
  br i1 %one, label %alone, label %many
alone:
  call void @chunk(ptr %r)
  ret void
many:
  %t32 = trunc i64 %t to i32
  call void @GOMP_parallel(ptr @chunk, ptr %r, i32 %t32, i32 0)
  ret void
}}
"""


_WORKERS_USE = {  # a kernel may use the same
    "declare i64 @llvm.umax.i64(i64, i64)", "declare i64 @llvm.umin.i64(i64, i64)",
    "declare void @GOMP_parallel(ptr, ptr, i32, i32)",
}  # fmt: skip


def arguments(ttir_text: str) -> list[tuple[str, str]]:
    """(name, type) of the kernel's run-time arguments, in the order of the launch record."""
    return [(a.name[1:], a.type.elem) for a in Parser(ttir_text).function().args]


def lower(
    ttir_text: str, *, lanes: int, name: str = "kernel", features: Collection[str] = (), checks: str = "",
    remarks: Remarks | None = None,
) -> str:  # fmt: skip
    """LLVM IR text of a module that exports ``launch`` and ``chunk``.

    ttir_text   ``str(module)`` (errors then name the kernel's file and line) or ``module.str_nodebug()``
    lanes       f32 in a vector register: 16 for AVX-512, 8 for AVX2, 4 for NEON and SSE
    name        what the module is called, for dumps
    features    the CPU's, by LLVM's names, of those that the lowering knows how to use
    checks      "bounds" or "races": an instrumented mode (``modes.py``)
    remarks       filled with what is decided on the way

    Raises UnsupportedError, which names the op and its source line.
    """
    parser = Parser(ttir_text)
    function = parser.function()
    for each in (function, *parser.callees.values()):
        rewrite_scaled(each)
        rewrite_sums(each)
        rewrite_reshapes(each)
        rewrite_inductions(each)
    lowering = Lowering(lanes)
    lowering.features = features
    lowering.callees = parser.callees
    lowering.remarks = Remarks() if remarks is None else remarks
    lowering.remarks.points_to = PointsTo(function, parser.callees, lowering.remarks.names)
    guard = lowering.guard = Guard(checks, len(function.args)) if checks else None
    body = lowering.function(function, "body")
    bits = 32 * lanes
    parts = [f"; ModuleID = '{name}'"]
    parts += [f"{symbol} = {text}" for text, symbol in lowering.globals.items()]
    parts += [*lowering.functions.values(), body, workers(function.args, guard is not None)]
    parts += sorted(lowering.declarations | _WORKERS_USE)
    if guard is not None:
        parts.append(guard.functions())
    parts.append(f'attributes #0 = {{ nounwind "prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}" }}')
    return "\n".join(parts) + "\n"


__all__ = ["Lowering", "arguments", "lower"]
