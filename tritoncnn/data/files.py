"""Files of other people's making, read with care: no waiting on a pipe, no more bytes than there may be."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from tritoncnn.errors import DataError, InputError
from tritoncnn.memory import in_words, memory_left

STREAM_HELPS = ": --stream reads them when they are needed"


def check_memory(needed: int, what: str, advice: str = "") -> None:
    """Raises DataError where ``what`` takes more bytes of memory than are left; ``advice`` then says what helps."""
    if needed > (free := memory_left()):
        raise DataError(f"{what} would need {in_words(needed)} of memory; {in_words(free)} are left{advice}")


def look(path: Path) -> str:
    """``file``, ``folder``, ``none`` where nothing is, or ``other``: a pipe, a device, a socket.

    Raises InputError where even that cannot be told: a name too long, a folder that may not be entered, a zero byte.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "none"
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be used: {reason(error)}") from error
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"


def open_file(path: Path, what: str, kind: type[InputError] = DataError) -> BinaryIO:
    """Open a regular file for reading. Raises ``kind`` in a sentence that begins with ``what`` and the path."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError as error:
        raise kind(f"{what} {path} does not exist".lstrip()) from error
    except (OSError, ValueError) as error:
        raise kind(f"{what} {path} cannot be read: {reason(error)}".lstrip()) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        named = "Is a directory" if stat.S_ISDIR(mode) else "it is a pipe or a device, not a file"
        raise kind(f"{what} {path} cannot be read: {named}".lstrip())
    return os.fdopen(descriptor, "rb")


def read_file(path: Path, what: str, most: int, kind: type[InputError] = DataError) -> bytes:
    """Read a whole regular file of at most ``most`` bytes. Raises ``kind``."""
    with open_file(path, what, kind) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise kind(f"{what} {path} has {in_words(size)}; wanted at most {in_words(most)}".lstrip())
        try:
            return file.read()
        except OSError as error:
            raise kind(f"{what} {path} cannot be read: {reason(error)}".lstrip()) from error


def reason(error: Exception) -> str:
    """What an error of the system says, without its number and path."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
