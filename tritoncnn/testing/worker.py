"""A forked child that runs a kernel on tensors of the arena: what kills it does not kill the tests.

The child lives on from run to run, so that each kernel is compiled once; after a fault the next run starts another.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import torch

from tritoncnn import cpu
from tritoncnn.errors import BoundsError, InputError, KernelBug, RaceError

from .arena import Arena, Block, describe_fault

Kernel = Callable[..., Any]


class Fault(KernelBug):
    """The kernel's process was ended by an access outside of all tensors: no line of the kernel is known."""


class Worker:
    """Runs ``kernels[i](*tensors, problem)`` in a child, with the CPU backend active."""

    def __init__(self, kernels: Sequence[Kernel], timeout: float = 60.0) -> None:
        self.kernels = tuple(kernels)
        self.timeout = timeout
        self.arena = Arena()
        self._child = 0
        self._pipe: Connection | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self, kernel: int, blocks: Sequence[Block], problem: Any, threads: int, checked: bool = False) -> None:
        """Run one kernel on the blocks' tensors. Raises KernelBug when it faults, raises, hangs or dies; ``checked``, in the
        CPU backend's ``races`` mode, also when programs touch one byte or their order matters.
        """
        if self._pipe is None:
            self._start()
        assert self._pipe is not None
        name = name_of(self.kernels[kernel])
        self._pipe.send((kernel, list(blocks), problem, threads, checked))
        if not self._pipe.poll(self.timeout):
            self.stop()
            raise KernelBug(f"{name} did not end within {self.timeout:g} s")
        try:
            failure = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            raise self._death(name, blocks) from None
        if failure:
            raise KernelBug(f"{name}{failure}")

    def _death(self, name: str, blocks: Sequence[Block]) -> KernelBug:
        status = self._wait()
        fault = self.arena.fault()
        if fault is not None:
            return Fault(f"{name}: {describe_fault(fault, blocks)}")
        if os.WIFSIGNALED(status):
            return KernelBug(f"{name}: its process was ended by {signal.Signals(os.WTERMSIG(status)).name}")
        return KernelBug(f"{name}: its process ended with code {os.WEXITSTATUS(status)}")

    def _start(self) -> None:
        self._pipe, theirs = Pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the child starts no lock that a thread may hold
            self._child = os.fork()
        if self._child == 0:
            self._pipe.close()
            # A thread of its own: the forking thread's OpenMP pool has no threads in the child.
            thread = threading.Thread(target=self._serve, args=(theirs,))
            thread.start()
            thread.join()
            os._exit(0)
        theirs.close()

    def _serve(self, pipe: Connection) -> None:
        try:
            self.arena.close()
            with cpu.active():
                while True:
                    kernel, blocks, problem, threads, checked = pipe.recv()
                    with cpu.races() if checked else contextlib.nullcontext():
                        failure = self._call(self.kernels[kernel], blocks, problem, threads, checked)
                    pipe.send(failure)
        except (EOFError, KeyboardInterrupt):
            os._exit(0)

    def _call(self, kernel: Kernel, blocks: list[Block], problem: Any, threads: int, checked: bool) -> str:
        """What is to be said of a failure, behind the kernel's name; "" for none."""
        torch.set_num_threads(threads)
        self.arena.open(blocks)
        try:
            kernel(*(self.arena.tensor(block) for block in blocks), problem)
        except (BoundsError, RaceError) as error:
            return f": {error}"
        except BaseException as error:
            if checked and isinstance(error, InputError):  # the mode cannot look at it: addresses instead of tensors
                return ""
            return f" raised an error:\n{traceback.format_exc()}"
        finally:
            self.arena.shut(blocks)
        return ""

    def stop(self) -> None:
        """End the child."""
        if self._pipe is not None:
            os.kill(self._child, signal.SIGKILL)
            self._wait()

    def _wait(self) -> int:
        assert self._pipe is not None
        self._pipe.close()
        self._pipe = None
        return os.waitpid(self._child, 0)[1]


def name_of(kernel: Any) -> str:
    """The name a person gave to a callable."""
    return str(getattr(kernel, "__name__", None) or getattr(kernel, "func", kernel).__name__)
