"""The text of ``launch`` and ``chunk``: how threads share the programs of a launch."""

from __future__ import annotations

from collections.abc import Sequence

from .front.elements import llvm_type
from .front.ttir import Value
from .sanitize.guards import slots

RUNS = 8  # runs of programs per thread: one atomic operation each


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


USES = {  # a kernel may use the same
    "declare i64 @llvm.umax.i64(i64, i64)", "declare i64 @llvm.umin.i64(i64, i64)",
    "declare void @GOMP_parallel(ptr, ptr, i32, i32)",
}  # fmt: skip
