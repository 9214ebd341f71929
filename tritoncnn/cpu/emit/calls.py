"""tt.call of a function that returns early: a function of the module. Other functions are inlined when the text is read."""

from __future__ import annotations

from tritoncnn.cpu.front.elements import llvm_type
from tritoncnn.cpu.front.ttir import Op, Value, unsupported

from .control import Control
from .values import Res

PLACE = ", ".join([f"i32 %pid{d}" for d in range(3)] + [f"i32 %np{d}" for d in range(3)])


def returned_type(values: list[Value]) -> str:
    """The LLVM type of a function's results."""
    return f"{{ {', '.join(llvm_type(v.type.elem) for v in values)} }}" if values else "void"


def call(code: Control, op: Op) -> None:
    """Call it, with the program's place in the grid; Triton passes scalars only to such functions."""
    callee = code.callees[str(op.attrs["callee"])]
    if any(v.type.shape for v in (*op.operands, *op.results)):
        raise unsupported(op, "a function that returns early must be inlined, or take and give scalars")
    code.force_loads(op)
    name = f"call_{callee.name}"
    if name not in code.functions:
        inner = type(code)(code.lanes)
        inner.callees, inner.functions, inner.guard = code.callees, code.functions, code.guard
        inner.globals, inner.declarations, inner.remarks = code.globals, code.declarations, code.remarks
        code.functions[name] = inner.function(callee, name, returned_type(op.results))
    arguments = [f"{llvm_type(x.type.elem)} {code.eval(x).v}" for x in op.operands]
    result = returned_type(op.results)
    text = f"call {result} @{name}({', '.join([*arguments, PLACE, *(['ptr %record'] if code.guard else [])])})"
    found = ""
    if op.results:
        found = code.let(code.depth, text)
    else:
        code.emit(text)
    if code.guard is not None:
        code.guard.after_call(code)
    for k, r in enumerate(op.results):
        code.scalars[r] = Res(code.let(code.depth, f"extractvalue {result} {found}, {k}"), code.depth)


def give_back(code: Control, op: Op) -> None:
    """tt.return."""
    if not op.operands:
        code.emit("ret void")
        return
    type, whole = returned_type(op.operands), "poison"
    for k, x in enumerate(op.operands):
        if x.type.shape:
            raise unsupported(op, "a function that returns early must be inlined, or take and give scalars")
        one = f"{llvm_type(x.type.elem)} {code.eval(x).v}"
        whole = code.let(code.depth, f"insertvalue {type} {whole}, {one}, {k}")
    code.emit(f"ret {type} {whole}")
