"""The machine that launches are made for."""

from __future__ import annotations

from dataclasses import dataclass

from tritoncnn.errors import UnsupportedError

KINDS = ("cpu", "cuda", "hip")


@dataclass(frozen=True)
class Target:
    """What tiles are picked by. Equal targets give equal plans.

    kind          cpu, cuda or hip
    architecture  as its compiler calls it: x86_64, aarch64, sm_90, gfx942
    width         f32 numbers in a vector register of a CPU; multiprocessors of a GPU
    memory        bytes that the device has

    Raises UnsupportedError for another kind.
    """

    kind: str
    architecture: str
    width: int
    memory: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnsupportedError(f"a target must be one of {', '.join(KINDS)}; got {self.kind}")
