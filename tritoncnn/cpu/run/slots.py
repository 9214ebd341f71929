"""Types of run-time arguments, and how each lies in its 8-byte slot of a launch record."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

# How a scalar lies in its 8-byte slot, low bytes first; struct has no letter for bf16.
TYPES = {
    "i1": "?7x", "u1": "?7x", "i8": "b7x", "u8": "B7x", "i16": "h6x", "u16": "H6x", "i32": "i4x", "u32": "I4x", "i64": "q",
    "u64": "Q", "fp16": "e6x", "bf16": "", "fp32": "f4x", "fp64": "d",
}  # fmt: skip
FP8_TYPES = {"fp8e4nv", "fp8e5", "fp8e4b8", "fp8e5b16"}  # behind pointers only


def bf16_bytes(value: float) -> bytes:
    """Rounded to nearest even."""
    bits = struct.unpack("<I", struct.pack("<f", value))[0]
    if value == value:
        bits += 0x7FFF + (bits >> 16 & 1)
    return struct.pack("<H6x", bits >> 16 & 0xFFFF)


def is_known(kind: str) -> bool:
    """May an argument have this type?"""
    return kind in TYPES or pointee(kind) in TYPES or pointee(kind) in FP8_TYPES


def pointee(kind: str) -> str:
    """What a pointer type points at: ``*fp32``, or ``*kfp32`` where the kernel declares ``tl.const``. "" for a number."""
    return kind[1:].removeprefix("k") if kind[:1] == "*" else ""


def slot_format(kind: str) -> str:
    """How ``struct`` writes a slot; bf16 goes in as bytes."""
    return "Q" if kind[0] == "*" else "8s" if kind == "bf16" else TYPES[kind]


def slot_packer(kind: str) -> Callable[[Any], bytes]:
    """value -> 8 bytes, for one argument type."""
    if kind == "bf16":
        return bf16_bytes
    return struct.Struct("<" + slot_format(kind)).pack
