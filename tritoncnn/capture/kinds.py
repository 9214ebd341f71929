"""ATen ops that the capture treats by what they do to sizes, fill with or say of memory; all others are rows of ``table.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

RESHAPES = frozenset({
    "view.default", "reshape.default", "_unsafe_view.default", "flatten.using_ints", "unflatten.int", "squeeze.default",
    "squeeze.dim", "squeeze.dims", "unsqueeze.default", "view_as.default", "reshape_as.default", "ravel.default",
    "prims::reshape.default", "prims::squeeze.default", "prims::collapse_view.default", "prims::split_dim.default",
    "prims::view_of.default",
})  # fmt: skip
EXPANDS = frozenset({"expand.default", "expand_as.default", "broadcast_to.default"})
FILLS: dict[str, Callable[[tuple[Any, ...]], Any]] = {  # op -> the number that it writes everywhere, from its arguments
    "zeros_like.default": lambda args: 0,
    "ones_like.default": lambda args: 1,
    "full_like.default": lambda args: args[1],
    "empty_like.default": lambda args: 0,
    "new_zeros.default": lambda args: 0,
    "new_ones.default": lambda args: 1,
    "new_full.default": lambda args: args[2],
    "new_empty.default": lambda args: 0,
    "empty.memory_format": lambda args: 0,
    "fill.Scalar": lambda args: args[1],
    "zero.default": lambda args: 0,
}
PLACEMENT = frozenset({"device", "layout", "pin_memory", "memory_format", "non_blocking", "implicit"})  # options
IDENTITIES = frozenset({
    "contiguous.default", "clone.default", "alias.default", "lift_fresh_copy.default", "detach.default", "detach_.default",
    "_to_copy.default", "to.dtype", "to.device", "to.dtype_layout",
    "type_as.default", "lift_fresh.default", "to.other", "detach_copy.default",
})  # fmt: skip
