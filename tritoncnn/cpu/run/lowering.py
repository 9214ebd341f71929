"""TTIR -> LLVM IR, and what TRITONCNN_DUMP writes out on the way."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from tritoncnn.cpu.facts.remarks import Remarks
from tritoncnn.cpu.lower import lower
from tritoncnn.errors import KernelError, TritonCNNError
from tritoncnn.settings import current

from . import engine
from .cache import write_text


def to_llvm(name: str, ttir: str, checks: str = "") -> str:
    """TTIR -> LLVM IR; both, and the assembly, are written out when TRITONCNN_DUMP asks for them."""
    text = lower_text(name, ttir, checks)
    makers: dict[str, tuple[str, Callable[[], str]]] = {
        "ttir": ("ttir", lambda: ttir), "llvm": ("ll", lambda: text), "asm": ("s", lambda: engine.assembly(text)),
    }  # fmt: skip
    stem = f"{re.sub(r'[^A-Za-z0-9_]', '_', name)}-{hashlib.sha256(ttir.encode()).hexdigest()[:8]}"
    for word in dumped():
        suffix, make = makers[word]
        write_text(current().cache, "dump", f"{stem}.{suffix}", make())
    return text


def dumped() -> frozenset[str]:
    """Which of our stages TRITONCNN_DUMP asks for."""
    return current().dump & {"ttir", "llvm", "asm"}


def lower_text(name: str, ttir: str, checks: str = "", remarks: Remarks | None = None) -> str:
    """Our lowering, its faults told apart from the caller's; ``remarks`` takes what it decides."""
    try:
        host = engine.host()
        return lower(ttir, lanes=host.lanes, name=name, features=host.of_note, checks=checks, remarks=remarks)
    except TritonCNNError:
        raise
    except Exception as error:
        raise KernelError(f"{name}: a fault in the CPU backend's lowering ({type(error).__name__}: {error})") from error
