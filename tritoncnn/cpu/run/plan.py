"""Many launches as one native call.

One thread leads: it goes through the launches in order, publishes each parallel one and works on it. The others, woken
once a run, watch for what is published and claim programs of it. A launch is over when its counter is used up and no
thread is inside; so a thread that the system has put to sleep holds nothing up unless it owns a piece of work, where a
barrier would wait for it at every launch. Launches of one program are run by the leader with no word to the others.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Collection, Sequence
from typing import Any

from tritoncnn.cpu.sanitize.messages import raise_failed
from tritoncnn.errors import InputError

from . import engine
from .launch import ARGUMENTS, THREADS, CheckedKernel, NativeKernel, check_grid

LINE = 64  # bytes: what two threads write to is kept on different cache lines
SPINS = 2000  # looks at an unchanged word before the processor is offered to others: about 50 us

# %plan: [0] published launch, on a line of its own; then [8] entries, [9] first parallel launch, [10] one past the last
# parallel one, [11] number of launches, [12] threads. An entry, a line each: [0] chunk, [1] record, [2] 1 if parallel,
# [3] threads inside.
_TEXT = """
define internal ptr @entry(ptr %plan, i64 %i) alwaysinline {
  %p = getelementptr i64, ptr %plan, i64 8
  %all = load ptr, ptr %p
  %at = mul i64 %i, 8
  %e = getelementptr i64, ptr %all, i64 %at
  ret ptr %e
}

define internal void @work(ptr %e) alwaysinline {
  %chunk = load ptr, ptr %e
  %rp = getelementptr i64, ptr %e, i64 1
  %record = load ptr, ptr %rp
  call void %chunk(ptr %record)
  ret void
}

define internal void @reset(ptr %e, i64 %threads) alwaysinline {
  %rp = getelementptr i64, ptr %e, i64 1
  %record = load ptr, ptr %rp
  store i64 0, ptr %record
  %tp = getelementptr i64, ptr %record, i64 4
  store i64 %threads, ptr %tp
  ret void
}

define internal void @alone(ptr %plan, i64 %from, i64 %to) {
entry:
  %any = icmp ult i64 %from, %to
  br i1 %any, label %next, label %done
next:
  %i = phi i64 [ %from, %entry ], [ %j, %next ]
  %e = call ptr @entry(ptr %plan, i64 %i)
  call void @reset(ptr %e, i64 1)
  call void @work(ptr %e)
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %to
  br i1 %more, label %next, label %done
done:
  ret void
}

; Return when *%word is at least %low and at most %high; the value seen.
define internal i64 @await(ptr %word, i64 %low, i64 %high) {
entry:
  br label %look
look:
  %n = phi i64 [ 0, %entry ], [ %m, %again ], [ 0, %offer ]
  %v = load atomic i64, ptr %word acquire, align 8
  %l = icmp uge i64 %v, %low
  %h = icmp ule i64 %v, %high
  %ok = and i1 %l, %h
  br i1 %ok, label %seen, label %wait
wait:
  PAUSE
  %m = add i64 %n, 1
  %tired = icmp uge i64 %m, SPINS
  br i1 %tired, label %offer, label %again
again:
  br label %look
offer:
  %ignored = call i32 @sched_yield()
  br label %look
seen:
  ret i64 %v
}

define internal void @lead(ptr %plan) {
entry:
  %fp = getelementptr i64, ptr %plan, i64 9
  %from = load i64, ptr %fp
  %lp = getelementptr i64, ptr %plan, i64 10
  %to = load i64, ptr %lp
  %tp = getelementptr i64, ptr %plan, i64 12
  %threads = load i64, ptr %tp
  br label %next
next:
  %i = phi i64 [ %from, %entry ], [ %j, %after ]
  %j = add i64 %i, 1
  %e = call ptr @entry(ptr %plan, i64 %i)
  %kp = getelementptr i64, ptr %e, i64 2
  %parallel = load i64, ptr %kp
  %shared = icmp ne i64 %parallel, 0
  br i1 %shared, label %publish, label %private
private:
  call void @reset(ptr %e, i64 1)
  call void @work(ptr %e)
  br label %after
publish:
  call void @reset(ptr %e, i64 %threads)
  store atomic i64 %j, ptr %plan release, align 8
  call void @work(ptr %e)
  fence seq_cst                        ; pairs with the fence in @help: who claimed work before our last claim is seen
  %inside = getelementptr i64, ptr %e, i64 3
  %zero = call i64 @await(ptr %inside, i64 0, i64 0)
  br label %after
after:
  %more = icmp ult i64 %j, %to
  br i1 %more, label %next, label %done
done:
  store atomic i64 -1, ptr %plan release, align 8
  ret void
}

