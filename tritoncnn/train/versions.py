"""Which versions of what computed a result."""

from __future__ import annotations

import importlib.metadata
import platform

import tritoncnn

PACKAGES = ("torch", "triton", "llvmlite", "numpy")


def versions() -> dict[str, str]:
    """Name -> version; a package that is not installed says so."""
    return {"tritoncnn": tritoncnn.__version__, "python": platform.python_version()} | {
        p: _version(p) for p in PACKAGES
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
