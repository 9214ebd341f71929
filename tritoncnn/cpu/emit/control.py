"""scf.for, scf.if and scf.while. Carried scalars are phis, carried tensors live in buffers."""

from __future__ import annotations

from dataclasses import replace

from tritoncnn.cpu.front.elements import llvm_type
from tritoncnn.cpu.front.ttir import Block, Op, Value

from .buffers import fill
from .carried import carry, hand_over, last_axis
from .order import force_loads
from .program import lower_block
from .pull import pull
from .scratch import new_buffer
from .state import State
from .values import Buffer, Coord, Res


def writes(code: State, op: Op) -> bool:
    """Does the op, or one inside of it, write memory?"""
    if code.row(op).writes:
        return True
    return any(writes(code, inner) for region in op.regions for block in region for inner in block.ops)


def lower_region(code: State, block: Block, load_level: int | None = None) -> list[Value]:
    """Lower a region's one block; what its terminator yields comes back (an empty yield is not printed)."""
    code.load_levels = [*code.load_levels[: code.depth], code.depth if load_level is None else load_level]
    ends = bool(block.ops) and code.row(block.ops[-1]).ends
    lower_block(code, block.ops[:-1] if ends else block.ops)
    return block.ops[-1].operands if ends else []


def _bound(code: State, v: Value) -> int | str:
    """A loop's bound: a number, or the name of one."""
    c = code.facts.const(v)
    return pull(code, v).v if c is None else c


def scf_for(code: State, op: Op) -> None:
    """A loop with known or computed bounds."""
    block = op.regions[0][0]
    lo, hi, step = (_bound(code, x) for x in op.operands[:3])
    certain = isinstance(lo, int) and isinstance(hi, int) and lo < hi
    writer = writes(code, op)
    if writer:
        force_loads(code, op)
    args, inits = block.args[1:], op.operands[3:]
    tensors = [k for k, a in enumerate(args) if a.type.shape]
    plain = [k for k, a in enumerate(args) if not a.type.shape]
    cells = [carry(code, args[k], inits[k]) for k in tensors]
    outside = code.load_levels[code.depth]

    def body(i: Coord, values: list[str]) -> list[str]:
        code.scalars[block.args[0]] = Res(i.name, i.lvl)
        for k, v in zip(plain, values, strict=True):
            code.scalars[args[k]] = Res(v, code.depth)
        for k, cell in zip(tensors, cells, strict=True):
            code.buffers[args[k]] = replace(cell, lvl=code.depth)
        yielded = lower_region(code, block, outside if certain and not writer else None)
        results = [pull(code, yielded[k]).v for k in plain]
        hand_over(code, [yielded[k] for k in tensors], [args[k] for k in tensors], cells)
        return results

    carried = [(llvm_type(args[k].type.elem), pull(code, inits[k]).v) for k in plain]
    below = "ult" if op.attrs.get("unsigned") else "slt"
    last = code.loop(lo, hi, step, body, carried, block.args[0].type.elem, below)
    code.load_levels = code.load_levels[: code.depth + 1]
    for k, v in zip(plain, last, strict=True):
        code.scalars[op.results[k]] = Res(v, code.depth)
    for k, cell in zip(tensors, cells, strict=True):
        code.buffers[op.results[k]] = replace(cell, lvl=code.depth)


def scf_if(code: State, op: Op) -> None:
    """One of two regions; what they yield meets in phis and buffers."""
    test = pull(code, op.operands[0]).v
    if writes(code, op):
        force_loads(code, op)
    blocks = [region[0] for region in op.regions]
    tensors = [(k, new_buffer(code, r, last_axis(r))) for k, r in enumerate(op.results) if r.type.shape]
    plain = [k for k, r in enumerate(op.results) if not r.type.shape]
    label = code.fresh("I")[1:]
    names: list[list[str]] = []
    parts: list[list[str]] = []
    for block in blocks:
        code.push()
        yielded = lower_region(code, block)
        names.append([pull(code, yielded[k]).v for k in plain])
        for k, b in tensors:
            fill(code, replace(b, lvl=code.depth), yielded[k], last_axis(yielded[k]))
        parts.append(code.pop())
    code.load_levels = code.load_levels[: code.depth + 1]
    out = code.stack[-1]
    has_else = len(parts) > 1
    out += [f"  br i1 {test}, label %{label}t, label %{label}{'f' if has_else else 'e'}", f"{label}t:", *parts[0]]
    out += [f"  br label %{label}x", f"{label}x:", f"  br label %{label}e"]
    if has_else:
        out += [f"{label}f:", *parts[1], f"  br label %{label}y", f"{label}y:", f"  br label %{label}e"]
    out.append(f"{label}e:")
    for n, k in enumerate(plain):
        r = op.results[k]
        t = llvm_type(r.type.elem)
        text = f"phi {t} [ {names[0][n]}, %{label}x ], [ {names[1][n]}, %{label}y ]"
        code.scalars[r] = Res(code.let(code.depth, text), code.depth)
    for k, b in tensors:
        code.buffers[op.results[k]] = b


def scf_while(code: State, op: Op) -> None:
    """A loop that tests in its first region."""
    before, after = op.regions[0][0], op.regions[1][0]
    force_loads(code, op)
    tensors = [k for k, a in enumerate(before.args) if a.type.shape]
    plain = [k for k, a in enumerate(before.args) if not a.type.shape]
    cells = [carry(code, before.args[k], op.operands[k]) for k in tensors]
    starts = [pull(code, op.operands[k]).v for k in plain]
    label = code.fresh("W")[1:]
    code.push()
    names = {k: f"%{label}a{k}" for k in plain}
    for k, name in names.items():
        code.scalars[before.args[k]] = Res(name, code.depth)
    for k, cell in zip(tensors, cells, strict=True):
        code.buffers[before.args[k]] = replace(cell, lvl=code.depth)
    test, *forwarded = lower_region(code, before)
    condition = pull(code, test).v
    finals: list[tuple[Value, Res | Buffer]] = []
    for r, arg, y in zip(op.results, after.args, forwarded, strict=True):
        if arg.type.shape:
            b = new_buffer(code, arg, last_axis(arg))
            fill(code, b, y, last_axis(arg))
            code.buffers[arg] = b
            finals.append((r, b))
        else:
            code.scalars[arg] = pull(code, y)
            finals.append((r, code.scalars[arg]))
    code.emit(f"br i1 {condition}, label %{label}b, label %{label}e")
    code.label(f"{label}b")
    yielded = lower_region(code, after)
    nexts = {k: pull(code, yielded[k]).v for k in plain}
    hand_over(code, [yielded[k] for k in tensors], [before.args[k] for k in tensors], cells)
    lines = code.pop()
    code.load_levels = code.load_levels[: code.depth + 1]
    out = code.stack[-1]
    out += [f"  br label %{label}p", f"{label}p:", f"  br label %{label}h", f"{label}h:"]
    for (k, name), start in zip(names.items(), starts, strict=True):
        t = llvm_type(before.args[k].type.elem)
        out.append(f"  {name} = phi {t} [ {start}, %{label}p ], [ {nexts[k]}, %{label}l ]")
    out += [*lines, f"  br label %{label}l", f"{label}l:", f"  br label %{label}h", f"{label}e:"]
    for r, final in finals:
        if isinstance(final, Buffer):
            code.buffers[r] = replace(final, lvl=code.depth)
        else:
            code.scalars[r] = Res(final.v, code.depth)