define internal void @help(ptr %plan) {
entry:
  br label %next
next:
  %seen = phi i64 [ 0, %entry ], [ %j, %in ]
  %low = add i64 %seen, 1
  %j = call i64 @await(ptr %plan, i64 %low, i64 -1)
  %over = icmp eq i64 %j, -1
  br i1 %over, label %done, label %in
in:
  %i = sub i64 %j, 1
  %e = call ptr @entry(ptr %plan, i64 %i)
  %inside = getelementptr i64, ptr %e, i64 3
  %n = atomicrmw add ptr %inside, i64 1 acq_rel, align 8
  fence seq_cst
  call void @work(ptr %e)
  %m = atomicrmw sub ptr %inside, i64 1 acq_rel, align 8
  br label %next
done:
  ret void
}

define void @team(ptr %plan) {
  %me = call i32 @omp_get_thread_num()
  %leader = icmp eq i32 %me, 0
  br i1 %leader, label %first, label %other
first:
  call void @lead(ptr %plan)
  ret void
other:
  call void @help(ptr %plan)
  ret void
}

define void @run(ptr %plan, i64 %threads) {
  %np = getelementptr i64, ptr %plan, i64 11
  %n = load i64, ptr %np
  %fp = getelementptr i64, ptr %plan, i64 9
  %from = load i64, ptr %fp
  %lp = getelementptr i64, ptr %plan, i64 10
  %to = load i64, ptr %lp
  %several = icmp ugt i64 %threads, 1
  %any = icmp ult i64 %from, %to
  %shared = and i1 %several, %any
  br i1 %shared, label %together, label %single
single:
  call void @alone(ptr %plan, i64 0, i64 %n)
  ret void
together:
  call void @alone(ptr %plan, i64 0, i64 %from)
  %tp = getelementptr i64, ptr %plan, i64 12
  store i64 %threads, ptr %tp
  store atomic i64 0, ptr %plan monotonic, align 8
  %t32 = trunc i64 %threads to i32
  call void @GOMP_parallel(ptr @team, ptr %plan, i32 %t32, i32 0)
  call void @alone(ptr %plan, i64 %to, i64 %n)
  ret void
}

define void @repeat(ptr %plan, i64 %threads, i64 %times) {
entry:
  %any = icmp ugt i64 %times, 0
  br i1 %any, label %next, label %done
next:
  %i = phi i64 [ 0, %entry ], [ %j, %next ]
  call void @run(ptr %plan, i64 %threads)
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %times
  br i1 %more, label %next, label %done
done:
  ret void
}

