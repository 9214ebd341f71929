"""tt.print and tt.assert: calls of the functions in messages.py."""

from __future__ import annotations

import json

from tritoncnn.cpu.front.elements import FP8, llvm_type, stored
from tritoncnn.cpu.front.ttir import Op, Type, Value

from .buffers import materialise, vector_axis
from .pull import pull
from .scratch import to_memory
from .state import State
from .values import Coords

PROGRAM = "i32 %pid0, i32 %pid1, i32 %pid2"


def _note(code: State, note: dict[str, object]) -> str:
    data = json.dumps(note).encode()
    return code.table("i8", [*data, 0])


def printed(code: State, op: Op) -> None:
    """One call for each operand; a tensor is written to scratch as a whole first."""
    call = code.intrinsic("tritoncnn_print", "void", "ptr", "ptr", "i32", "i32", "i32")
    text, signs = str(op.attrs["text"]), op.attrs.get("isSigned")
    if not op.operands:
        code.emit(f"{call}(ptr {_note(code, {'prefix': text})}, ptr null, {PROGRAM})")
    for k, x in enumerate(op.operands):
        x = _readable(x, op)
        strides: tuple[int, ...] = ()
        if x.type.shape:
            buffer = materialise(code, x)
            place, strides = buffer.ptr, buffer.strides
        else:
            place = code.alloca(llvm_type(stored(x.type.elem)))
            value = to_memory(code, pull(code, x).v, x.type.elem, 0)
            code.emit(f"store {llvm_type(stored(x.type.elem))} {value}, ptr {place}")
        several = f"(operand {k}) " if len(op.operands) > 1 else ""
        note = {
            "prefix": text + several, "elem": x.type.elem, "shape": x.type.shape, "strides": strides,
            "signed": bool(signs[k]) if isinstance(signs, list) else True, "hex": op.attrs.get("hex") == "true",
        }  # fmt: skip
        code.emit(f"{call}(ptr {_note(code, note)}, ptr {place}, {PROGRAM})")


def _readable(x: Value, op: Op) -> Value:
    """The operand as a type that numpy has."""
    if x.type.elem not in ("bf16", *FP8):
        return x
    cast = Op("arith.extf", [x], [], {"words": []}, op.where, op.position)
    wide = Value(x.name + "p", Type(x.type.shape, "f32"), cast, x.block, [op])
    cast.results = [wide]
    return wide


def asserted(code: State, op: Op) -> None:
    """A program whose condition is false anywhere says so and ends: what follows may rely on the condition."""
    x = op.operands[0]
    if code.facts.truth(x) is True:
        return
    note = _note(code, {"where": op.where, "text": op.attrs["text"]})

    def check(coords: Coords) -> None:
        r = pull(code, x, coords)
        holds = r.v
        if r.vl:
            call = code.intrinsic(f"llvm.vector.reduce.and.v{r.vl}i1", "i1", f"<{r.vl} x i1>")
            holds = code.let(code.depth, f"{call}(<{r.vl} x i1> {r.v})")
        k = code.fresh("A")[1:]
        code.emit(f"br i1 {holds}, label %{k}t, label %{k}f")
        code.label(f"{k}f")
        say = code.intrinsic("tritoncnn_assert", "void", "ptr", "i32", "i32", "i32")
        code.emit(f"{say}(ptr {note}, {PROGRAM})")
        code.give_up()
        code.label(f"{k}t")

    if x.type.shape:
        code.nest(x.type.shape, vector_axis(code, x), check)
    else:
        check(())
