"""TTIR text in, LLVM IR text out.

A module exports ``launch(ptr record)``, which runs the whole grid, and ``chunk(ptr record)``, one worker of it. The
record has 8-byte slots: work counter, three grid sizes, threads, then the kernel's arguments.
"""

from __future__ import annotations

from collections.abc import Collection

from .emit.functions import lower_function
from .emit.state import State
from .facts.inductions import rewrite_inductions
from .facts.points_to import PointsTo
from .facts.remarks import Remarks
from .front.blocks import walk
from .front.parser import Parser
from .front.reshapes import rewrite_reshapes
from .front.scaled import rewrite_scaled
from .front.sums import rewrite_sums
from .front.ttir import Function, unsupported
from .sanitize.guards import Guard
from .table import TABLE
from .workers import USES, workers


def check_rows(function: Function) -> None:
    """Raise UnsupportedError for the first op that has no row, wherever it stands."""
    for op in walk(function):
        if op.name not in TABLE:
            raise unsupported(op)


def arguments(ttir_text: str) -> list[tuple[str, str]]:
    """(name, type) of the kernel's run-time arguments, in the order of the launch record."""
    return [(a.name[1:], a.type.elem) for a in Parser(ttir_text, TABLE).function().args]


def lower(
    ttir_text: str, *, lanes: int, name: str = "kernel", features: Collection[str] = (), checks: str = "",
    remarks: Remarks | None = None,
) -> str:  # fmt: skip
    """LLVM IR text of a module that exports ``launch`` and ``chunk``.

    ttir_text   ``str(module)`` (errors then name the kernel's file and line) or ``module.str_nodebug()``
    lanes       f32 in a vector register: 16 for AVX-512, 8 for AVX2, 4 for NEON and SSE
    name        what the module is called, for dumps
    features    the CPU's, by LLVM's names, of those that the lowering knows how to use
    checks      "bounds" or "races": an instrumented mode (``modes.py``)
    remarks     filled with what is decided on the way

    Raises UnsupportedError, which names the op and its source line.
    """
    parser = Parser(ttir_text, TABLE)
    function = parser.function()
    for each in (function, *parser.callees.values()):
        rewrite_scaled(each)
        rewrite_sums(each)
        rewrite_reshapes(each)
        check_rows(each)
        rewrite_inductions(each, TABLE)
    notes = Remarks() if remarks is None else remarks
    notes.points_to = PointsTo(function, parser.callees, TABLE, notes.names)
    guard = Guard(checks, len(function.args)) if checks else None
    code = State(lanes, rows=TABLE, features=features, callees=parser.callees, guard=guard, remarks=notes)
    body = lower_function(code, function, "body")
    bits = 32 * lanes
    parts = [f"; ModuleID = '{name}'"]
    parts += [f"{symbol} = {text}" for text, symbol in code.globals.items()]
    parts += [*code.functions.values(), body, workers(function.args, guard is not None)]
    parts += sorted(code.declarations | USES)
    if guard is not None:
        parts.append(guard.functions())
    parts.append(f'attributes #0 = {{ nounwind "prefer-vector-width"="{bits}" "min-legal-vector-width"="{bits}" }}')
    return "\n".join(parts) + "\n"


__all__ = ["arguments", "lower"]
