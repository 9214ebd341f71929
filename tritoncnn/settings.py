"""Every switch of the project. Nothing else reads ``os.environ``.

``current()`` reads the environment once per call (cheap); ``SWITCHES`` is what ``tritoncnn doctor`` prints.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tritoncnn.errors import InputError

MOST_WORKERS = 64
DUMPS = ("passes", "plan", "ttir", "llvm", "asm")
SWITCHES = {
    "TRITONCNN_DUMP": f"comma list of {', '.join(DUMPS)}: write each to <cache>/dump as it is made",
    "TRITONCNN_VERIFY": "1: verify the graph after every pass",
    "TRITONCNN_REFERENCE": "1: run every op's torch reference instead of its kernel (slow, for finding faults)",
    "TRITONCNN_CACHE": "folder for compiled kernels and models (default: $XDG_CACHE_HOME/tritoncnn or ~/.cache/tritoncnn)",
    "TRITONCNN_BOUNDS": "1: kernels on the CPU check every load and store against its tensor (slow, for finding faults)",
    "TRITONCNN_WORKERS": "processes that compile kernels beside this one (default: one per other core, at most 3; 0: none)",
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
    workers: int | None


def _cache_folder() -> Path:
    if named := os.environ.get("TRITONCNN_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tritoncnn"


def _words(name: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in os.environ.get(name, "").split(",") if word.strip())


def _flag(name: str) -> bool:
    value = os.environ.get(name, "")
    if value not in ("", "0", "1"):
        raise InputError(f"{name} must be 1, or 0 or unset; got {value!r}")
    return value == "1"


def _count(name: str) -> int | None:
    value = os.environ.get(name, "")
    if value and not (value.isascii() and value.isdigit() and int(value) <= MOST_WORKERS):
        raise InputError(f"{name} must be a whole number from 0 to {MOST_WORKERS}, or unset; got {value!r}")
    return int(value) if value else None


def _dumps() -> frozenset[str]:
    words = _words("TRITONCNN_DUMP")
    if unknown := [word for word in words if word not in DUMPS]:
        raise InputError(f"TRITONCNN_DUMP must be a comma list of {', '.join(DUMPS)}; got {unknown[0]!r}")
    return frozenset(words)


def current() -> Settings:
    """The switches as the environment has them now. Raises InputError for a value that means nothing."""
    return Settings(
        dump=_dumps(),
        verify=_flag("TRITONCNN_VERIFY"),
        reference=_flag("TRITONCNN_REFERENCE"),
        cache=_cache_folder(),
        bounds=_flag("TRITONCNN_BOUNDS"),
        cpu=_words("TRITONCNN_CPU"),
        workers=_count("TRITONCNN_WORKERS"),
    )


def wait_policy() -> str:
    """OpenMP's word for what threads without work do: active, passive, or another, which OpenMP leaves to the program."""
    return os.environ.get("OMP_WAIT_POLICY", "").strip().lower()


def for_a_command() -> dict[str, str]:
    """The environment of a process that runs ``python -m tritoncnn``: it finds this very package, installed or not."""
    home, before = str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": home if not before else os.pathsep.join([home, before])}
