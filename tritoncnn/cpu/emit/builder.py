"""LLVM IR text by loop level: where each line of code goes, and the small vocabulary it is written in.

Every open loop (or branch of an if) is a level with its own list of lines. A result knows the level at which it was
computed, and its line is appended to that level's list: what does not depend on a loop stands outside of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tritoncnn.cpu.front.elements import llvm_type, stored
from tritoncnn.cpu.front.ttir import Value

from .values import ZERO, Buffer, Coord, Coords, Move, Res


@dataclass(eq=False)
class Builder:
    """The text of one function, and what has been computed in it.

    lanes         f32 in a vector register
    stack         the lines of each open level, the function's own first
    allocas       scratch memory, all of it at the function's start
    globals, declarations, functions    the module's: tables, what is called, functions of our own
    memo          what has been computed and may be read again; forgotten with the level at which it was
    buffers       tensors in scratch memory
    scalars       values that are one register
    spans         least and greatest value of an index
    sums          an i32 -> the two of which it is the sum, where that fits
    moves         an address -> the address and the offsets of which it is the sum
    """

    lanes: int
    stack: list[list[str]] = field(default_factory=lambda: [[]])
    allocas: list[str] = field(default_factory=list)
    globals: dict[str, str] = field(default_factory=dict)
    declarations: set[str] = field(default_factory=set)
    functions: dict[str, str] = field(default_factory=dict)
    memo: dict[Any, Res] = field(default_factory=dict)
    buffers: dict[Value, Buffer] = field(default_factory=dict)
    scalars: dict[Value, Res] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    sums: dict[str, tuple[Res, Res]] = field(default_factory=dict)
    moves: dict[str, Move] = field(default_factory=dict)
    count: int = 0

    # ---- lines -------------------------------------------------------------------------------------------------
    @property
    def depth(self) -> int:
        """The level that is open."""
        return len(self.stack) - 1

    def fresh(self, prefix: str = "v") -> str:
        """A name that nothing has."""
        self.count += 1
        return f"%{prefix}{self.count}"

    def let(self, lvl: int, text: str) -> str:
        """Append ``name = text`` at a level."""
        assert lvl <= self.depth
        name = self.fresh()
        self.stack[lvl].append(f"  {name} = {text}")
        return name

    def emit(self, text: str) -> None:
        """Append a line with a side effect, here."""
        self.stack[-1].append("  " + text)

    def label(self, name: str) -> None:
        """Begin a block of LLVM's, here."""
        self.stack[-1].append(name + ":")

    def alloca(self, type: str, count: int = 1) -> str:
        """Scratch memory of the function."""
        name = self.fresh("m")
        self.allocas.append(f"  {name} = alloca {type}, i64 {count}, align 64")
        return name

    def table(self, elem: str, numbers: Sequence[int | str]) -> str:
        """A constant array in the module."""
        body = ", ".join(f"{elem} {n}" for n in numbers)
        text = f"private unnamed_addr constant [{len(numbers)} x {elem}] [{body}], align 64"
        return self.globals.setdefault(text, f"@t{len(self.globals)}")

    def zeros(self, count: int) -> str:
        """count bytes of zeros in the module, rounded up so that few sizes exist."""
        text = f"private constant [{max(4096, 1 << (count - 1).bit_length())} x i8] zeroinitializer, align 64"
        return self.globals.setdefault(text, f"@t{len(self.globals)}")

    def intrinsic(self, name: str, result: str, *args: str) -> str:
        """Declare a function and begin a call of it: append the bracket."""
        self.declarations.add(f"declare {result} @{name}({', '.join(args)})")
        return f"call {result} @{name}"

    def define(self, name: str, text: str) -> None:
        """A function of our own, once a module."""
        self.functions[name] = text

    # ---- levels ------------------------------------------------------------------------------------------------
    def push(self) -> None:
        """Open a level."""
        self.stack.append([])

    def pop(self) -> list[str]:
        """Close a level: forget what was computed at it, hand over its lines."""
        d = self.depth
        self.memo = {k: r for k, r in self.memo.items() if r.lvl < d}
        self.buffers = {v: b for v, b in self.buffers.items() if b.lvl < d}
        return self.stack.pop()

    @contextmanager
    def at_level(self, lvl: int) -> Iterator[None]:
        """Emit further out: loops opened inside stand before the loops that are open now."""
        if lvl >= self.depth:
            yield
            return
        inner, self.stack = self.stack[lvl + 1 :], self.stack[: lvl + 1]
        hidden = {k: r for k, r in self.memo.items() if r.lvl > lvl}
        hidden_buffers = {v: b for v, b in self.buffers.items() if b.lvl > lvl}
        self.memo = {k: r for k, r in self.memo.items() if r.lvl <= lvl}
        self.buffers = {v: b for v, b in self.buffers.items() if b.lvl <= lvl}
        yield
        assert self.depth == lvl
        self.stack += inner
        self.memo |= hidden
        self.buffers |= hidden_buffers

    def loop(
        self,
        lo: str | int,
        hi: str | int,
        step: str | int,
        body: Callable[[Coord, list[str]], Sequence[str]],
        carried: Sequence[tuple[str, str]] = (),
        type: str = "i32",
        below: str = "slt",
    ) -> list[str]:
        """``for i in range(lo, hi, step)``; carried (type, start) values go round, their last values come back."""
        if isinstance(lo, int) and isinstance(hi, int) and isinstance(step, int):
            trips = max(0, -(-(hi - lo) // step))
            if trips == 0:
                return [start for _, start in carried]
            if trips == 1:
                return list(body(Coord(str(lo)), [start for _, start in carried]))
        else:
            trips = 0  # not known
        k = self.fresh("L")[1:]
        self.push()
        i = f"%{k}i"
        if trips and isinstance(lo, int) and isinstance(step, int):
            self.spans[i] = (lo, lo + (trips - 1) * step)
        args = [f"%{k}a{n}" for n in range(len(carried))]
        results = body(Coord(i, self.depth), args)
        code = self.pop()
        out = self.stack[-1]
        out += [f"  br label %{k}p", f"{k}p:", f"  br label %{k}h", f"{k}h:"]
        out.append(f"  {i} = phi {type} [ {lo}, %{k}p ], [ {i}n, %{k}l ]")
        for a, r, (t, start) in zip(args, results, carried, strict=True):
            out.append(f"  {a} = phi {t} [ {start}, %{k}p ], [ {r}, %{k}l ]")
        if trips:  # at least one: test at the bottom
            out += code
            out += [f"  br label %{k}l", f"{k}l:", f"  {i}n = add nsw {type} {i}, {step}"]
            out += [f"  {i}c = icmp {below} {type} {i}n, {hi}", f"  br i1 {i}c, label %{k}h, label %{k}e", f"{k}e:"]
            return list(results)
        out += [f"  {i}c = icmp {below} {type} {i}, {hi}", f"  br i1 {i}c, label %{k}b, label %{k}e", f"{k}b:"]
        out += code
        out += [f"  br label %{k}l", f"{k}l:", f"  {i}n = add nsw {type} {i}, {step}", f"  br label %{k}h", f"{k}e:"]
        return args

    def nest(self, shape: Sequence[int], vaxis: int | None, body: Callable[[Coords], None], width: int = 0,
             cuts: Sequence[int] = ()) -> None:  # fmt: skip
        """Loops over a block; axis ``vaxis`` goes innermost, in vectors of ``width`` (default: the register's).

        cuts  where the innermost loop is cut in parts, each written out
        """
        order = [d for d in range(len(shape)) if d != vaxis] + ([vaxis] if vaxis is not None else [])
        coords = [ZERO] * len(shape)

        def go(left: list[int]) -> None:
            if not left:
                body(tuple(coords))
                return
            d = left[0]
            vl = min(width or self.lanes, shape[d]) if d == vaxis else 0
            vl = 0 if vl == 1 else vl

            def inner(c: Coord, _: list[str]) -> list[str]:
                coords[d] = replace(c, vl=vl)
                go(left[1:])
                return []

            step = max(vl, 1)
            ends = [c for c in sorted({c // step * step for c in cuts}) if 0 < c < shape[d]] if d == vaxis else []
            for lo, hi in itertools.pairwise((0, *ends, shape[d])):
                self.loop(lo, hi, step, inner)

        go(order)

    # ---- branches ----------------------------------------------------------------------------------------------
    def when(self, condition: str, body: Callable[[], None]) -> None:
        """Run code under an i1."""
        if condition == "1":
            body()
        elif condition != "0":
            k = self.fresh("I")[1:]
            self.emit(f"br i1 {condition}, label %{k}t, label %{k}e")
            self.label(f"{k}t")
            body()
            self.emit(f"br label %{k}e")
            self.label(f"{k}e")

    def either(
        self,
        condition: str,
        yes: Callable[[], Sequence[str] | None],
        no: Callable[[], Sequence[str] | None],
        types: Sequence[str] = (),
    ) -> list[str]:
        """One of two pieces of code, each a level of its own. What they yield, of these types, comes back."""
        k = self.fresh("E")[1:]
        results = [self.fresh() for _ in types]
        yields, parts = [], []
        for body in (yes, no):
            self.push()
            yields.append(body() or ())
            parts.append(self.pop())
        out = self.stack[-1]
        out.append(f"  br i1 {condition}, label %{k}t, label %{k}f")
        for side, part in zip("tf", parts, strict=True):
            out += [f"{k}{side}:", *part, f"  br label %{k}{side}e", f"{k}{side}e:", f"  br label %{k}e"]
        out.append(f"{k}e:")
        for name, t, one, other in zip(results, types, *yields, strict=True):
            out.append(f"  {name} = phi {t} [ {one}, %{k}te ], [ {other}, %{k}fe ]")
        return results

    # ---- vectors -----------------------------------------------------------------------------------------------
    def widen(self, r: Res, elem: str, vl: int) -> str:
        """The value in every lane."""
        if r.vl == vl or vl == 0:
            assert vl or not r.vl
            return r.v
        assert not r.vl, (r, vl)
        t = llvm_type(elem)
        if r.constant and not r.v.startswith("@"):
            if r.v == "poison":
                return r.v
            return f"splat ({t} {r.v})"
        key = ("wide", r.v, elem, vl)
        if key not in self.memo:
            one = self.let(r.lvl, f"insertelement <{vl} x {t}> poison, {t} {r.v}, i32 0")
            zero = f"<{vl} x i32> zeroinitializer"
            self.memo[key] = Res(
                self.let(r.lvl, f"shufflevector <{vl} x {t}> {one}, <{vl} x {t}> poison, {zero}"), r.lvl, vl
            )
        return self.memo[key].v

    def plus(self, c: Coord, offset: int | Coord) -> Coord:
        """An index moved by a number or another index; lanes are kept."""
        if isinstance(offset, int):
            offset = Coord(str(offset))
        if c.number is not None and offset.number is not None:
            return replace(c, name=str(c.number + offset.number))
        if offset.number == 0:
            return c
        if c.number == 0:
            return Coord(offset.name, offset.lvl, c.vl, c.step)
        lvl = max(c.lvl, offset.lvl)
        key = ("plus", c.name, offset.name)
        if key not in self.memo:
            self.memo[key] = Res(self.let(lvl, f"add nsw i32 {c.name}, {offset.name}"), lvl)
            self.sums[self.memo[key].v] = (Res(c.name, c.lvl), Res(offset.name, offset.lvl))
            if offset.number is not None and c.name in self.spans:
                low, high = self.spans[c.name]
                self.spans[self.memo[key].v] = (low + offset.number, high + offset.number)
        return replace(c, name=self.memo[key].v, lvl=lvl)

    def times(self, c: Coord, factor: int) -> Coord:
        """An index times a number; lanes are spread by it."""
        step = c.step * factor if c.vl else c.step
        if c.number is not None:
            return replace(c, name=str(c.number * factor), step=step)
        if factor == 1:
            return c
        if c.name in self.sums:
            base, offset = self.sums[c.name]
            rising = offset.v.isdigit() and self.spans.get(base.v, (-1, 0))[0] >= 0
            if rising:  # then base * factor fits where the sum's does
                # LLVM would multiply out too, but forget that nothing overflows, and compute each row's address anew.
                total = self.plus(self.times(Coord(base.v, base.lvl), factor), int(offset.v) * factor)
                return replace(c, name=total.name, lvl=total.lvl, step=step)
        key = ("times", c.name, factor)
        if key not in self.memo:
            self.memo[key] = Res(self.let(c.lvl, f"mul nsw i32 {c.name}, {factor}"), c.lvl)
            if c.name in self.spans and factor > 0:
                low, high = self.spans[c.name]
                self.spans[self.memo[key].v] = (low * factor, high * factor)
        return replace(c, name=self.memo[key].v, step=step)

    def index(self, c: Coord, start: int = 0) -> Res:
        """The index as an i32 value, a vector when it has lanes."""
        c = self.plus(c, start)
        if not c.vl:
            return Res(c.name, c.lvl)
        if c.number is not None:
            return Res("<" + ", ".join(f"i32 {c.number + k * c.step}" for k in range(c.vl)) + ">", 0, c.vl)
        key = ("index", c)
        if key not in self.memo:
            lanes = "<" + ", ".join(f"i32 {k * c.step}" for k in range(c.vl)) + ">"
            base = self.widen(Res(c.name, c.lvl), "i32", c.vl)
            self.memo[key] = Res(self.let(c.lvl, f"add <{c.vl} x i32> {base}, {lanes}"), c.lvl, c.vl)
        return self.memo[key]

    def element(self, ptr: Res, elem: str, coords: Sequence[Coord], strides: Sequence[int]) -> Res:
        """Address of an element of strided memory (of lane 0)."""
        fixed = 0
        for c, s in sorted(zip(coords, strides, strict=True), key=lambda cs: cs[0].lvl):
            if c.number is not None:
                fixed += c.number * s
            elif s:
                at = self.times(c.first(), s)
                lvl = max(ptr.lvl, at.lvl)
                ptr = Res(
                    self.let(lvl, f"getelementptr inbounds {llvm_type(stored(elem))}, ptr {ptr.v}, i32 {at.name}"), lvl
                )
        return self.offset(ptr, elem, fixed)

    def offset(self, ptr: Res, elem: str, count: int) -> Res:
        """Address moved by a fixed number of elements."""
        if not count:
            return ptr
        text = f"getelementptr inbounds {llvm_type(stored(elem))}, ptr {ptr.v}, i64 {count}"
        return Res(self.let(ptr.lvl, text), ptr.lvl)
