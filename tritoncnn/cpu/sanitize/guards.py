"""Checks in front of every load, store and atomic, in the modes of ``modes.py``.

An op is checked where it stands in the program, an element at a time, before any of its code. A program in which a check
fails reports it and ends, and so do the others at their next access. Records of checked kernels go on after the arguments:
bytes of each pointer's tensor, address of its shadow, then a word that says stop, then the order of the programs.
"""

from __future__ import annotations

import json

from tritoncnn.cpu.emit.pull import pull
from tritoncnn.cpu.emit.report import PROGRAM
from tritoncnn.cpu.emit.state import State
from tritoncnn.cpu.emit.values import Coords
from tritoncnn.cpu.front.elements import size_of
from tritoncnn.cpu.front.ttir import Op

HEADER = 5  # slots of a record before its arguments

# A byte's shadow: its writer and two different readers, as program + 1, each with the number of its site.
SHADOW = 24

# inside: is an element in argument k's tensor? A size of -1 is not known. refused: report it if not, end if any program did.
BOUNDS = """
define internal i1 @inside(ptr %record, i64 %k, ptr %p, i64 %size) {
  %at = getelementptr i64, ptr %record, i64 %k
  %base = load i64, ptr %at
  %more = getelementptr i64, ptr %at, i64 COUNT
  %bytes = load i64, ptr %more
  %a = ptrtoint ptr %p to i64
  %far = sub i64 %a, %base
  %after = sub i64 %bytes, %far
  %begins = icmp ult i64 %far, %bytes
  %ends = icmp uge i64 %after, %size
  %within = and i1 %begins, %ends
  %unknown = icmp eq i64 %bytes, -1
  %ok = or i1 %within, %unknown
  ret i1 %ok
}
define internal i1 @refused(ptr %record, i1 %ok, i32 %site, ptr %p, i32 %x, i32 %y, i32 %z) {
  %stop = getelementptr i64, ptr %record, i64 STOP
  br i1 %ok, label %fine, label %wrong
fine:
  %word = load atomic i64, ptr %stop monotonic, align 8
  %end = icmp ne i64 %word, 0
  ret i1 %end
wrong:
  store atomic i64 1, ptr %stop monotonic, align 8
  call void @tritoncnn_bounds(ptr @sites, i32 %site, ptr %p, ptr %record, i32 %x, i32 %y, i32 %z)
  ret i1 true
}
declare void @tritoncnn_bounds(ptr, i32, ptr, ptr, i32, i32, i32)
"""

# touch: note an access of argument k in the shadow of each byte, and report another program's that does not go with it.
RACES = """
define internal void @touch(ptr %record, i64 %k, i1 %real, i1 %write, i32 %site, ptr %p, i64 %size, i32 %x, i32 %y, i32 %z) {
entry:
  %at = getelementptr i64, ptr %record, i64 %k
  %base = load i64, ptr %at
  %sp = getelementptr i64, ptr %at, i64 TWICE
  %shadow = load ptr, ptr %sp
  %a = ptrtoint ptr %p to i64
  %far = sub i64 %a, %base
  %g0p = getelementptr i64, ptr %record, i64 1
  %g0 = load i64, ptr %g0p
  %g1p = getelementptr i64, ptr %record, i64 2
  %g1 = load i64, ptr %g1p
  %x64 = zext i32 %x to i64
  %y64 = zext i32 %y to i64
  %z64 = zext i32 %z to i64
  %planes = mul i64 %z64, %g1
  %rows = add i64 %planes, %y64
  %cells = mul i64 %rows, %g0
  %place = add i64 %cells, %x64
  %place32 = trunc i64 %place to i32
  %me = add i32 %place32, 1
  br i1 %real, label %next, label %done
next:
  %n = phi i64 [ 0, %entry ], [ %m, %again ]
  %byte = add i64 %far, %n
  %offset = mul i64 %byte, SHADOW
  %s = getelementptr i8, ptr %shadow, i64 %offset
  %reader = getelementptr i32, ptr %s, i64 2
  %second = getelementptr i32, ptr %s, i64 4
  %w = load i32, ptr %s
  %clash.w = call i1 @other(i32 %w, i32 %me)
  br i1 %clash.w, label %race, label %unwritten
unwritten:
  br i1 %write, label %writing, label %reading
writing:
  %r = load i32, ptr %reader
  %clash.r = call i1 @other(i32 %r, i32 %me)
  br i1 %clash.r, label %race, label %unread
unread:
  %q = load i32, ptr %second
  %clash.q = call i1 @other(i32 %q, i32 %me)
  br i1 %clash.q, label %race, label %write.it
write.it:
  store i32 %me, ptr %s
  %ws = getelementptr i32, ptr %s, i64 1
  store i32 %site, ptr %ws
  br label %again
reading:
  %last = load i32, ptr %reader
  %known = icmp eq i32 %last, %me
  br i1 %known, label %again, label %read.it
read.it:
  %both = load i64, ptr %reader, align 4
  store i64 %both, ptr %second, align 4
  store i32 %me, ptr %reader
  %rs = getelementptr i32, ptr %s, i64 3
  store i32 %site, ptr %rs
  br label %again
again:
  %m = add i64 %n, 1
  %more = icmp ult i64 %m, %size
  br i1 %more, label %next, label %done
race:
  %theirs = phi ptr [ %s, %next ], [ %reader, %writing ], [ %second, %unread ]
  %stop = getelementptr i64, ptr %record, i64 STOP
  store atomic i64 1, ptr %stop monotonic, align 8
  call void @tritoncnn_race(ptr @sites, i32 %site, ptr %p, ptr %record, i64 %k, i32 %me, ptr %theirs)
  br label %done
done:
  ret void
}
define internal i1 @other(i32 %program, i32 %me) {
  %some = icmp ne i32 %program, 0
  %differs = icmp ne i32 %program, %me
  %clash = and i1 %some, %differs
  ret i1 %clash
}
declare void @tritoncnn_race(ptr, i32, ptr, ptr, i64, i32, ptr)
"""


