"""Python's pickles of plain values and byte arrays, read without running anything that they name.

A pickle is a program for a stack machine, which may name any function of any module and call it. Here an operation outside of
``OPCODES`` and a name outside of ``_STAND_INS`` are refused, and what a name stands for is ours: an array of NumPy's becomes a
record of its parts, from which ``as_bytes`` makes an array after it has looked at each.
Source: Python's ``pickletools``, which describes the operations; ``numpy.ndarray.__reduce__`` and ``__setstate__``.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritoncnn.data.files import read_file
from tritoncnn.errors import DataError

OPCODES = frozenset((
    "PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG1", "STRING",
    "BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "EMPTY_LIST", "APPEND",
    "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT", "SETITEM", "SETITEMS", "PUT", "BINPUT",
    "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD",
))  # fmt: skip
STORES = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))


class _Array:
    """An array's state as its pickle has it: (version, shape, dtype, whether columns come first, bytes)."""

    def __init__(self, *words: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _DType:
    def __init__(self, *words: object) -> None:
        self.name = words[0] if words else None

    def __setstate__(self, state: object) -> None:
        """Byte order and the like: nothing of a byte."""


def _encode(text: object, encoding: object) -> bytes:
    """How Python 3 keeps bytes in protocols below 3."""
    if not (isinstance(text, str) and encoding in ("latin1", b"latin1")):
        raise pickle.UnpicklingError(f"bytes must be kept as latin1; got {encoding!r}")
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no data file needs")
        return _STAND_INS[module, name]


def read_pickled(path: Path, most: int) -> dict[str, Any]:
    """The dictionary in a pickle of at most ``most`` bytes, its keys as text, texts of Python 2 as bytes. Raises DataError."""
    data = read_file(path, "", most)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name not in OPCODES:
                raise pickle.UnpicklingError(f"it has the operation {opcode.name}, which no data file needs")
            if opcode.name in STORES and not (isinstance(argument, int) and 0 <= argument < len(data)):
                raise pickle.UnpicklingError(f"it keeps value number {argument}")  # memory is taken for all below
        found = _Unpickler(io.BytesIO(data), encoding="bytes").load()
        if not isinstance(found, dict):
            raise pickle.UnpicklingError(f"wanted a dictionary; got {type(found).__name__}")
        return {key.decode() if isinstance(key, bytes) else str(key): value for key, value in found.items()}
    except Exception as error:  # on malformed pickles the machine raises nearly anything: KeyError, IndexError...
        raise DataError(f"{path} is no data file that can be read: {str(error) or type(error).__name__}") from error


def as_bytes(value: object) -> NDArray[np.uint8] | None:
    """The array of bytes that a pickle's ``value`` is, None where it is none."""
    state = value.state if isinstance(value, _Array) else None
    if not (isinstance(state, tuple) and len(state) == 5):
        return None
    _, shape, dtype, columns_first, data = state
    if not (isinstance(dtype, _DType) and dtype.name in ("u1", b"u1") and isinstance(data, bytes)):
        return None
    if not (isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape)):
        return None
    if math.prod(shape) != len(data):
        return None
    return np.frombuffer(data, np.uint8).reshape(shape, order="F" if columns_first else "C")
