"""Files of other people's making, read with care: no waiting on a pipe, no more bytes than there may be."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from tritoncnn.errors import DataError, InputError


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


def in_words(count: int) -> str:
    """Bytes for people: 1.5 GB."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def memory_left() -> int:
    """Bytes of memory that this process may still take, as far as the system tells; else a very large number."""
    left = [1 << 62]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        left.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]))
    with contextlib.suppress(OSError, ValueError):  # a container's limit (control groups, version 2)
        group = Path("/sys/fs/cgroup")
        used = int((group / "memory.current").read_text())
        left.append(max(0, int((group / "memory.max").read_text()) - used))
    with contextlib.suppress(ImportError, OSError, ValueError):  # ulimit -v
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            left.append(max(0, limit - taken))
    return min(left)


def peak_memory() -> int:
    """The most bytes of memory that this process has had at once, as far as the system tells.

    Linux tells it of the program; ``getrusage``, elsewhere, also of what the process was before it became this program.
    """
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
