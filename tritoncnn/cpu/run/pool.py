"""LLVM's work for several kernels, shared by a few processes: they compile while this one makes the next kernel's LLVM IR."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from tritoncnn.errors import KernelError
from tritoncnn.settings import current

from . import engine, worker

MOST = 3  # Triton's front end and our lowering, a third of the work, are done by one process alone
EACH = 4  # kernels per process at least: starting one takes as long as some small kernels
# The parent's path, not what site would make of it; no module of the folder we happen to be in.
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from tritoncnn.cpu.run.worker import main; main()"


def helpers(kernels: int) -> int:
    """How many processes are worth starting for so many kernels: one per core that is left."""
    wanted = current().workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = min(MOST, cores - 1) if wanted is None else wanted
    return max(0, min(most, kernels // EACH))


class _Job:
    def __init__(self, text: str) -> None:
        self.text = text
        self.answer: bytes | KernelError | None = None


class Pool:
    """``with Pool(2) as pool``: ``submit`` texts, then ``finish`` gives their object code in order.

    The processes live as long as the block, however it ends. One that dies is told, and its work is done here.
    """

    def __init__(self, count: int) -> None:
        self._changed = threading.Condition()
        self._waiting: list[_Job] = []
        self._jobs: list[_Job] = []
        self._closed = False
        self._processes = [process for process in (_start() for _ in range(count)) if process is not None]
        self._threads = [threading.Thread(target=self._serve, args=(p,), daemon=True) for p in self._processes]

    def __enter__(self) -> Pool:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for process in self._processes:
            process.kill()
        for process, thread in zip(self._processes, self._threads, strict=True):
            thread.join()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):  # what was not written is lost, as it should be
                    assert pipe is not None
                    pipe.close()
            process.wait()

    def submit(self, text: str) -> None:
        """Have LLVM IR compiled."""
        job = _Job(text)
        with self._changed:
            self._jobs.append(job)
            self._waiting.append(job)
            self._changed.notify_all()

    def finish(self) -> list[bytes]:
        """The object code of every text, in order; this process helps. Raises KernelError for the first that LLVM refuses."""
        while (job := self._help()) is not None:
            try:
                self._settle(job, engine.compile_text(job.text))
            except KernelError as error:
                self._settle(job, error)
        found = []
        for job in self._jobs:
            if isinstance(job.answer, KernelError):
                raise job.answer
            assert job.answer is not None
            found.append(job.answer)
        return found

    def _help(self) -> _Job | None:
        """A job for this process; None when all are done."""
        with self._changed:
            # One that a process has taken comes back if the process dies.
            self._changed.wait_for(lambda: self._waiting or all(job.answer is not None for job in self._jobs))
            return self._take() if self._waiting else None

    def _take(self) -> _Job:
        """The longest text first, so that at the end no process waits long for another one."""
        job = max(self._waiting, key=lambda job: len(job.text))
        self._waiting.remove(job)
        return job

    def _settle(self, job: _Job, answer: bytes | KernelError | None) -> None:
        """Note what came of a job; None: nothing, it waits again."""
        with self._changed:
            job.answer = answer
            if answer is None:
                self._waiting.append(job)
            self._changed.notify_all()

    def _serve(self, process: subprocess.Popen[bytes]) -> None:
        """Hand jobs to one process, one after the other, until the pool closes or the process dies."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                job = self._take()
            answer = _ask(process, job.text)
            self._settle(job, answer)
            if answer is None:
                if not self._closed:
                    code = process.wait()
                    _tell(f"a process that compiles kernels beside this one has ended (code {code})")
                return


def _start() -> subprocess.Popen[bytes] | None:
    room = str(Path(__file__).parents[3])  # site, which might know it by other means, is left out: it takes long
    command = [
        sys.executable,
        "-I",
        "-S",
        *(["-B"] if sys.dont_write_bytecode else []),
        "-c",
        _PROGRAM,
        room,
        *sys.path,
    ]
    try:
        # A session of its own: Ctrl-C is for us, who end it.
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    except OSError as error:
        _tell(f"no process could be started to compile kernels beside this one ({error.strerror or error})")
        return None


def _ask(process: subprocess.Popen[bytes], text: str) -> bytes | KernelError | None:
    """What a process answers; None when it has died."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        worker.write(process.stdin, text.encode())
        answer = worker.read(process.stdout)
    except OSError:
        return None
    if not answer:
        return None
    return answer[1:] if answer[:1] == worker.DONE else KernelError(answer[1:].decode())


def _tell(what: str) -> None:
    warnings.warn(f"{what}; its work is done here. TRITONCNN_WORKERS=0 starts none", RuntimeWarning, stacklevel=2)
