"""Carried tensors that move as a whole are rewritten to index arithmetic, which keeps what is known of their strides.

    for i in range(lo, hi, step) iter_args(p = p0):  ...p...;  yield p + splat(s)
    =>  for i in range(lo, hi, step):  p = p0 + splat((i - lo) / step * s);  ...p...

When    p is made of pointers or integers, and each turn adds the same number to all of its elements.
Else    a number that varies, or that is wanted after the loop, is carried in place of a tensor: p = p0 + splat(k).
Also    if c: yield p + splat(a) else: yield p + splat(b)   =>   p + splat(if c: yield a else: yield b)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tritoncnn.cpu.front.cursor import Cursor
from tritoncnn.cpu.front.ttir import Block, Function, Op, Type, Value

from .analysis import Facts, Rules

INTEGERS = ("i8", "i16", "i32", "i64")
Summands = list[tuple[int, Value]]  # (sign, tensor or scalar that is added)


def rewrite_inductions(function: Function, rows: Mapping[str, Rules]) -> None:
    """Rewrite every loop and if of a function, the inner ones first."""
    for block in function.blocks:
        _block(block, rows)


def _block(block: Block, rows: Mapping[str, Rules]) -> None:
    for op in list(block.ops):
        for inner in (b for region in op.regions for b in region):
            _block(inner, rows)
        if op.name == "scf.for":
            _for(op, rows)
        elif op.name == "scf.if" and len(op.regions) == 2:
            _if(op)


# ---- what a value adds to another ------------------------------------------------------------------------------------
def _uniform(v: Value) -> bool:
    """Do all elements have one value, by construction?"""
    if not v.type.shape:
        return True
    if v.op is None:
        return False
    if v.op.name == "arith.constant":
        return not str(v.op.attrs["value"]).startswith(("[", '"'))
    if v.op.name == "tt.splat":
        return True
    known = v.op.name in ("tt.broadcast", "tt.expand_dims") or (
        v.op.name.startswith("arith.") and v.type.elem in INTEGERS
    )
    return known and all(_uniform(x) for x in v.op.operands)


def _steps(v: Value) -> Iterator[tuple[Value, Summands]]:
    """v = root + summands, for every root that additions of uniform tensors lead back to."""
    parts: Summands = []
    yield v, []
    while v.op is not None and v.op.name in ("tt.addptr", "arith.addi", "arith.subi"):
        a, b = v.op.operands
        if v.op.name == "arith.addi" and _uniform(a):
            a, b = b, a
        if not _uniform(b):
            return
        parts.append((-1 if v.op.name == "arith.subi" else 1, b))
        v = a
        yield v, list(parts)


def _summands(v: Value, root: Value) -> Summands | None:
    """What v adds to root, all of it uniform; None where it is not such a sum."""
    return next((parts for start, parts in _steps(v) if start is root), None)


def _inside(v: Value, op: Op) -> bool:
    block = v.block
    while block is not None:
        if block.owner is op:
            return True
        block = block.owner.block if block.owner else None
    return False


def _invariant(v: Value, loop: Op) -> bool:
    """Is a uniform tensor's value the same in every turn of the loop, and known before it?"""
    if not _inside(v, loop) or (v.op is not None and v.op.name == "arith.constant"):
        return True
    return v.op is not None and bool(v.type.shape) and all(_invariant(x, loop) for x in v.op.operands)


def _moves(v: Value) -> bool:
    return v.type.elem in ("ptr", *INTEGERS)


# ---- loops -----------------------------------------------------------------------------------------------------------
def _for(op: Op, rows: Mapping[str, Rules]) -> None:
    body = op.regions[0][0]
    for k in reversed(range(len(body.args) - 1)):
        arg, start, result, end = body.args[1 + k], op.operands[3 + k], op.results[k], body.ops[-1]
        if not _moves(arg):
            continue
        parts = _summands(end.operands[k], arg)
        if parts is None:
            continue
        fixed = not result.users and all(_invariant(x, op) for _, x in parts)
        if not fixed and not arg.type.shape:
            continue
        elem = "i64" if arg.type.elem == "ptr" else arg.type.elem
        by = _total_before(op, parts, elem) if fixed else None
        end.operands[k].users.remove(end)
        start.users.remove(op)
        if by is not None:
            del body.args[1 + k], op.operands[3 + k], op.results[k], end.operands[k]
            head = Cursor(body, 0)
            head.moved(start, _turns(head, op, by, rows), arg)
        else:
            _carry_scalar(op, k, parts, elem)


def _total_before(op: Op, parts: Summands, elem: str) -> Value:
    """The step's sum, computed in front of the loop."""
    assert op.block is not None
    return Cursor(op.block, op.block.ops.index(op)).total(parts, elem)


def _turns(head: Cursor, op: Op, by: Value, rows: Mapping[str, Rules]) -> Value:
    """``(i - lo) / step * by``, in the type of ``by``."""
    facts, elem, unsigned = Facts(rows), by.type.elem, bool(op.attrs.get("unsigned"))
    lo, _, step = op.operands[:3]
    i = op.regions[0][0].args[0]
    if facts.const(lo) != 0:
        i = head.make("arith.subi", [i, lo], i.type)
    every, once = facts.const(step), facts.const(by)
    if every and once is not None and once % every == 0:
        i, by = head.cast(i, elem, unsigned), head.number(once // every, elem)
        return i if once == every else head.make("arith.muli", [i, by], by.type)
    if every != 1:
        i = head.make("arith.divui" if unsigned else "arith.divsi", [i, step], i.type)
    return head.make("arith.muli", [head.cast(i, elem, unsigned), by], by.type)


def _carry_scalar(op: Op, k: int, parts: Summands, elem: str) -> None:
    """Carry what is added, in place of the tensor."""
    assert op.block is not None
    body, arg, start, result = op.regions[0][0], op.regions[0][0].args[1 + k], op.operands[3 + k], op.results[k]
    end, type = body.ops[-1], Type((), elem)
    zero = Cursor(op.block, op.block.ops.index(op)).number(0, elem)
    carried, final = Value(arg.name + "by", type, None, body), Value(result.name + "by", type, op, op.block)
    body.args[1 + k], op.operands[3 + k], op.results[k] = carried, zero, final
    zero.users.append(op)
    tail = Cursor(body, len(body.ops) - 1)
    more = tail.make("arith.addi", [carried, tail.total(parts, elem)], type)
    end.operands[k] = more
    more.users.append(end)
    Cursor(body, 0).moved(start, carried, arg)
    Cursor(op.block, op.block.ops.index(op) + 1).moved(start, final, result)


# ---- branches --------------------------------------------------------------------------------------------------------
def _if(op: Op) -> None:
    assert op.block is not None
    for k, result in enumerate(op.results):
        ends = [region[0].ops[-1] for region in op.regions]
        if not _moves(result) or not result.type.shape:
            continue
        roots = [dict(_steps(end.operands[k])) for end in ends]
        root = next((v for v in roots[0] if v in roots[1] and not _inside(v, op)), None)
        if root is None or _uniform(root):
            continue
        elem = "i64" if result.type.elem == "ptr" else result.type.elem
        for end, found in zip(ends, roots, strict=True):
            assert end.block is not None
            end.operands[k].users.remove(end)
            end.operands[k] = Cursor(end.block, len(end.block.ops) - 1).total(found[root], elem)
            end.operands[k].users.append(end)
        op.results[k] = Value(result.name + "by", Type((), elem), op, op.block)
        Cursor(op.block, op.block.ops.index(op) + 1).moved(root, op.results[k], result)
