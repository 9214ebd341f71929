"""How much memory there is, as far as the system tells."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path


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
    with contextlib.suppress(OSError, ValueError, KeyError):  # a container's limit (control groups, version 2)
        left.append(left_in_group(Path("/sys/fs/cgroup")))
    with contextlib.suppress(ImportError, OSError, ValueError):  # ulimit -v
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            left.append(max(0, limit - taken))
    return min(left)


def left_in_group(group: Path) -> int:
    """Bytes up to a control group's limit. Files that the system keeps in memory count as free: it lets go of them.

    Raises OSError or KeyError where it tells nothing, ValueError where there is no limit.
    """
    lines = (group / "memory.stat").read_text().splitlines()
    held = {name: int(count) for name, count in (line.split() for line in lines)}
    used = int((group / "memory.current").read_text()) - held["active_file"] - held["inactive_file"]
    return max(0, int((group / "memory.max").read_text()) - used)


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
