"""Memory of the PTX interpreter: tensors that know their bounds, and shared memory that knows who touched it."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tritoncnn.errors import KernelError

Array = NDArray[Any]
POISON = 0xFF  # bytes of shared memory that hold nothing yet: NaN as a float of any width


class PtxFault(KernelError):
    """The kernel did what a GPU would punish, or what the interpreter does not know."""


class GlobalMemory:
    """The tensors of a launch. An access beside all of them is a fault that names the nearest one before it."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        spans = []
        for name, tensor in tensors.items():
            steps = zip(tensor.shape, tensor.stride(), strict=True)
            extent = 1 + sum((size - 1) * stride for size, stride in steps) if tensor.numel() else 0
            nbytes = extent * tensor.element_size()
            raw: Any = (ctypes.c_ubyte * nbytes).from_address(tensor.data_ptr())
            spans.append((tensor.data_ptr(), nbytes, name, np.frombuffer(raw, dtype=np.uint8)))
        spans.sort(key=lambda span: span[:2])
        self.names = [name for _, _, name, _ in spans]
        self.bytes = [data for *_, data in spans]
        self.starts = np.array([start for start, *_ in spans], dtype=np.uint64)
        self.ends = np.array([start + size for start, size, *_ in spans], dtype=np.uint64)

    def _find(self, address: Array, size: int) -> Array:
        index = np.searchsorted(self.starts, address, side="right") - 1
        bad = (index < 0) | (address + np.uint64(size) > self.ends[np.maximum(index, 0)])
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            near = max(int(index[first]), 0)
            place = int(address[first]) - int(self.starts[near])
            raise PtxFault(
                f"{int(bad.sum())} threads out of bounds, the first at byte {place} of {self.names[near]}, "
                f"which has {self.bytes[near].size} bytes"
            )
        return index

    def load(self, address: Array, size: int) -> Array:
        """[threads, size] bytes."""
        out = np.zeros((address.size, size), np.uint8)
        index = self._find(address, size)
        for k in np.unique(index):
            here = index == k
            out[here] = self.bytes[k][(address[here] - self.starts[k]).astype(np.int64)[:, None] + np.arange(size)]
        return out

    def store(self, address: Array, data: Array) -> None:
        size = data.shape[1]
        index = self._find(address, size)
        for k in np.unique(index):
            here = index == k
            self.bytes[k][(address[here] - self.starts[k]).astype(np.int64)[:, None] + np.arange(size)] = data[here]


class SharedMemory:
    """Bytes of one block, poisoned at first. Between two barriers no warp may touch a byte that another one writes.

    An asynchronous copy poisons its target at once and arrives when its group is waited for.
    """

    def __init__(self, size: int, warps: int) -> None:
        self.bytes = np.full(size, POISON, np.uint8)
        self.warp = np.arange(warps * 32) // 32
        self.epoch = 1
        self.writer, self.reader = np.full(size, -1), np.full(size, -1)
        self.write_epoch, self.read_epoch = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self.races: list[str] = []
        self._open: list[tuple[Array, Array]] = []
        self._groups: list[list[tuple[Array, Array]]] = []

    def barrier(self) -> None:
        self.epoch += 1

    def load(self, address: Array, size: int, active: Array) -> Array:
        """[threads, size] bytes; zeros for threads that are not active."""
        threads, places, touched, warps = self._touch(address, size, active)
        if ((self.write_epoch[touched] == self.epoch) & (self.writer[touched] != warps)).any():
            self.races.append("a warp reads what another one wrote since the last barrier")
        both = (self.read_epoch[touched] == self.epoch) & (self.reader[touched] != warps)
        self.reader[touched] = np.where(both, -2, warps)  # -2: several warps
        self.read_epoch[touched] = self.epoch
        out = np.zeros((active.size, size), np.uint8)
        out[threads] = self.bytes[places]
        return out

    def store(self, address: Array, data: Array, active: Array) -> None:
        threads, places, touched, warps = self._touch(address, data.shape[1], active)
        self._write(touched, warps)
        self.bytes[places] = data[threads]

    def copy_later(self, address: Array, data: Array, active: Array) -> None:
        threads, places, touched, warps = self._touch(address, data.shape[1], active)
        self._write(touched, warps)
        self.bytes[places] = POISON
        self._open.append((places, data[threads]))

    def commit(self) -> None:
        self._groups.append(self._open)
        self._open = []

    def wait(self, pending: int) -> None:
        """All but the last ``pending`` groups have arrived."""
        while len(self._groups) > pending:
            for places, data in self._groups.pop(0):
                self.bytes[places] = data

    def _write(self, touched: Array, warps: Array) -> None:
        written = (self.write_epoch[touched] == self.epoch) & (self.writer[touched] != warps)
        read = (self.read_epoch[touched] == self.epoch) & (self.reader[touched] != warps)
        if written.any() or read.any():
            self.races.append(
                f"a warp writes what another one {'wrote' if written.any() else 'read'} since the last barrier"
            )
        self.writer[touched], self.write_epoch[touched] = warps, self.epoch

    def _touch(self, address: Array, size: int, active: Array) -> tuple[Array, Array, Array, Array]:
        """(active threads, their bytes [threads, size], the same in one row, the warp that touches each)."""
        threads = np.flatnonzero(active)
        start = address[threads].astype(np.int64)
        if (start + size > self.bytes.size).any():
            raise PtxFault(f"shared memory of {self.bytes.size} bytes is accessed at byte {int(start.max())}")
        places = start[:, None] + np.arange(size)
        return threads, places, places.ravel(), np.repeat(self.warp[threads], size)
