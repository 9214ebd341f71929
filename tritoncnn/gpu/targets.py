"""The GPUs that kernels are compiled for, and what their data sheets say.

shared       bytes of shared memory that one block may have
shared_unit  bytes of shared memory of a multiprocessor, ``reserved`` of them taken by each block
multiprocessors, memory (bytes), and
peak         dense 16-bit FLOP/s; ``bandwidth`` bytes/s: of the A100 SXM, H100 SXM, B200, MI250X (one die) and MI300X
"""

from __future__ import annotations

from dataclasses import dataclass

from triton.backends.compiler import GPUTarget

from tritoncnn.errors import InputError
from tritoncnn.kernels.target import Target


@dataclass(frozen=True)
class Gpu:
    name: str
    backend: str
    arch: int | str
    warp: int
    shared: int
    shared_unit: int
    reserved: int
    multiprocessors: int
    memory: int
    peak: float
    bandwidth: float

    @property
    def target(self) -> Target:
        """What launches for it are made for."""
        return Target(self.backend, self.name, self.multiprocessors, self.memory)

    @property
    def triton(self) -> GPUTarget:
        return GPUTarget(self.backend, self.arch, self.warp)


TARGETS = {
    target.name: target
    for target in (
        Gpu("sm_80", "cuda", 80, 32, 166912, 167936, 1024, 108, 80 << 30, 312e12, 2.039e12),
        Gpu("sm_90", "cuda", 90, 32, 232448, 233472, 1024, 132, 80 << 30, 989e12, 3.35e12),
        Gpu("sm_100", "cuda", 100, 32, 232448, 233472, 1024, 148, 180 << 30, 2250e12, 8.0e12),
        Gpu("gfx90a", "hip", "gfx90a", 64, 65536, 65536, 0, 110, 64 << 30, 191e12, 1.6e12),
        Gpu("gfx942", "hip", "gfx942", 64, 65536, 65536, 0, 304, 192 << 30, 1307e12, 5.3e12),
    )
}


def find_target(name: str) -> Gpu:
    if name not in TARGETS:
        raise InputError(f"target must be one of {', '.join(TARGETS)}; got {name}")
    return TARGETS[name]
