"""Every switch of the project. Nothing else reads ``os.environ``.

``current()`` reads the environment once per call (cheap); ``SWITCHES`` is what ``tritoncnn doctor`` prints.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

SWITCHES = {
    "TRITONCNN_DUMP": "comma list of passes, plan, ttir, llvm, asm: write each to <cache>/dump as it is made",
    "TRITONCNN_VERIFY": "1: verify the graph after every pass",
    "TRITONCNN_REFERENCE": "1: run every op's torch reference instead of its kernel (slow, for finding faults)",
    "TRITONCNN_CACHE": "folder for compiled kernels (default: $XDG_CACHE_HOME/tritoncnn or ~/.cache/tritoncnn)",
    "TRITONCNN_BOUNDS": "1: kernels on the CPU check every load and store against its tensor (slow, for finding faults)",
    "TRITONCNN_CPU": "comma list of LLVM CPU features to switch off, such as -avx512f (default: all the CPU has)",
}


@dataclass(frozen=True)
class Settings:
    """One reading of the environment."""

    dump: frozenset[str]
    verify: bool
    reference: bool
    cache: Path
    bounds: bool
    cpu: tuple[str, ...]


def _cache_folder() -> Path:
    if named := os.environ.get("TRITONCNN_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tritoncnn"


def _words(name: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in os.environ.get(name, "").split(",") if word.strip())


def current() -> Settings:
    """The switches as the environment has them now."""
    return Settings(
        dump=frozenset(_words("TRITONCNN_DUMP")),
        verify=os.environ.get("TRITONCNN_VERIFY", "") == "1",
        reference=os.environ.get("TRITONCNN_REFERENCE", "") == "1",
        cache=_cache_folder(),
        bounds=os.environ.get("TRITONCNN_BOUNDS", "") == "1",
        cpu=_words("TRITONCNN_CPU"),
    )
