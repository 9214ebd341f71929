"""tritoncnn: a small compiler for convolutional networks on Triton kernels.

Names are imported on first use, so that ``import tritoncnn`` and ``tritoncnn --help`` stay fast. This file imports nothing
itself: Ctrl-C meanwhile would be a traceback, for the command line is not there yet that tells it in a line (``__main__.py``).
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # what tools of types take for true, as typing's own
if TYPE_CHECKING:
    from typing import Any

    from tritoncnn.compiler import (
        CompiledGradient,
        CompiledModel,
        CompiledStep,
        Update,
        compile,
        compile_grad,
        compile_step,
        load,
    )
    from tritoncnn.optim import LBFGS, SGD, Adam, AdamW, RMSprop

__all__ = [
    "LBFGS", "SGD", "Adam", "AdamW", "CompiledGradient", "CompiledModel", "CompiledStep", "RMSprop", "Update", "__version__",
    "compile", "compile_grad", "compile_step", "load",
]  # fmt: skip

_COMPILER = (
    "CompiledGradient",
    "CompiledModel",
    "CompiledStep",
    "Update",
    "compile",
    "compile_grad",
    "compile_step",
    "load",
)
_HOME = {
    **dict.fromkeys(_COMPILER, "tritoncnn.compiler"),
    **dict.fromkeys(("LBFGS", "SGD", "Adam", "AdamW", "RMSprop"), "tritoncnn.optim"),
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        import importlib

        from tritoncnn import garbage, signals

        with (
            garbage.later(),
            signals.RaisedLater(),
        ):  # half an import is kept by Python, and a second one of Triton then fails
            return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'tritoncnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
