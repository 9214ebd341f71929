"""torch.compile on this backend: Inductor writes Triton kernels for CPU tensors, and they are compiled and run here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import triton.backends
from triton.backends.compiler import GPUTarget

from tritoncnn.errors import KernelError

from .backend import Backend
from .driver import CpuDriver, active

NAME = "cpu"  # Inductor's name for the target, and Triton's for the backend that Inductor looks for


class HostBackend(Backend):
    """The same compiler under the name of the target that Inductor asks for."""

    @staticmethod
    def supports_target(target: GPUTarget) -> bool:
        return target.backend == NAME


@contextmanager
def use_for_inductor() -> Iterator[None]:
    """``with cpu.use_for_inductor():`` what ``torch.compile`` compiles inside has its kernels from this backend.

    They keep running after the block; what is compiled later, for other shapes too, is Inductor's C++ again. So the first
    call, and the first backward of a training step, belong inside. Inductor compiles in this process meanwhile.

    Raises KernelError where another Triton backend for CPUs is installed.
    """
    import torch._inductor.config as settings

    backends = triton.backends.backends
    if NAME in backends and backends[NAME].compiler is not HostBackend:
        raise KernelError(f"use_for_inductor: Triton has another backend called {NAME!r}, which Inductor uses already")
    before = backends.get(NAME)
    with active(), settings.patch(cpu_backend="triton", compile_threads=1):
        backends[NAME] = triton.backends.Backend(compiler=HostBackend, driver=CpuDriver)
        try:
            yield
        finally:
            del backends[NAME]
            if before is not None:
                backends[NAME] = before
