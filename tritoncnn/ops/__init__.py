"""What each IR op means, one file per op. The room finds its own modules: a file that defines an OpDef adds an op."""

from __future__ import annotations

import importlib
import pkgutil

from tritoncnn.errors import GraphError
from tritoncnn.ops.define import IR_DTYPE, OPS, TORCH_DTYPE, Lowering, OpDef, Sym, check_node, emit, types_tuple


def _find_ops() -> None:
    """Fill OPS. Raises GraphError for two ops of one name."""
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        for thing in vars(importlib.import_module(f"{__name__}.{module}")).values():
            if isinstance(thing, OpDef) and OPS.setdefault(thing.name, thing) is not thing:
                raise GraphError(f"two ops are named {thing.name}")


_find_ops()

__all__ = ["IR_DTYPE", "OPS", "TORCH_DTYPE", "Lowering", "OpDef", "Sym", "check_node", "emit", "types_tuple"]
