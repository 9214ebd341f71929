"""Loads that a dot may read in place: an address that follows each axis by itself, and a mask in parts of one axis each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tritoncnn.cpu.emit.state import State
from tritoncnn.cpu.emit.values import Buffer, Res
from tritoncnn.cpu.front.ttir import Op, Value


@dataclass(frozen=True)
class Operand:
    """How to reach element (free, red) of A, or row red of B.

    kind   "strided": base + free * step + offsets[red]; "rows": table[free] + offsets[red]; "columns": table[red] + offsets[free]
    base   address of element 0, or of the table of pointers
    zeros  what a masked row's pointer is, if rows may be masked
    lower  what the sums of each of B's columns begin lower by, if not 0
    cut    the load that B is, where its mask leaves columns out
    """

    kind: str
    base: Res
    step: int
    offsets: tuple[int, ...]
    zeros: Res | None = None
    lower: Buffer | None = None
    cut: View | None = None


@dataclass(frozen=True)
class View:
    """A load that a dot may read in place: axes of the load that are free and reduced, and what its mask says."""

    load: Op
    free: int
    red: int
    free_size: int  # elements in front, beyond which the mask is false
    red_size: int
    free_masks: tuple[Value, ...]  # parts of the mask that are only known when the program runs
    red_masks: tuple[Value, ...]
    free_known: tuple[Value, ...]  # parts that ``free_size`` follows from


def view_of(code: State, v: Value, free: int, red: int) -> View | None:
    """See through to a load whose mask is made of parts that follow one axis each."""
    asked = v
    code.remarks.reasons.pop(asked, None)
    while v not in code.buffers and v.op is not None and _swaps(code, v.op):
        free, red, v = red, free, v.op.operands[0]
    load = v.op
    if v in code.buffers or load is None or code.row(load).access != "load" or not v.type.shape:
        made = "in a buffer" if v in code.buffers or load is None else f"the result of {load.name}"
        code.remarks.reasons[asked] = f"it is {made}, not a load"
        return None
    shape = v.type.shape
    mask = load.operands[1] if len(load.operands) > 1 else None
    other = load.operands[2] if len(load.operands) > 2 else None
    sizes = {free: shape[free], red: shape[red]}
    left: dict[int, list[Value]] = {free: [], red: []}
    known_parts: dict[int, list[Value]] = {free: [], red: []}
    for part in code.facts.conjuncts(mask) if mask else []:
        if code.facts.truth(part) is False:
            sizes[red] = 0
            continue
        axes = [d for d in (free, red) if part.type.shape and code.facts.varies(part, d)]
        if len(axes) != 1:
            if axes:
                code.remarks.reasons[asked] = "its mask follows both axes at once"
                return None
            left[free].append(part)
            continue
        d = axes[0]
        known = code.facts.static(part)
        if known is not None:
            flags = np.moveaxis(known, d, 0).reshape(known.shape[d], -1)[:, 0]
            prefix = int(flags.argmin()) if not flags.all() else len(flags)
            if not flags[prefix:].any():
                sizes[d] = min(sizes[d], prefix)
                known_parts[d].append(part)
                continue
        left[d].append(part)
    masked = left[free] or left[red] or sizes[free] < shape[free] or sizes[red] < shape[red]
    if masked and other is not None and not _is_zero(code, other):
        code.remarks.reasons[asked] = "what its mask leaves out is not 0"
        return None
    masks = tuple(left[free]), tuple(left[red]), tuple(known_parts[free])
    return View(load, free, red, sizes[free], sizes[red], *masks)


def _swaps(code: State, op: Op) -> bool:
    """Is it a transposition?"""
    return (code.facts.axis(op, 0), code.facts.axis(op, 1)) == (1, 0)


def _is_zero(code: State, v: Value) -> bool:
    """Is the tensor the constant 0 (not -0)?"""
    while v.op is not None and code.row(v.op).spreads:
        v = v.op.operands[0]
    if v.op is None or not code.row(v.op).literal:
        return False
    text = str(v.op.attrs["value"])
    return text in ("0.000000e+00", "0", "0.0")
