"""Instrumented modes: ``bounds`` checks every access against its tensor, ``races`` also against the other programs.

A mode is part of what a kernel is compiled with. It holds for the whole process; kernels and plans that were compiled
before keep what they have.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tritoncnn.settings import current

# Triton keeps compiled kernels by device number: ours must be no GPU's, and another one in each mode.
DEVICES = {"": -1, "bounds": -2, "races": -3}
device = DEVICES[""]  # of launches that Triton makes now

_entered: list[str] = []


def checks() -> str:
    """The mode that kernels are compiled in now; "" for none."""
    return _entered[-1] if _entered else "bounds" if current().bounds else ""


def refresh() -> None:
    """Let Triton's launches follow the mode; TRITONCNN_BOUNDS is looked at when the backend is activated."""
    global device
    device = DEVICES[checks()]


@contextmanager
def _mode(name: str) -> Iterator[None]:
    _entered.append(name)
    refresh()
    try:
        yield
    finally:
        _entered.pop()
        refresh()


@contextmanager
def bounds() -> Iterator[None]:
    """Kernels compiled inside raise BoundsError for a load, store or atomic outside of its tensor; masked lanes may be.

    A tensor reaches from its first element to its last one in memory, strides included; the holes of a strided view are
    part of it. TRITONCNN_BOUNDS=1 does this for a whole process. Launches are slow.
    """
    with _mode("bounds"):
        yield


@contextmanager
def races() -> Iterator[None]:
    """Kernels compiled inside check bounds, and raise RaceError when two programs of a launch touch one byte and one of
    them writes it, or when running the programs in another order changes any bit of the result.

    Each launch runs four times, on one thread. Atomics are not taken for races; an order that matters to them is.
    """
    with _mode("races"):
        yield
