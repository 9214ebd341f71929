"""The GPUs that kernels are compiled for, and what their data sheets say.

shared       bytes of shared memory that one block may have
shared_unit  bytes of shared memory of a multiprocessor, ``reserved`` of them taken by each block
peak         dense 16-bit FLOP/s; ``bandwidth`` bytes/s: of the A100 SXM, H100 SXM, B200, MI250X (one die) and MI300X
"""

from __future__ import annotations

from dataclasses import dataclass

from triton.backends.compiler import GPUTarget

from tritoncnn.errors import InputError


@dataclass(frozen=True)
class Target:
    name: str
    backend: str
    arch: int | str
    warp: int
    shared: int
    shared_unit: int
    reserved: int
    peak: float
    bandwidth: float

    @property
    def triton(self) -> GPUTarget:
        return GPUTarget(self.backend, self.arch, self.warp)


TARGETS = {
    target.name: target
    for target in (
        Target("sm_80", "cuda", 80, 32, 166912, 167936, 1024, 312e12, 2.039e12),
        Target("sm_90", "cuda", 90, 32, 232448, 233472, 1024, 989e12, 3.35e12),
        Target("sm_100", "cuda", 100, 32, 232448, 233472, 1024, 2250e12, 8.0e12),
        Target("gfx90a", "hip", "gfx90a", 64, 65536, 65536, 0, 191e12, 1.6e12),
        Target("gfx942", "hip", "gfx942", 64, 65536, 65536, 0, 1307e12, 5.3e12),
    )
}


def find_target(name: str) -> Target:
    if name not in TARGETS:
        raise InputError(f"target must be one of {', '.join(TARGETS)}; got {name}")
    return TARGETS[name]
