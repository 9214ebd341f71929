"""The process at the other end of a ``Pool``: LLVM IR comes in by standard input, object code goes out by standard output.

It imports neither torch nor Triton, and ends when its input does: also when the process that started it is killed.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import IO

LENGTH = struct.Struct("<Q")
DONE, REFUSED = b"+", b"-"  # before object code, before the words of a KernelError


def read(stream: IO[bytes]) -> bytes | None:
    """One message; None when the stream has ended."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    data = stream.read(size)
    return data if len(data) == size else None


def write(stream: IO[bytes], data: bytes) -> None:
    stream.write(LENGTH.pack(len(data)) + data)
    stream.flush()


def main() -> None:
    from tritoncnn.cpu.run import engine
    from tritoncnn.errors import KernelError

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes elsewhere
    while (text := read(sys.stdin.buffer)) is not None:
        try:
            answer = DONE + engine.compile_text(text.decode())
        except KernelError as error:
            answer = REFUSED + str(error).encode()
        write(answers, answer)
