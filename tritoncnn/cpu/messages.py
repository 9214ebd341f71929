"""What kernels say while they run: lines of ``tl.device_print``, and failed ``tl.device_assert``s, raised by the launch.

Native code calls the two functions here, from whichever thread it runs on; ctypes takes the interpreter's lock for it.
"""

from __future__ import annotations

import ctypes
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tritoncnn.errors import KernelError

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
_failed: list[str] = []


def lines(note: Mapping[str, Any], memory: int | None, program: tuple[int, int, int]) -> Iterator[str]:
    """``pid (0, 0, 0) idx (3) x: 1.5``, a line for each element, as Triton prints on GPUs."""
    head = f"pid ({', '.join(map(str, program))}) "
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
        yield f"{head}idx ({index}) {note['prefix']}{number(values[place], elem, note['hex'], kind)}"


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
    with _lock:
        _failed.append(f"device_assert failed at {place} in program ({x}, {y}, {z}): {message}")


_PROGRAM = (ctypes.c_int32,) * 3
_calls = {  # kept for ever: native code holds their addresses
    "tritoncnn_print": ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p, *_PROGRAM)(_print),
    "tritoncnn_assert": ctypes.CFUNCTYPE(None, ctypes.c_char_p, *_PROGRAM)(_assert),
}


def symbols() -> Mapping[str, int]:
    """Names that compiled kernels may call."""
    return {name: ctypes.cast(call, ctypes.c_void_p).value or 0 for name, call in _calls.items()}


def raise_failed(name: str) -> None:
    """Raise KernelError for the first assertion that failed since the last call; to be called after a launch."""
    if _failed:
        with _lock:
            first = _failed[0]
            _failed.clear()
        raise KernelError(f"{name}: {first}")
