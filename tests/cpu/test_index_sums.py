"""How products of indices are written: multiplied out where nothing can overflow, so that LLVM knows that nothing does."""

from __future__ import annotations

import pytest

from tritoncnn.cpu.emit.builder import Builder
from tritoncnn.cpu.emit.values import Coord


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
