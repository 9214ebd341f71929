"""Running checked kernels (``modes.py``): records that know how far tensors reach, and the search for races.

A record goes on after its arguments as ``guards.py`` says. Races: every byte of the launch's tensors has a shadow, in which
each program leaves its number; then the launch is repeated from the same memory in other orders.
"""

from __future__ import annotations

import ctypes
import random
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tritoncnn.errors import InputError, RaceError

from .guards import HEADER, SHADOW, slots
from .messages import raise_failed

NO_LIMIT = -1
ORDERS = 3  # further runs of a launch: backwards, then shuffled
SIZES = {"64": 8, "32": 4, "16": 2}  # bytes of a type, by the number in its name


class Address(int):
    """An address, and how many bytes may be touched from there on; checked kernels take a plain number for unlimited."""

    nbytes: int

    def __new__(cls, address: int, nbytes: int) -> Address:
        self = super().__new__(cls, address)
        self.nbytes = nbytes
        return self


def address_of(tensor: Any) -> Address:
    """From a tensor's first element to its last one in memory. What has no shape is not limited."""
    if not hasattr(tensor, "stride"):
        return Address(tensor.data_ptr(), NO_LIMIT)
    shape, steps = tuple(tensor.shape), tuple(tensor.stride())
    reach = sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
    return Address(tensor.data_ptr(), (1 + reach) * tensor.element_size() if 0 not in shape else 0)


def extension(values: Iterable[Any]) -> bytes:
    """What a record has behind its arguments."""
    limits = [value.nbytes if isinstance(value, Address) else NO_LIMIT for value in values]
    return struct.pack(f"<{2 * len(limits) + 2}q", *limits, *([0] * (len(limits) + 2)))


class Checked:
    """Runs one kernel's records. ``arguments`` are (name, type) of each, ``call`` its ``launch``."""

    def __init__(self, mode: str, name: str, arguments: Sequence[tuple[str, str]], call: Callable[[int], Any]) -> None:
        self.mode = mode
        self.name = name
        self.names = [argument for argument, _ in arguments]
        self.kinds = [kind for _, kind in arguments]
        self.call = call
        self.stop, self.order = slots(len(arguments))

    def run(self, record: int) -> None:
        """Raises BoundsError, RaceError."""
        words = (ctypes.c_int64 * (self.order + 1)).from_address(record)
        programs = words[1] * words[2] * words[3]
        if not programs:
            return
        if self.mode != "races":
            self._run(words, range(programs))
            return
        words[4] = 1
        memory = self._memory(words)
        size = sum(len(block) for _, block in memory)
        try:
            shadows = [np.zeros(len(block) * SHADOW, np.uint8) for _, block in memory]
        except MemoryError as error:
            wanted = f"{SHADOW} bytes for each of the {size} bytes of its tensors"
            raise InputError(f"{self.name}: a race check needs {wanted}; give it smaller ones") from error
        count = len(self.names)
        for k in self._pointers():
            at = words[HEADER + k]
            for (start, block), shadow in zip(memory, shadows, strict=True):
                if start <= at < start + len(block):
                    words[HEADER + 2 * count + k] = shadow.ctypes.data + (at - start) * SHADOW
        before = [block.copy() for _, block in memory]
        self._run(words, range(programs))
        after = [block.copy() for _, block in memory]
        for order in orders(programs):
            for (_, block), shadow, old in zip(memory, shadows, before, strict=True):
                block[:], shadow[:] = old, 0
            self._run(words, order)
            self._compare(words, memory, after)

    def _run(self, words: Any, order: Sequence[int]) -> None:
        table = np.asarray(order, np.int64)
        words[0], words[self.stop], words[self.order] = 0, 0, table.ctypes.data
        self.call(ctypes.addressof(words))
        raise_failed(self.name, self.names)

    def _pointers(self) -> list[int]:
        return [k for k, kind in enumerate(self.kinds) if kind[0] == "*"]

    def _memory(self, words: Any) -> list[tuple[int, np.ndarray]]:
        """(address, bytes) of the launch's memory, tensors that overlap or touch as one."""
        spans = []
        for k in self._pointers():
            start, nbytes = words[HEADER + k], words[HEADER + len(self.names) + k]
            if nbytes == NO_LIMIT:
                raise InputError(f"{self.name}: races are sought in tensors only; {self.names[k]} is a plain address")
            spans.append((start, start + nbytes))
        joined: list[tuple[int, int]] = []
        for start, end in sorted(spans):
            if joined and start <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(end, joined[-1][1])
            else:
                joined.append((start, end))
        return [(s, np.ctypeslib.as_array((ctypes.c_uint8 * (e - s)).from_address(s))) for s, e in joined if e > s]

    def _compare(self, words: Any, memory: list[tuple[int, np.ndarray]], wanted: list[np.ndarray]) -> None:
        """Raises RaceError, with the first run's results in memory, for the first byte that another order changed."""
        for (start, block), old in zip(memory, wanted, strict=True):
            changed = np.flatnonzero(block != old)
            if not len(changed):
                continue
            at = start + int(changed[0])
            count = len(self.names)
            k = next(k for k in self._pointers() if 0 <= at - words[HEADER + k] < words[HEADER + count + k])
            size = next((n for digits, n in SIZES.items() if digits in self.kinds[k]), 1)
            for (_, memory_now), bits in zip(memory, wanted, strict=True):
                memory_now[:] = bits
            raise RaceError(
                f"{self.name}: the order of the programs changes the result, first at index "
                f"{(at - words[HEADER + k]) // size} of {self.names[k]}; no program may need what another one does"
            )


def orders(programs: int) -> list[Sequence[int]]:
    """Other orders than the usual one."""
    if programs == 1:
        return []
    shuffle = random.Random(programs)
    backwards = range(programs - 1, -1, -1)
    return [backwards, *(shuffle.sample(range(programs), programs) for _ in range(ORDERS - 1))]
