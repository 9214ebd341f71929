"""tritoncnn: a small compiler for convolutional networks on Triton kernels.

Names are imported on first use, so that ``import tritoncnn`` and ``tritoncnn --help`` stay fast.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "compile": "tritoncnn.compile",
    "compile_step": "tritoncnn.compile",
    "SGD": "tritoncnn.compile",
    "AdamW": "tritoncnn.compile",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'tritoncnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
