"""The metrics of a run as TensorBoard reads them; written without TensorBoard.

Format: records of a length, its checksum, an Event message of Protocol Buffers, its checksum.
Source: TensorFlow, core/lib/io/record_writer.h, core/util/event.proto, core/framework/summary.proto.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tritoncnn.atomic import write_file
from tritoncnn.errors import SaveError

NAME = "events.out.tfevents.0.tritoncnn"
POLYNOMIAL = 0x82F63B78  # CRC-32C, Castagnoli's, reflected


def _table() -> tuple[int, ...]:
    values = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ POLYNOMIAL if byte & 1 else byte >> 1
        values.append(byte)
    return tuple(values)


TABLE = _table()


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def write_events(run: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Begin the file of a run anew, with the rows of metrics.jsonl so far. Raises SaveError."""
    version = _event(b"\x1a" + _sized(b"brain.Event:2"))
    write_file(run / NAME, b"".join([version, *map(_of_row, rows)]))


def add_event(run: Path, row: Mapping[str, float]) -> None:
    """Append a row: TensorBoard, while it runs, reads on from where it was. Raises SaveError."""
    path = run / NAME
    try:
        with open(path, "ab") as file:
            file.write(_of_row(row))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise SaveError(
            f"{path} could not be written ({error.strerror or error}); the run's checkpoint is intact"
        ) from error


def _of_row(row: Mapping[str, float]) -> bytes:
    values = b"".join(
        b"\x0a" + _sized(b"\x0a" + _sized(name.encode()) + b"\x15" + struct.pack("<f", value))
        for name, value in row.items()
        if name not in ("epoch", "step")
    )
    return _event(b"\x10" + _varint(int(row["step"])) + b"\x2a" + _sized(values))


def _event(fields: bytes) -> bytes:
    """One record: the event with the time of now and these fields."""
    data = b"\x09" + struct.pack("<d", time.time()) + fields
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _sized(data: bytes) -> bytes:
    return _varint(len(data)) + data


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
