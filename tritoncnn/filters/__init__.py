"""Filters: made by hand and laid on pictures, or found between two pictures."""

from tritoncnn.filters.apply import BORDERS, apply_filter
from tritoncnn.filters.taps import Filter, named_filter, own_filter
from tritoncnn.filters.write import write_filtered

__all__ = ["BORDERS", "Filter", "apply_filter", "named_filter", "own_filter", "write_filtered"]
