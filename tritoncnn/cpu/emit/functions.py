"""LLVM functions: the kernel itself, and functions that return early, and their calls. Others are inlined when read."""

from __future__ import annotations

from tritoncnn.cpu.front.elements import llvm_type
from tritoncnn.cpu.front.ttir import Function, Op, unsupported

from .branches import lower_branches, returned_type
from .order import force_loads
from .program import lower_block
from .pull import pull
from .state import State
from .values import Res

PLACE = ", ".join([f"i32 %pid{d}" for d in range(3)] + [f"i32 %np{d}" for d in range(3)])


def lower_function(code: State, function: Function, name: str, result: str = "void") -> str:
    """An LLVM function of the arguments, program ids and grid sizes."""
    parameters = []
    for k, a in enumerate(function.args):
        code.scalars[a] = Res(f"%arg{k}")
        parameters.append(f"{llvm_type(a.type.elem)} %arg{k}")
        if name == "body" and a.type.elem == "ptr":
            code.tensors.add(a)
    parameters += [f"i32 %pid{d}" for d in range(3)] + [f"i32 %np{d}" for d in range(3)]
    code.result = result
    if code.guard is not None:
        parameters.append("ptr %record")
    if len(function.blocks) == 1:
        lower_block(code, function.blocks[0].ops)
        tail = ["  ret void"]
    else:
        tail = lower_branches(code, function)
    assert code.depth == 0
    # LLVM would inline the body into its only caller anyway, but after it has been through all passes, and then once more.
    inline = "alwaysinline " if name == "body" else ""
    head = f"define internal {result} @{name}({', '.join(parameters)}) {inline}#0 {{"
    return "\n".join([head, "entry:", *code.allocas, *code.stack[0], *tail, "}"])


def call(code: State, op: Op) -> None:
    """Call it, with the program's place in the grid; Triton passes scalars only to such functions."""
    callee = code.callees[str(op.attrs["callee"])]
    if any(v.type.shape for v in (*op.operands, *op.results)):
        raise unsupported(op, "a function that returns early must be inlined, or take and give scalars")
    force_loads(code, op)
    name = f"call_{callee.name}"
    if name not in code.functions:
        inner = State(
            code.lanes, rows=code.rows, callees=code.callees, guard=code.guard, remarks=code.remarks,
            globals=code.globals, declarations=code.declarations, functions=code.functions,
        )  # fmt: skip
        code.functions[name] = lower_function(inner, callee, name, returned_type(op.results))
    arguments = [f"{llvm_type(x.type.elem)} {pull(code, x).v}" for x in op.operands]
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
