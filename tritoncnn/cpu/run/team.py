"""Threads that help with plans: a few of our own, which nobody waits for unless they hold work.

One thread leads, the caller: it goes through a plan's launches in order, publishes each parallel one and works on it. Helpers
watch for what is published and claim programs of it. A launch is over when its counter is used up and no helper is inside. So
a helper that sleeps, or that the system has put aside for others, holds nothing up unless it owns a piece of work; the caller
alone does all of it then. Launches of one program are run by the leader with no word to the others.

A helper without work watches for a while, for calls come one after the other, and then sleeps in Python; the next call wakes it,
and does not wait for it. ``OMP_WAIT_POLICY``, which says the same of torch's threads, is honoured: passive ones sleep almost at
once, active ones do not.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
from contextlib import suppress
from typing import Any

from tritoncnn.settings import wait_policy

from . import engine

LINE = 64  # bytes: what two threads write to is kept on different cache lines
SPINS = 2000  # looks at an unchanged word before the processor is offered to others: about 50 us
IDLE = 40 * SPINS  # looks of a helper without work before it sleeps: about 2 ms
_LOOKS = {"passive": 2 * SPINS, "active": 1 << 62}.get(wait_policy(), IDLE)

# %plan, on a line of its own: [8] entries, [9] first parallel launch, [10] one past the last parallel one, [11] number of
# launches. An entry, a line each: [0] chunk, [1] record, [2] 1 if parallel.
# %team, a line each: [0] what is published, the number of the run times 2**32, plus the launch's number from 1 on, 0 for none;
# [8] the plan, [9] how many helpers may come; [16] helpers inside; [24] the number of the last run times 2**32.
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

define internal void @lead(ptr %plan, ptr %team, i64 %threads) {
entry:
  %fp = getelementptr i64, ptr %plan, i64 9
  %from = load i64, ptr %fp
  %lp = getelementptr i64, ptr %plan, i64 10
  %to = load i64, ptr %lp
  %pp = getelementptr i64, ptr %team, i64 8
  store ptr %plan, ptr %pp
  %hp = getelementptr i64, ptr %team, i64 9
  %wanted = sub i64 %threads, 1
  store i64 %wanted, ptr %hp
  %inside = getelementptr i64, ptr %team, i64 16
  %cp = getelementptr i64, ptr %team, i64 24
  %before = load i64, ptr %cp
  %run = add i64 %before, 4294967296
  store i64 %run, ptr %cp
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
  %word = or i64 %run, %j
  store atomic i64 %word, ptr %team release, align 8
  call void @work(ptr %e)
  fence seq_cst                        ; pairs with the fence in @serve: who claimed work before our last claim is seen
  %zero = call i64 @await(ptr %inside, i64 0, i64 0)
  br label %after
after:
  %more = icmp ult i64 %j, %to
  br i1 %more, label %next, label %done
done:
  store atomic i64 %run, ptr %team release, align 8
  fence seq_cst                        ; whoever comes inside from now on sees that it is over
  %gone = call i64 @await(ptr %inside, i64 0, i64 0)
  ret void
}

define void @serve(ptr %team, i64 %me, i64 %looks) {
entry:
  %inside = getelementptr i64, ptr %team, i64 16
  br label %next
next:
  %seen = phi i64 [ 0, %entry ], [ %v, %out ]
  br label %look
look:
  %n = phi i64 [ 0, %next ], [ %m, %idle ]
  %v = load atomic i64, ptr %team acquire, align 8
  %index = and i64 %v, 4294967295
  %none = icmp eq i64 %index, 0
  %same = icmp eq i64 %v, %seen
  %nothing = or i1 %none, %same
  br i1 %nothing, label %wait, label %in
wait:
  PAUSE
  %m = add i64 %n, 1
  %long = icmp uge i64 %m, %looks
  %leave = and i1 %none, %long         ; never while a run goes on
  %over = icmp eq i64 %v, -4294967296
  %end = or i1 %leave, %over
  br i1 %end, label %done, label %turn
turn:
  %part = urem i64 %m, SPINS
  %tired = icmp eq i64 %part, 0
  br i1 %tired, label %offer, label %idle
offer:
  %ignored = call i32 @sched_yield()
  br label %idle
idle:
  br label %look
in:
  %a = atomicrmw add ptr %inside, i64 1 acq_rel, align 8
  fence seq_cst
  %now = load atomic i64, ptr %team acquire, align 8
  %still = icmp eq i64 %now, %v
  br i1 %still, label %asked, label %out
asked:
  %hp = getelementptr i64, ptr %team, i64 9
  %wanted = load i64, ptr %hp
  %mine = icmp ult i64 %me, %wanted
  br i1 %mine, label %join, label %out
join:
  %pp = getelementptr i64, ptr %team, i64 8
  %plan = load ptr, ptr %pp
  %i = sub i64 %index, 1
  %e = call ptr @entry(ptr %plan, i64 %i)
  call void @work(ptr %e)
  br label %out
out:
  %b = atomicrmw sub ptr %inside, i64 1 acq_rel, align 8
  br label %next
done:
  ret void
}

define internal void @run(ptr %plan, ptr %team, i64 %threads) {
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
  call void @lead(ptr %plan, ptr %team, i64 %threads)
  call void @alone(ptr %plan, i64 %to, i64 %n)
  ret void
}

define void @repeat(ptr %plan, ptr %team, i64 %threads, i64 %times) {
entry:
  %any = icmp ugt i64 %times, 0
  br i1 %any, label %next, label %done
next:
  %i = phi i64 [ 0, %entry ], [ %j, %next ]
  call void @run(ptr %plan, ptr %team, i64 %threads)
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %times
  br i1 %more, label %next, label %done
done:
  ret void
}

declare i32 @sched_yield()
"""
_PAUSE = {  # tells the processor that we are only waiting: (instruction, declaration)
    "x86_64": ("call void @llvm.x86.sse2.pause()", "declare void @llvm.x86.sse2.pause()"),
    "aarch64": ("call void @llvm.aarch64.hint(i32 1)", "declare void @llvm.aarch64.hint(i32)"),
}