declare i32 @sched_yield()
declare i32 @omp_get_thread_num()
declare void @GOMP_parallel(ptr, ptr, i32, i32)
"""
_PAUSE = {  # tells the processor that we are only waiting: (instruction, declaration)
    "x86_64": ("call void @llvm.x86.sse2.pause()", "declare void @llvm.x86.sse2.pause()"),
    "aarch64": ("call void @llvm.aarch64.hint(i32 1)", "declare void @llvm.aarch64.hint(i32)"),
}


@functools.lru_cache
def _runner() -> tuple[Any, Any]:
    """(the code, its ``repeat(plan, threads, times)``); compiled once a process, in a few milliseconds."""
    pause, declaration = _PAUSE.get(engine.architecture(), ("", ""))
    text = _TEXT.replace("PAUSE", pause).replace("SPINS", str(SPINS)) + declaration
    code = engine.load(engine.compile_text(text), ("repeat",))
    return code, ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(code.addresses["repeat"])


class NativePlan:
    """Launches bound to their arguments, run in order by one native call; each sees the results of those before it.

    launches   (kernel, grid, values) each; pointers are addresses. The caller keeps their memory alive.
    serial     indices of launches to run on one thread although they have several programs: cheap ones
    threads    None: torch's setting at the time of each run

    Raises the errors of ``NativeKernel.record``.
    """

    def __init__(
        self,
        launches: Sequence[tuple[NativeKernel, Sequence[int], Sequence[int | float | bool]]],
        *,
        serial: Collection[int] = (),
        threads: int | None = None,
    ) -> None:
        if threads is not None and threads < 1:
            raise InputError(f"NativePlan: threads must be at least 1; got {threads}")
        self._threads = threads
        self._lock = threading.Lock()
        self._kernels = [kernel for kernel, _, _ in launches]
        self._code, self._run = _runner()
        records, starts, entries = bytearray(), [], []
        for index, (kernel, grid, values) in enumerate(launches):
            g0, g1, g2 = check_grid(kernel.name, grid)
            starts.append(len(records))
            data = bytes(kernel.record(grid, values, 1))
            records += data + bytes(-len(data) % LINE)
            if g0 * g1 * g2:
                entries.append((kernel, starts[-1], g0 * g1 * g2 > 1 and index not in serial))
        head = 2 * LINE
        body = head + len(entries) * LINE
        self._memory = ctypes.create_string_buffer(body + len(records) + LINE)
        base = ctypes.addressof(self._memory)
        self._plan = base + -base % LINE
        self._records = [self._plan + body + start for start in starts]
        ctypes.memmove(self._plan + body, bytes(records), len(records))
        shared = [i for i, (_, _, parallel) in enumerate(entries) if parallel]
        first, last = (shared[0], shared[-1] + 1) if shared else (0, 0)
        self._words(self._plan + LINE, self._plan + head, first, last, len(entries))
        if any(isinstance(kernel, CheckedKernel) for kernel in self._kernels):
            if not all(isinstance(kernel, CheckedKernel) for kernel in self._kernels):
                raise InputError(
                    "NativePlan: all kernels must be compiled in one mode; compile them inside or outside of it"
                )
            self.run = self._run_checked  # type: ignore[method-assign]  # plain plans pay nothing for it
        for i, (kernel, start, parallel) in enumerate(entries):
            self._words(self._plan + head + i * LINE, kernel.chunk_address, self._plan + body + start, int(parallel))

    @staticmethod
    def _words(address: int, *words: int) -> None:
        (ctypes.c_uint64 * len(words)).from_address(address)[:] = list(words)

    def __len__(self) -> int:
        return len(self._kernels)

    def _run_checked(self, times: int = 1) -> None:
        """The same, launch by launch: each says by itself what is wrong."""
        with self._lock:
            for kernel, record in list(zip(self._kernels, self._records, strict=True)) * times:
                (ctypes.c_int64 * 1).from_address(record + 8 * THREADS)[0] = engine.threads(self._threads)
                assert isinstance(kernel, CheckedKernel)
                kernel.run_checked(record)

    def run(self, times: int = 1) -> None:
        """All launches, in order, and so ``times`` times over. Other Python threads go on meanwhile; a second call of this plan
        waits."""
        with self._lock:
            self._run(self._plan, engine.threads(self._threads), times)
        raise_failed("NativePlan")

    def set_pointer(self, launch_index: int, arg_index: int, address: int) -> None:
        """Let an argument of a launch be this address (or number) from the next run on; how far it reaches stays."""
        kernel = self._kernels[launch_index]
        if not 0 <= arg_index < len(kernel.arguments):
            raise InputError(f"{kernel.name}: has arguments 0 to {len(kernel.arguments) - 1}; got {arg_index}")
        data = kernel.pack(arg_index, address)
        with self._lock:
            ctypes.memmove(self._records[launch_index] + 8 * (ARGUMENTS + arg_index), data, 8)

    def pointer(self, launch_index: int, arg_index: int) -> ctypes.c_uint64:
        """Where an argument that is an address is kept, for who sets many: a caller that runs the plan elsewhere waits."""
        kernel = self._kernels[launch_index]
        kernel.pack(arg_index, 0)  # is there one, and may it be any address?
        return ctypes.c_uint64.from_address(self._records[launch_index] + 8 * (ARGUMENTS + arg_index))
