"""How indices and addresses are written: products multiplied out where nothing can overflow, so that LLVM knows that nothing
does; an address added up from what changes least.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritoncnn.cpu.emit.arith import add_pointer
from tritoncnn.cpu.emit.builder import Builder
from tritoncnn.cpu.emit.values import Coord, Res
from tritoncnn.cpu.front.ttir import Op, Type, Value


@pytest.mark.parametrize(
    ("least", "offset", "written_out"),
    [(0, 3, True), (-1, 3, False), (0, -3, False)],  # from 0 on; below 0, or lowered: base * factor may not fit
)
def test_a_moved_index_times_a_number_is_written_out_where_both_products_fit(
    least: int, offset: int, written_out: bool
) -> None:
    code = Builder(lanes=8)
    code.spans["%i"] = (least, least + 15)
    code.times(code.plus(Coord("%i"), offset), 784)
    last = code.stack[0][-1]
    assert last.endswith(f", {784 * offset}" if written_out else ", 784")
    assert ("add nsw" in last) == written_out


def pointer_op(pointee: str = "f32", index: str = "i32") -> Any:
    """What is asked of a ``tt.addptr``."""
    return Op("tt.addptr", [Value("%p", Type((), "ptr", pointee)), Value("%i", Type((), index))],
              [Value("%q", Type((), "ptr", pointee))], {"words": []}, "", 0)  # fmt: skip


def steps_to(code: Builder, at: Res) -> list[tuple[int, str, str]]:
    """(level, pointee, offset) of each addition on the way to an address, the first one first."""
    made = {
        found[1]: (lvl, *found.group(2, 3, 4))
        for lvl, lines in enumerate(code.stack)
        for line in lines
        if (found := re.match(r"\s+(\S+) = getelementptr (\w+), ptr (\S+), \w+ (\S+)", line))
    }
    steps, name = [], at.v
    while name in made:
        lvl, pointee, name, offset = made[name]
        steps.append((lvl, pointee, offset))
    return steps[::-1]


TERMS = st.one_of(st.integers(0, 9).map(lambda n: Res(str(n))), st.integers(0, 3).map(lambda lvl: Res(f"%i{lvl}", lvl)))


@given(st.lists(st.lists(TERMS, min_size=1, max_size=3), min_size=1, max_size=5))
def test_addresses_are_added_up_from_what_changes_least_numbers_last(moves: list[list[Res]]) -> None:
    """Each move is a sum of terms; the address is that of all of them, and an inner loop adds what changes in it alone."""
    code: Any = Builder(lanes=8)
    for _ in range(3):
        code.push()
    at, wanted = Res("%p"), []
    for turn, terms in enumerate(moves):
        offset = terms[0]
        for n, term in enumerate(terms[1:]):
            name = f"%sum{turn}.{n}"
            code.sums[name] = (offset, term)
            offset = Res(name, max(offset.lvl, term.lvl))
        at = add_pointer(code, pointer_op(), [at, offset])
        if offset.v != "0":
            wanted += terms
    steps = steps_to(code, at)
    assert sorted(offset for *_, offset in steps) == sorted(term.v for term in wanted)
    levels = [int(offset[2:]) if offset.startswith("%") else 4 for *_, offset in steps]
    assert levels == sorted(levels)
    assert [lvl for lvl, *_ in steps] == [max([0, *(n for n in levels[: k + 1] if n < 4)]) for k in range(len(levels))]


def test_a_pointer_that_was_cast_begins_anew_and_equal_addresses_are_one() -> None:
    code: Any = Builder(lanes=8)
    i = Res("%i0")
    first = add_pointer(code, pointer_op(), [Res("%p"), i])
    assert add_pointer(code, pointer_op(), [Res("%p"), i]) == first
    bytes_on = add_pointer(code, pointer_op("i8"), [first, Res("3")])
    assert steps_to(code, bytes_on) == [(0, "float", "%i0"), (0, "i8", "3")]
