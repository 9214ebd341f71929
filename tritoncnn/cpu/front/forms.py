"""Texts of ops that are not written as most are (columns ``reads`` and ``results``), as triton 3.6 to 3.9 print them."""

from __future__ import annotations

import re

from .text import NAME, message, parse_type, parse_types
from .traits import Reader
from .ttir import Block, Op, Type, unsupported


def constant(reader: Reader, op: Op, rest: str) -> list[Type]:
    """``dense<0> : tensor<16xi32>``, ``true``."""
    body, _, type = rest.rpartition(" : ")
    op.attrs["value"] = re.sub(r"^dense<(.*)>$", r"\1", body or rest)
    return [parse_type(type if body else "i1")]


def jump(reader: Reader, op: Op, rest: str) -> list[Type]:
    """``^bb1(%a : i32)``."""
    op.attrs["targets"] = [
        (label, reader.values(args)) for label, args in re.findall(r"(\^\w+)(?:\(([^:)]*)[^)]*\))?", rest)
    ]
    op.operands = reader.values(rest)
    return []


def told(reader: Reader, op: Op, rest: str) -> list[Type]:
    """``" x: " {hex = false, isSigned = array<i32: 1>} : %x : tensor<16xi32>``, ``%holds, "words" : tensor<16xi1>``."""
    text = re.search(r'"([^"]*)"', rest)
    assert text
    op.attrs["text"] = message(text[1])
    return reader.plain(op, rest.replace(text[0], "", 1).strip())


def extern(reader: Reader, op: Op, rest: str) -> list[Type]:
    """``%x {libname = "", libpath = "", pure = true, symbol = "__nv_sinf"} : (tensor<16xf32>) -> tensor<16xf32>``."""
    symbol = re.search(r'symbol = "([^"]*)"', rest)
    op.attrs["symbol"] = symbol[1] if symbol else ""
    return reader.plain(op, re.sub(r"<?\{.*\}>?", "", rest))


# ---- regions ---------------------------------------------------------------------------------------------------------
def counted(reader: Reader, op: Op, rest: str) -> list[Type]:
    """``%i = %lo to %hi step %st iter_args(%a = %b) -> (types)  : i32 {``."""
    if rest.startswith("unsigned"):
        op.attrs["unsigned"] = True
        rest = rest[8:].strip()
    match = re.match(rf"({NAME}) = ({NAME}) to ({NAME}) step ({NAME})(.*?)(?:\s+: (\w+))?\s*\{{$", rest)
    if not match:
        raise unsupported(op)
    induction, lo, hi, step, middle, type = match.groups()
    inits = re.findall(rf"({NAME}) = ({NAME})", middle)
    types = parse_types(middle.rsplit("->", 1)[1]) if "->" in middle else []
    op.operands = [reader.scope[n] for n in (lo, hi, step)] + [reader.scope[init] for _, init in inits]
    block = Block("", [])
    block.args = [reader.define(induction, Type((), type or "i32"), None, block)]
    block.args += [reader.define(name, t, None, block) for (name, _), t in zip(inits, types, strict=True)]
    op.regions = [reader.region(block, op)]
    reader.close(op)
    return types


def either(reader: Reader, op: Op, rest: str) -> list[Type]:
    """``%c -> (types) { ... } else { ... }``."""
    op.operands = reader.values(rest)[:1]
    types = parse_types(rest.rsplit("->", 1)[1].rstrip("{").strip()) if "->" in rest else []
    op.regions = [reader.region(Block("", []), op)]
    if reader.close(op).startswith("} else"):
        op.regions.append(reader.region(Block("", []), op))
        reader.close(op)
    return types


def repeated(reader: Reader, op: Op, rest: str) -> list[Type]:
    """``(%a = %b) : (types) -> (types) { before } do { ^bb0(args): after }``."""
    carried, _, types = f" {rest}".partition(" : ")  # nothing stands before the types when nothing is carried
    inits = re.findall(rf"({NAME}) = ({NAME})", carried)
    types = types.rstrip("{").strip()
    before, after = (
        (parse_types(t) for t in types.split(" -> ", 1)) if inits else ([], parse_types(types.split("->")[-1]))
    )
    op.operands = [reader.scope[init] for _, init in inits]
    block = Block("", [])
    block.args = [reader.define(name, t, None, block) for (name, _), t in zip(inits, before, strict=True)]
    op.regions = [reader.region(block, op)]
    reader.close(op)
    op.regions.append(reader.region(Block("", []), op))
    reader.close(op)
    return list(after)


# ---- types of results ------------------------------------------------------------------------------------------------
def truths(printed: list[Type]) -> list[Type]:
    """A truth value for each element of the operands."""
    return [Type(printed[0].shape, "i1")]


def pointed_at(printed: list[Type]) -> list[Type]:
    """What the addresses point at."""
    return [Type(printed[0].shape, printed[0].pointee)]


def one_element(printed: list[Type]) -> list[Type]:
    """The operand's, without its axes."""
    return [Type((), printed[0].elem, printed[0].pointee)]


def last(printed: list[Type]) -> list[Type]:
    """Where the types of the operands differ, the result's is printed last."""
    return printed[-1:]


def twice(printed: list[Type]) -> list[Type]:
    """Both have the printed one."""
    return printed * 2
