"""The branches of a function that returns early: blocks in order, phis for scalars, buffers for tensors, tt.return."""

from __future__ import annotations

from dataclasses import replace

from tritoncnn.cpu.front.blocks import in_order, walk
from tritoncnn.cpu.front.elements import llvm_type
from tritoncnn.cpu.front.ttir import Block, Function, Op, Value, unsupported

from .buffers import fill
from .carried import last_axis
from .control import lower_region
from .order import force_loads
from .program import lower_block
from .pull import pull
from .scratch import new_buffer
from .state import State
from .values import Buffer, Res


def lower_branches(code: State, function: Function) -> list[str]:
    """Blocks of a function with early returns: the first stays in level 0, the others follow it, each a level."""
    by_label = {b.label: b for b in function.blocks}
    blocks = in_order(function.blocks)
    for position, op in enumerate(walk(replace(function, blocks=blocks))):
        op.position = position  # in the order of execution, whatever the text's is
    labels = {b.label: f"B{n}" for n, b in enumerate(blocks)}
    incoming: dict[str, list[tuple[list[str], str]]] = {}
    cells: dict[Value, Buffer] = {}
    done: set[str] = set()
    made: dict[Value, Buffer] = {}
    tail: list[str] = []
    for n, block in enumerate(blocks):
        done.add(block.label)
        if n:
            code.push()
            _emit_phis(code, block, incoming.get(block.label, []))
            for a in block.args:
                if a.type.shape and a in cells:
                    code.buffers[a] = replace(cells[a], lvl=code.depth)
            lower_region(code, block)
            force_loads(code, block.ops[-1], [x.results[0] for x in code.loads if x.block is not block])
        else:
            lower_block(code, block.ops[:-1])
            code.push()
        _leave(code, block.ops[-1], by_label, labels, incoming, cells, done)
        made |= {v: b for v, b in code.buffers.items() if b.lvl == code.depth and v.block is block}
        lines = code.pop()
        code.buffers |= made  # what a block has made, those it leads to may read
        code.load_levels = code.load_levels[:1]
        tail += ([f"{labels[block.label]}:"] if n else []) + lines
    return tail


def _emit_phis(code: State, block: Block, edges: list[tuple[list[str], str]]) -> None:
    """What a block's scalar arguments are, by the edge that led there."""
    for k, a in enumerate(block.args):
        if not a.type.shape and edges:
            pairs = ", ".join(f"[ {values[k]}, %{edge} ]" for values, edge in edges)
            code.scalars[a] = Res(code.let(code.depth, f"phi {llvm_type(a.type.elem)} {pairs}"), code.depth)


def _leave(
    code: State,
    end: Op,
    blocks: dict[str, Block],
    labels: dict[str, str],
    incoming: dict[str, list[tuple[list[str], str]]],
    cells: dict[Value, Buffer],
    done: set[str],
) -> None:
    """A block's terminator; each edge has a label of its own, where the target's tensors are filled."""
    targets = end.attrs.get("targets")
    if targets is None:
        give_back(code, end)
        return
    if not isinstance(targets, list) or any(label in done for label, _ in targets):
        raise unsupported(end, "only branches forward are supported")
    edges = [code.fresh("E")[1:] for _ in targets]
    if len(edges) > 1:
        code.emit(f"br i1 {pull(code, end.operands[0]).v}, label %{edges[0]}, label %{edges[1]}")
    else:
        code.emit(f"br label %{edges[0]}")
    for edge, (label, values) in zip(edges, targets, strict=True):
        code.label(edge)
        names = []
        for a, v in zip(blocks[label].args, values, strict=True):
            if not a.type.shape:
                names.append(pull(code, v).v)
                continue
            names.append("")
            if a not in cells:
                cells[a] = new_buffer(code, a, last_axis(a))
            fill(code, replace(cells[a], lvl=code.depth), v, last_axis(a))
        # filling opens loops: the label that the target sees is the one after them
        last = code.fresh("E")[1:]
        code.emit(f"br label %{last}")
        code.label(last)
        code.emit(f"br label %{labels[label]}")
        incoming.setdefault(label, []).append((names, last))


def returned_type(values: list[Value]) -> str:
    """The LLVM type of a function's results."""
    return f"{{ {', '.join(llvm_type(v.type.elem) for v in values)} }}" if values else "void"


def give_back(code: State, op: Op) -> None:
    """End the function with its results: ``tt.return``."""
    if not op.operands:
        code.emit("ret void")
        return
    type, whole = returned_type(op.operands), "poison"
    for k, x in enumerate(op.operands):
        if x.type.shape:
            raise unsupported(op, "a function that returns early must be inlined, or take and give scalars")
        one = f"{llvm_type(x.type.elem)} {pull(code, x).v}"
        whole = code.let(code.depth, f"insertvalue {type} {whole}, {one}, {k}")
    code.emit(f"ret {type} {whole}")
