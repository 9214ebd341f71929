"""tritoncnn: a small compiler for convolutional networks on Triton kernels.

Names are imported on first use, so that ``import tritoncnn`` and ``tritoncnn --help`` stay fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tritoncnn.compiler import CompiledModel, CompiledStep, compile, compile_step
    from tritoncnn.optim import SGD, Adam, AdamW

__all__ = ["SGD", "Adam", "AdamW", "CompiledModel", "CompiledStep", "__version__", "compile", "compile_step"]

_HOME = {
    "compile": "tritoncnn.compiler",
    "compile_step": "tritoncnn.compiler",
    "CompiledModel": "tritoncnn.compiler",
    "CompiledStep": "tritoncnn.compiler",
    "SGD": "tritoncnn.optim",
    "Adam": "tritoncnn.optim",
    "AdamW": "tritoncnn.optim",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'tritoncnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
