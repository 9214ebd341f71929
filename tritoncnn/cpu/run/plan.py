"""Many launches as one native call."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Collection, Sequence

from tritoncnn import forks
from tritoncnn.cpu.sanitize.messages import raise_failed
from tritoncnn.errors import InputError

from . import engine, team
from .launch import ARGUMENTS, THREADS, CheckedKernel, NativeKernel, check_grid
from .team import LINE


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
        self.lock = threading.Lock()
        self._kernels = [kernel for kernel, _, _ in launches]
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
        self._shared = bool(shared)
        self._words(self._plan + LINE, self._plan + head, first, last, len(entries))
        if any(isinstance(kernel, CheckedKernel) for kernel in self._kernels):
            if not all(isinstance(kernel, CheckedKernel) for kernel in self._kernels):
                raise InputError(
                    "NativePlan: all kernels must be compiled in one mode; compile them inside or outside of it"
                )
            self.launch = self._launch_checked  # type: ignore[method-assign]  # plain plans pay nothing for it
        for i, (kernel, start, parallel) in enumerate(entries):
            self._words(self._plan + head + i * LINE, kernel.chunk_address, self._plan + body + start, int(parallel))

    @staticmethod
    def _words(address: int, *words: int) -> None:
        (ctypes.c_uint64 * len(words)).from_address(address)[:] = list(words)

    def __len__(self) -> int:
        return len(self._kernels)

    def run(self, times: int = 1) -> None:
        """All launches, in order, and so ``times`` times over. Other Python threads go on meanwhile; a second call of this plan
        waits."""
        with forks.apart(), self.lock:
            self.launch(times)
        raise_failed("NativePlan")

    def launch(self, times: int) -> None:
        """``run`` for who holds the plan's ``lock``, and calls ``raise_failed`` when it has let go of it."""
        team.run(self._plan, engine.threads(self._threads) if self._shared else 1, times)

    def _launch_checked(self, times: int) -> None:
        """The same, launch by launch: each says by itself what is wrong."""
        for kernel, record in list(zip(self._kernels, self._records, strict=True)) * times:
            (ctypes.c_int64 * 1).from_address(record + 8 * THREADS)[0] = engine.threads(self._threads)
            assert isinstance(kernel, CheckedKernel)
            kernel.run_checked(record)

    def set_pointer(self, launch_index: int, arg_index: int, address: int) -> None:
        """Let an argument of a launch be this address (or number) from the next run on; how far it reaches stays."""
        kernel = self._kernels[launch_index]
        if not 0 <= arg_index < len(kernel.arguments):
            raise InputError(f"{kernel.name}: has arguments 0 to {len(kernel.arguments) - 1}; got {arg_index}")
        data = kernel.pack(arg_index, address)
        with forks.apart(), self.lock:
            ctypes.memmove(self._records[launch_index] + 8 * (ARGUMENTS + arg_index), data, 8)

    def pointer(self, launch_index: int, arg_index: int) -> ctypes.c_uint64:
        """Where an argument that is an address is kept, for who sets many, and holds the plan's ``lock`` until they are read."""
        kernel = self._kernels[launch_index]
        kernel.pack(arg_index, 0)  # is there one, and may it be any address?
        return ctypes.c_uint64.from_address(self._records[launch_index] + 8 * (ARGUMENTS + arg_index))
