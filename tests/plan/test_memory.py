"""The arena: tensors that live at the same time never share a byte, and reuse happens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tritoncnn.plan.memory import ALIGN, LiveRange, align, pack_ranges

lives = st.tuples(st.integers(0, 12), st.integers(0, 6), st.integers(0, 5000))


@given(st.lists(lives, max_size=25))
def test_tensors_alive_together_never_overlap(spans: list[tuple[int, int, int]]) -> None:
    ranges = [LiveRange(i, nbytes, first, first + length) for i, (first, length, nbytes) in enumerate(spans)]
    offsets, size = pack_ranges(ranges)
    for a in ranges:
        assert offsets[a.key] % ALIGN == 0
        assert offsets[a.key] + a.nbytes <= size
        for b in ranges:
            together = a.key != b.key and a.first <= b.last and b.first <= a.last and a.nbytes and b.nbytes
            if together:
                assert offsets[a.key] + a.nbytes <= offsets[b.key] or offsets[b.key] + b.nbytes <= offsets[a.key]


@given(st.lists(lives, min_size=1, max_size=25))
def test_the_arena_is_at_least_the_busiest_moment_and_at_most_the_sum(spans: list[tuple[int, int, int]]) -> None:
    ranges = [LiveRange(i, nbytes, first, first + length) for i, (first, length, nbytes) in enumerate(spans)]
    _, size = pack_ranges(ranges)
    busiest = max(sum(align(r.nbytes) for r in ranges if r.first <= t <= r.last) for t in range(20))
    assert busiest <= size <= sum(align(r.nbytes) for r in ranges)


def test_a_chain_of_layers_needs_two_buffers() -> None:
    ranges = [LiveRange(i, 1024, i, i + 1) for i in range(10)]
    assert pack_ranges(ranges)[1] == 2 * 1024
