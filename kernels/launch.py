"""A kernel call as data. Kernel files build Launches; the runtime binds and runs them; nobody else launches.

A builder such as ``conv2d.launch(y, x, w, ...)`` takes the operands' types (results first, as in the kernel's
header), checks them, picks a tile and returns a ``Launch``; it touches no memory, so that the planner can call
it long before tensors exist. Sizes and strides are constants of the kernel: plans are static, so are kernels; where nothing
is gained by it, they are an operand, and one kernel serves all sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tritoncnn.ir import DTYPES, TensorType


@dataclass(frozen=True)
class Slot:
    """Generated pointwise code that a template calls on its result before the store (or on its loads).

    function   a @triton.jit function ``(value, args, at, mask) -> value``: ``args`` is the tuple of extra
               pointers, ``at`` that of the logical coordinates of the element (n, k, p, q for a convolution; m, n for a
               matrix), each of a shape that broadcasts against ``value``.
    operands   types of the tensors behind ``args``, in order.
    text       the expression in words, for ``inspect``: ``relu(add(acc, $0))``.
    source     the generated Python, for ``inspect --source``.
    """

    function: Any
    operands: tuple[TensorType, ...]
    text: str
    source: str


@dataclass(frozen=True)
class Launch:
    """One kernel, its grid, and which operand fills which pointer.

    pointers   names of the kernel's pointer arguments in the order of ``operands`` (results first). The name "args" is a
               tuple argument: the slot's operands, which come last in ``operands``.
    operands   type of the tensor behind each pointer, flattened.
    constants  every tl.constexpr argument by name: sizes, strides, tile, slot function.
    """

    kernel: Any
    grid: tuple[int, int, int]
    pointers: tuple[str, ...]
    operands: tuple[TensorType, ...]
    constants: Mapping[str, Any] = field(hash=False)
    slots: tuple[Slot, ...] = ()  # the fused code among the constants, for those who print or check
    results: int = 1  # how many of the operands are written
    flops: int = 0
    nbytes: int = 0
    num_warps: int = 4
    num_stages: int = 2

    @property
    def signature(self) -> dict[str, str | tuple[str, ...]]:
        """Triton's type of each pointer argument, such as ``*fp32``, in the order of the kernel's arguments; a tuple for
        "args". All other arguments are ``constants``."""
        types = [f"*{DTYPES[t.dtype].triton}" for t in self.operands]
        named = [name for name in self.pointers if name != "args"]
        known: dict[str, str | tuple[str, ...]] = dict(zip(named, types, strict=False))
        if "args" in self.pointers:
            known["args"] = tuple(types[len(named) :])
        return {name: known[name] for name in self.kernel.arg_names if name in known}

    @property
    def arguments(self) -> tuple[str, ...]:
        """The argument that each operand fills: a name, or ``args.0``, ``args.1``..."""
        named = [name for name in self.pointers if name != "args"]
        return (*named, *(f"args.{i}" for i in range(len(self.operands) - len(named))))
