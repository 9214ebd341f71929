"""What kernels say while they run: lines of ``tl.device_print``, and failed ``tl.device_assert``s, raised by the launch.

Native code calls the two functions here, from whichever thread it runs on; ctypes takes the interpreter's lock for it.
"""

from __future__ import annotations

import ctypes
import json
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tritoncnn.errors import BoundsError, KernelError, RaceError

_NUMPY = {
    "i1": "i1",
    "i8": "i1",
    "i16": "i2",
    "i32": "i4",
    "i64": "i8",
    "ptr": "u8",
    "f16": "f2",
    "f32": "f4",
    "f64": "f8",
}
_lock = threading.Lock()
ARGUMENT = "\x02\x03"  # an argument's number stands between these until its name is known
_failed: list[tuple[type[KernelError], str]] = []


def lines(note: Mapping[str, Any], memory: int | None, program: tuple[int, int, int]) -> Iterator[str]:
    """``pid (0, 0, 0) idx (3) x: 1.5``, a line for each element, as Triton prints on GPUs; the prefix brings its blanks."""
    head = f"pid ({', '.join(map(str, program))})"
    if memory is None:
        yield head + note["prefix"]
        return
    elem, shape, strides = note["elem"], tuple(note["shape"]), tuple(note["strides"])
    kind = np.dtype(_NUMPY[elem])
    if elem[0] == "i" and elem != "i1" and not note["signed"]:
        kind = np.dtype(f"u{kind.itemsize}")
    count = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    flat = np.frombuffer(ctypes.string_at(memory, count * kind.itemsize), kind)
    values = np.lib.stride_tricks.as_strided(flat, shape, [s * kind.itemsize for s in strides])
    for place in np.ndindex(*shape):
        index = ", ".join(f"{i:{len(str(n - 1))}}" for i, n in zip(place, shape, strict=True))
        yield f"{head} idx ({index}){note['prefix']}{number(values[place], elem, note['hex'], kind)}"


def number(value: Any, elem: str, as_hex: bool, kind: np.dtype[Any]) -> str:
    """One value; pointers are always in hexadecimal."""
    if as_hex or elem == "ptr":
        return f"0x{int.from_bytes(kind.type(value).tobytes(), 'little'):0{2 * kind.itemsize}x}"
    return f"{float(value):f}" if elem[0] == "f" else str(int(value))


def _print(note: bytes, memory: int | None, x: int, y: int, z: int) -> None:
    sys.stdout.write("".join(line + "\n" for line in lines(json.loads(note), memory, (x, y, z))))


def _assert(note: bytes, x: int, y: int, z: int) -> None:
    said = json.loads(note)
    place, message = said["where"] or "an unknown line", said["text"] or "no message"
    _report(KernelError, f"device_assert failed at {place} in program ({x}, {y}, {z}): {message}")


# ---- what checked kernels say (guards.py) ----------------------------------------------------------------------------
HEADER = 5  # slots of a record before its arguments


def _slots(record: int, count: int) -> Any:
    return (ctypes.c_uint64 * (HEADER + 3 * count)).from_address(record)


def _bounds(sites: bytes, site: int, address: int | None, record: int, x: int, y: int, z: int) -> None:
    """Of several arguments that a pointer may come from, the nearest is named."""
    said = json.loads(sites)
    here, count = said["sites"][site], said["count"]
    slots, at, size = _slots(record, count), address or 0, here["size"]
    found = []
    for k in here["arguments"]:
        base, nbytes = slots[HEADER + k], slots[HEADER + count + k]
        found.append((max(base - at, at - base - nbytes), k, (at - base) // size, nbytes // size))
    _, k, index, last = min(found)
    has = f"elements 0 to {last - 1}" if last else "no elements"
    head = f"{here['op']} out of bounds at {here['where'] or 'an unknown line'} in program ({x}, {y}, {z})"
    _report(BoundsError, f"{head}: index {index} of {ARGUMENT[0]}{k}{ARGUMENT[1]}, which has {has}")


def _race(sites: bytes, site: int, address: int, record: int, slot: int, me: int, theirs: int) -> None:
    said = json.loads(sites)
    count, k = said["count"], slot - HEADER
    here, slots = said["sites"][site], _slots(record, count)
    other, there = (ctypes.c_int32 * 2).from_address(theirs)
    index = (address - slots[slot]) // here["size"]

    def told(program: int, note: Mapping[str, Any]) -> str:
        i, g0, g1 = program - 1, slots[1], slots[2]
        place = f"({i % g0}, {i // g0 % g1}, {i // g0 // g1})"
        return f"program {place} ({note['op']} at {note['where'] or 'an unknown line'})"

    both = f"{told(other, said['sites'][there])} and {told(me, here)}"
    _report(RaceError, f"race: {both} both touch index {index} of {ARGUMENT[0]}{k}{ARGUMENT[1]}")


def _report(kind: type[KernelError], text: str) -> None:
    with _lock:
        _failed.append((kind, text))


_PROGRAM = (ctypes.c_int32,) * 3
_SITE = (ctypes.c_char_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)
_calls = {  # kept for ever: native code holds their addresses
    "tritoncnn_print": ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p, *_PROGRAM)(_print),
    "tritoncnn_assert": ctypes.CFUNCTYPE(None, ctypes.c_char_p, *_PROGRAM)(_assert),
    "tritoncnn_bounds": ctypes.CFUNCTYPE(None, *_SITE, *_PROGRAM)(_bounds),
    "tritoncnn_race": ctypes.CFUNCTYPE(None, *_SITE, ctypes.c_int64, ctypes.c_int32, ctypes.c_void_p)(_race),
}


def symbols() -> Mapping[str, int]:
    """Names that compiled kernels may call."""
    return {name: ctypes.cast(call, ctypes.c_void_p).value or 0 for name, call in _calls.items()}


def raise_failed(name: str, arguments: Sequence[str] = ()) -> None:
    """Raise the error for what failed first since the last call; to be called after a launch.

    arguments   the kernel's run-time arguments, as its source calls them: native code knows their numbers
    """
    if _failed:
        with _lock:
            kind, text = _failed[0]
            _failed.clear()
        before, _, rest = text.partition(ARGUMENT[0])
        number, closed, after = rest.partition(ARGUMENT[1])
        raise kind(f"{name}: {before}{arguments[int(number)] if closed else rest}{after}")
