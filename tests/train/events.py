"""A reader of TensorBoard's files, for what the project writes into them: checks every checksum."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from tritoncnn.train.events import crc32c


def read_events(path: Path) -> list[tuple[int, dict[str, float]]]:
    """(step, values by tag) of every event but the first, which tells the version."""
    data, events = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        event = data[12 : 12 + length]
        assert (_masked(data[:8]), _masked(event)) == struct.unpack("<II", data[8:12] + data[12 + length : 16 + length])
        events.append(_fields(event))
        data = data[16 + length :]
    assert events[0][3] == [b"brain.Event:2"]
    assert all(1.7e9 < struct.unpack("<d", event[1][0])[0] < 1e10 for event in events)
    found = []
    for event in events[1:]:
        values = [_fields(value) for value in _fields(event[5][0])[1]]
        tags = {value[1][0].decode(): struct.unpack("<f", value[2][0])[0] for value in values}
        found.append((event[2][0], tags))
    return found


def _masked(data: bytes) -> int:
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _fields(data: bytes) -> dict[int, list[Any]]:
    """The fields of a message by number: whole numbers, or bytes of what has a length or a fixed size."""
    found: dict[int, list[Any]] = {}
    while data:
        key, data = _varint(data)
        kind = key & 7
        if kind == 0:
            value, data = _varint(data)
        else:
            size, data = _varint(data) if kind == 2 else ({1: 8, 5: 4}[kind], data)
            value, data = data[:size], data[size:]
        found.setdefault(key >> 3, []).append(value)
    return found


def _varint(data: bytes) -> tuple[int, bytes]:
    value = shift = 0
    for place, byte in enumerate(data):
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, data[place + 1 :]
    raise AssertionError("a number that does not end")