def slots(count: int) -> tuple[int, int]:
    """Where a record of ``count`` arguments has its word to stop, and the address of its order."""
    stop = HEADER + 3 * count
    return stop, stop + 1


class Guard:
    """The checks of one kernel."""

    def __init__(self, mode: str, count: int) -> None:
        self.mode = mode
        self.count = count  # arguments
        self.sites: list[dict[str, object]] = []

    def check(self, code: State, op: Op) -> None:
        """Emit the check of one op."""
        assert code.remarks.points_to is not None
        p = op.operands[0]
        arguments = code.remarks.points_to.of(p)
        if arguments is None:
            return  # nothing says how far the memory behind a computed address reaches
        row = code.row(op)
        kind, mask = row.access, None
        if row.mask is not None and len(op.operands) > row.mask:
            mask = op.operands[row.mask]
        elem = op.results[0].type.elem if op.results else op.operands[1].type.elem
        size, site = size_of(elem), len(self.sites)
        self.sites.append({"op": kind, "where": op.where, "size": size, "arguments": sorted(arguments)})

        def one(coords: Coords) -> None:
            here = pull(code, p, coords).v
            wanted = pull(code, mask, coords if mask.type.shape else ()).v if mask else "1"
            self.element(code, here, wanted, sorted(arguments), site, size, kind)

        if p.type.shape:
            code.nest(p.type.shape, None, one)
        else:
            one(())

    def element(self, code: State, p: str, wanted: str, arguments: list[int], site: int, size: int, op: str) -> None:
        d = code.depth
        fine = code.let(d, f"xor i1 {wanted}, true")
        for k in arguments:
            inside = code.let(d, f"call i1 @inside(ptr %record, i64 {HEADER + k}, ptr {p}, i64 {size})")
            fine = code.let(d, f"or i1 {fine}, {inside}")
            if self.mode == "races" and op != "atomic":
                real = code.let(d, f"and i1 {wanted}, {inside}")
                place = f"ptr %record, i64 {HEADER + k}, i1 {real}, i1 {int(op == 'store')}, i32 {site}"
                code.emit(f"call void @touch({place}, ptr {p}, i64 {size}, {PROGRAM})")
        end = code.let(d, f"call i1 @refused(ptr %record, i1 {fine}, i32 {site}, ptr {p}, {PROGRAM})")
        self.end_if(code, end)

    def after_call(self, code: State) -> None:
        """A function that was called may have ended early."""
        end = code.let(code.depth, f"call i1 @refused(ptr %record, i1 true, i32 0, ptr null, {PROGRAM})")
        self.end_if(code, end)

    def end_if(self, code: State, condition: str) -> None:
        k = code.fresh("G")[1:]
        code.emit(f"br i1 {condition}, label %{k}e, label %{k}g")
        code.label(f"{k}e")
        code.give_up()
        code.label(f"{k}g")

    def functions(self) -> str:
        """What the checks call, and what they say about each op."""
        data = json.dumps({"count": self.count, "sites": self.sites}).encode()
        body = ", ".join(f"i8 {n}" for n in [*data, 0])
        text = BOUNDS + (RACES if self.mode == "races" else "")
        for word, number in (("COUNT", self.count), ("TWICE", 2 * self.count), ("STOP", slots(self.count)[0])):
            text = text.replace(word, str(number))
        return f"@sites = private constant [{len(data) + 1} x i8] [{body}]\n" + text.replace("SHADOW", str(SHADOW))
