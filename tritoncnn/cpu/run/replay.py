"""Launches on named buffers: what is left of a plan when its kernels are compiled. Nothing here loads Triton."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tritoncnn import forks
from tritoncnn.cpu.sanitize.checked import Address
from tritoncnn.cpu.sanitize.messages import raise_failed
from tritoncnn.settings import current

from . import engine
from .cache import DiskCache
from .launch import EXPORTS, CpuKernel, NativeKernel
from .plan import NativePlan
from .team import LINE

if TYPE_CHECKING:
    import torch


class Placed(NamedTuple):
    """One tensor of a launch: which buffer it lies in, which argument of the kernel it is, where it begins in the buffer and
    how many bytes it reaches."""

    buffer: str
    argument: int
    offset: int
    reach: int


class Recorded(NamedTuple):
    """A launch whose arguments are tensors."""

    kernel: NativeKernel
    grid: tuple[int, ...]
    places: tuple[Placed, ...]


class Replay:
    """Launches with their pointers bound. ``buffers`` is memory that stays where it is; that of the names in ``lent`` is lent
    to each ``run``."""

    def __init__(self, launches: Sequence[Recorded], buffers: Mapping[str, torch.Tensor], lent: Sequence[str]) -> None:
        self.launches, self.buffers = tuple(launches), dict(buffers)
        known = {name: tensor.data_ptr() for name, tensor in self.buffers.items()}
        pointers: dict[str, list[tuple[int, Placed]]] = {}
        bound = []
        for index, (kernel, grid, places) in enumerate(self.launches):
            values: list[int] = [0] * len(kernel.arguments)
            for place in places:
                pointers.setdefault(place.buffer, []).append((index, place))
                address = known[place.buffer] + place.offset if place.buffer in known else 0
                values[place.argument] = Address(address, place.reach)
            bound.append((kernel, grid, values))
        self._native = NativePlan(bound)
        self._pointers = {
            name: [(self._native.pointer(index, place.argument), place.offset) for index, place in found]
            for name, found in pointers.items()
        }
        self._lent = [(i, self._pointers[name]) for i, name in enumerate(lent) if name in self._pointers]

    def bind(self, name: str, tensor: torch.Tensor) -> None:
        """Let ``tensor`` be the memory of an input or output from now on; the caller checked its type."""
        self.buffers[name] = tensor
        for pointer, offset in self._pointers.get(name, ()):
            pointer.value = tensor.data_ptr() + offset

    def run(self, tensors: Sequence[torch.Tensor], times: int = 1) -> None:
        """One call on the caller's memory, that of the ``lent`` names, or as many as ``times``. None of it is kept.

        Calls of several threads wait for each other.
        """
        with forks.apart(), self._native.lock:  # from binding to running the memory is this call's
            for i, pointers in self._lent:
                address = tensors[i].data_ptr()
                for pointer, offset in pointers:
                    pointer.value = address + offset
            self._native.launch(times)
        raise_failed("NativePlan")


def aligned_zeros(nbytes: int) -> torch.Tensor:
    """Zeroed bytes whose address is a multiple of a cache line."""
    import torch

    raw = torch.zeros(nbytes + LINE, dtype=torch.uint8, device="cpu")
    start = -raw.data_ptr() % LINE
    return raw[start : start + nbytes]


def code_key() -> str:
    """All that makes object code differ between machines, and between versions of LLVM."""
    return engine.host().key


def object_code(kernel: NativeKernel) -> bytes | None:
    """The code of a compiled kernel as the disk cache has it; None where it has none."""
    request = kernel.request if isinstance(kernel, CpuKernel) else None
    found = DiskCache(current().cache).get(request.key) if request is not None else None
    return None if found is None else found[1]


def load_kernel(
    name: str, arguments: Sequence[tuple[str, str]], divisible: Collection[str], code: bytes
) -> NativeKernel:
    """A kernel of ``object_code``. Raises KernelError for what is none."""
    return NativeKernel(name, arguments, divisible, engine.load(code, EXPORTS))
