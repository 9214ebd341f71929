"""Filters: made by hand and laid on pictures, or found between two pictures."""

from tritoncnn.filters.apply import BORDERS, apply_filter
from tritoncnn.filters.learn import Learned, learn_filter, write_learned
from tritoncnn.filters.taps import Filter, named_filter, own_filter
from tritoncnn.filters.write import write_filtered

__all__ = [
    "BORDERS", "Filter", "Learned", "apply_filter", "learn_filter", "named_filter", "own_filter", "write_filtered",
    "write_learned",
]  # fmt: skip
