"""Is a lazy tensor worth a buffer? What pulling it costs, and how often it is pulled."""

from __future__ import annotations

import math

from tritoncnn.cpu.front.elements import FLOATS
from tritoncnn.cpu.front.ttir import Op, Value

from .groups import leader
from .loads import is_flat
from .pull import is_lazy
from .state import State

TREE_LIMIT = 64  # instructions for one vector
CHAIN_LIMIT = 150  # ops pulled through each other: pulling goes by recursion


def sinks_of(code: State, v: Value) -> frozenset[Op]:
    """The ops that will pull v, through lazy ops."""
    todo = [] if v in code.sinks else [v]
    while todo:  # not by recursion: chains may be long
        x = todo[-1]
        through = [r for user in x.users if is_lazy(code, user) for r in user.results]
        unknown = [r for r in through if r not in code.sinks]
        if unknown:
            todo += unknown
            continue
        found = {leader(code, user) for user in x.users if not is_lazy(code, user)}
        code.sinks[x] = frozenset(found.union(*(code.sinks[r] for r in through)))
        todo.pop()
    return code.sinks[v]


def is_free(code: State, x: Value, v: Value) -> bool:
    """Does x cost the vectors of v nothing: a scalar, one number that serves them all, or a mask that ranges decide?"""
    serves = math.prod(x.type.shape) == 1 < math.prod(v.type.shape)
    return not x.type.shape or serves or (x.type.elem == "i1" and code.facts.truth(x) is not None)


def pulled_with(code: State, op: Op) -> list[Value]:
    """What each vector of an op's result is computed from: of a plain load nothing, whose address is one step from the last."""
    return [] if lies_ready(code, op.results[0]) else op.operands


def weight(code: State, op: Op) -> int:
    """Cost of one vector of an op's result, in plain instructions."""
    found = code.row(op).weight
    return found if isinstance(found, int) else found(code, op)


def pulling_cost(code: State, v: Value) -> tuple[int, int]:
    """Cost of computing one vector of v, and from how many buffers. A shared operand counts once."""
    total, read, todo, seen = 0, 0, [v], {v}
    while todo:
        x = todo.pop()
        if x in code.buffers or x in code.scalars or x.op is None or not x.type.shape:
            read += x in code.buffers
            continue
        if code.facts.static(x) is not None:
            total += 1
            continue
        if x is not v and is_free(code, x, v):
            continue
        total += weight(code, x.op)
        fresh = [y for y in pulled_with(code, x.op) if y not in seen]
        seen.update(fresh)
        todo += dict.fromkeys(fresh)
    return total, read


def chain_length(code: State, v: Value) -> int:
    """The longest way from v back to what is read, in ops that are pulled through."""
    assert v.op is not None
    behind = (code.lengths.get(x, 0) for x in v.op.operands if x not in code.buffers)
    code.lengths[v] = 1 + max(behind, default=0)
    return code.lengths[v]


def tree_cost(code: State, v: Value) -> int:
    """Cost of pulling v where nothing is shared by what reads an operand at several places, as a sort's steps do."""
    if v in code.buffers or v in code.scalars or v.op is None or is_free(code, v, v):
        return 1
    if v not in code.trees:
        code.trees[v] = 1  # none of what follows comes back here
        total, todo, seen, far = 0, [v], {v}, set()
        while todo:  # what is computed at one place is computed once
            x = todo.pop()
            assert x.op is not None
            total += weight(code, x.op)
            times = code.row(x.op).elsewhere(x.op)
            for y in pulled_with(code, x.op):
                if times and (x.op, y) not in far:  # also where it is read at this place too
                    far.add((x.op, y))
                    total += times * tree_cost(code, y)
                elif not times and y not in seen:
                    seen.add(y)
                    if y in code.buffers or y in code.scalars or y.op is None or is_free(code, y, v):
                        total += 1
                    else:
                        todo.append(y)
        code.trees[v] = total
    return code.trees[v]


def spreads(code: State, v: Value) -> bool:
    """Is v broadcast before it is consumed?"""
    todo, seen = [v], {v}
    while todo:
        for user in todo.pop().users:
            if code.row(user).spreads:
                return True
            if is_lazy(code, user):
                todo += [r for r in user.results if r not in seen]
                seen.update(user.results)
    return False


def is_line(v: Value) -> bool:
    """Is one axis longer than 1?"""
    return len([n for n in v.type.shape if n > 1]) == 1


def ends_here(code: State, v: Value) -> bool:
    """Is v not just a step towards another line, which has a buffer for the same reasons as v would?"""
    if len(v.users) != 1 or not is_lazy(code, v.users[0]) or v.op is None or v.users[0].block is not v.op.block:
        return True
    (user,) = v.users
    if code.row(user).spreads or len(user.results) != 1:
        return True
    r = user.results[0]
    return not is_line(r) or r.type.elem in ("ptr", "i1") or code.facts.static(r) is not None


def in_inner_loop(code: State, v: Value, sink: Op) -> bool:
    """Does the sink stand in a loop that v's op does not stand in?"""
    block = sink.block
    while block is not None and v.op is not None and block is not v.op.block:
        if block.owner is None:
            return False
        if code.row(block.owner).loops:
            return True
        block = block.owner.block
    return False


def holds_data(code: State, v: Value) -> bool:
    """Is a tensor of integers made of ones that lie in memory? Indices and masks are not, nor are bits of floats."""
    todo, seen = [v], {v}
    while todo:
        x = todo.pop()
        if x.op is None or x.type.elem in ("i1", *FLOATS) or code.facts.static(x) is not None:
            continue
        if code.row(x.op).access == "load" and x.type.shape:
            return True
        todo += [y for y in x.op.operands if y not in seen]
        seen.update(x.op.operands)
    return False


def lies_ready(code: State, v: Value) -> bool:
    """Is v read as from a buffer already: a load whose lanes lie side by side, with no mask that only the run decides?"""
    op = v.op
    if op is None or code.row(op).access != "load" or not is_flat(code, op):
        return False
    mask = code.row(op).mask
    parts = code.facts.conjuncts(op.operands[mask]) if mask is not None and len(op.operands) > mask else []
    return all(code.facts.truth(part) is not None or code.facts.static(part) is not None for part in parts)


def worth_a_buffer(code: State, v: Value) -> bool:
    """Would pulling v again and again cost more than writing and reading it?"""
    if v.type.elem == "ptr" or code.facts.static(v) is not None:
        return False
    if v.type.elem == "i1" and code.facts.truth(v) is not None:
        return False
    sinks, (cost, read) = sinks_of(code, v), pulling_cost(code, v)
    if chain_length(code, v) > CHAIN_LIMIT:
        return True
    if tree_cost(code, v) > max(TREE_LIMIT, 2 * cost):
        return True
    if not sinks or all(code.row(s).reaches for s in sinks) or lies_ready(code, v):
        return False
    if is_line(v) and (cost >= 4 or read > 1) and spreads(code, v) and ends_here(code, v):
        return True  # a line for all rows: where it is made of two others, one is read in place of both
    if cost < 4:
        return False
    if v.type.elem not in FLOATS and len(v.type.shape) > 1 and not holds_data(code, v):
        return False
    again = any(in_inner_loop(code, v, s) for s in sinks if not code.row(s).reaches)
    return cost >= 8 and (len(sinks) > 1 or again)