STOPPED = -1 << 32  # in the place of a team's word


class _Runner:
    """The native code; compiled once a process, in a few milliseconds."""

    def __init__(self) -> None:
        pause, declaration = _PAUSE.get(engine.architecture(), ("", ""))
        text = _TEXT.replace("PAUSE", pause).replace("SPINS", str(SPINS)) + declaration
        self.code = engine.load(engine.compile_text(text), ("repeat", "serve"))
        one, word = ctypes.c_void_p, ctypes.c_int64
        self.repeat: Any = ctypes.CFUNCTYPE(None, one, one, word, word)(self.code.addresses["repeat"])
        self.serve: Any = ctypes.CFUNCTYPE(None, one, word, word)(self.code.addresses["serve"])


_native: _Runner | None = None


def _runner() -> _Runner:
    global _native
    if _native is None:
        with engine.lock:  # two callers make one
            _native = _native or _Runner()
    return _native


class Helper:
    """A thread that helps the leader of a team, or sleeps."""

    def __init__(self, team: Team, place: int) -> None:
        self._team, self._place = team, place  # the team's memory lives as long as the thread
        self._over, self._asleep, self._bell = False, False, threading.Lock()
        self._bell.acquire()
        self._thread = threading.Thread(target=self._work, name=f"tritoncnn helper {place}", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._over:
            self._team.runner.serve(self._team.words, self._place, _LOOKS)
            self._asleep = True
            self._bell.acquire()

    def wake(self) -> None:
        """Only one thread at a time: the leader. Who falls asleep just now sleeps on."""
        if self._asleep:
            self._asleep = False
            self._bell.release()

    def end(self) -> None:
        """Return when the thread has ended; after a second at the latest, where a daemon still leads."""
        self._over = True
        for _ in range(1000):
            ctypes.c_int64.from_address(self._team.words).value = STOPPED  # a leader may have written over it
            with suppress(RuntimeError):  # woken by its leader just now
                self.wake()
            self._thread.join(0.001)
            if not self._thread.is_alive():
                return


class Team:
    """One caller's helpers, as long as its call lasts."""

    def __init__(self) -> None:
        self.runner = _runner()
        self._memory = ctypes.create_string_buffer(5 * LINE)
        base = ctypes.addressof(self._memory)
        self.words = base + -base % LINE
        self._helpers: list[Helper] = []

    def run(self, plan: int, threads: int, times: int) -> None:
        """The plan at this address, by so many threads at most, the caller's among them."""
        helpers = self._helpers
        if len(helpers) < threads - 1:
            with suppress(RuntimeError):  # no thread can be started: then there are fewer
                while len(helpers) < threads - 1:
                    helpers.append(Helper(self, len(helpers)))
                    _helpers.append(helpers[-1])
        for helper in helpers[: threads - 1]:
            helper.wake()
        self.runner.repeat(plan, self.words, threads, times)


_free: list[Team] = []  # the one that worked last comes first
_helpers: list[Helper] = []  # of all teams
_ending = False


def run(plan: int, threads: int, times: int) -> None:
    """Run the plan at this address so many times, with the help of a team that no other caller has now."""
    if threads == 1 or _ending:
        _runner().repeat(plan, None, 1, times)
        return
    try:
        team = _free.pop()
    except IndexError:
        team = Team()
    try:
        team.run(plan, threads, times)
    finally:
        _free.append(team)


@atexit.register
def _end() -> None:
    """Let the helpers go: the code that they run is unloaded when Python ends."""
    global _ending
    _ending = True
    while _helpers:
        _helpers.pop().end()


def _forget() -> None:
    """A forked child has no helpers."""
    _free.clear()
    _helpers.clear()


os.register_at_fork(after_in_child=_forget)
