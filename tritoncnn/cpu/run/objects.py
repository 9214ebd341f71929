"""Object code by the LLVM IR that it is made from.

LLVM, half of the work, does not run again for a kernel that comes anew with the same text: from another version of Triton or of
the lowering, from another specialisation, or from Triton's own launches.
"""

from __future__ import annotations

import functools
import hashlib
from contextlib import suppress
from pathlib import Path

from tritoncnn.errors import KernelError

from . import engine
from .cache import DiskCache
from .launch import EXPORTS


class Objects:
    """Kernels' object code on the disk, beside the entries of those who asked for it."""

    def __init__(self, root: Path) -> None:
        self._disk = DiskCache(root, "objects")

    def find(self, text: str) -> bytes | None:
        """The object code of a kernel's LLVM IR; None: compile it. Raises CacheError for an unsafe folder."""
        entry = self._disk.get(_key(text))
        if entry is None:
            return None
        with suppress(KernelError):  # no object code, with a sum that is right
            engine.load(entry[1], EXPORTS)
            return entry[1]
        return None

    def keep(self, text: str, obj: bytes) -> None:
        self._disk.put(_key(text), {}, obj)


def _key(text: str) -> str:
    """sha256 of all that object code depends on once there is LLVM IR."""
    return hashlib.sha256(f"{engine.host().key} {_options()} {text}".encode()).hexdigest()


@functools.lru_cache
def _options() -> str:
    """sha256 of what says how LLVM is run."""
    return hashlib.sha256(Path(engine.__file__).read_bytes()).hexdigest()
