"""Right-hand factors in panels: blocks of B columns, each of which lies front to back in memory, as [columns / B, rows, B].

A program that makes B columns of a result then reads its part of the factor as one stream. In rows of all columns it would
touch a few cache lines of each row, and rows lie a page apart: memory gives those at half of its speed.
"""

from __future__ import annotations

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.ir import TensorType

WIDTHS = (64, 32)  # of a panel, the best first: so many columns does a program make
ROWS = 64, 32, 16  # of a panel, read in one step: they stay in the first cache while tiles go over them; the best first


def panel_width(columns: int) -> int:
    """How many of so many columns make a panel; 0 where they are no more than one program makes, or leave a rest."""
    return next((width for width in WIDTHS if columns > WIDTHS[0] and columns % width == 0), 0)


def check_panels(op: str, name: str, panels: TensorType) -> tuple[int, int]:
    """(rows, columns) of a factor in panels. Raises ShapeError, UnsupportedError."""
    if panels.rank != 3 or panels.shape[2] not in WIDTHS:
        raise ShapeError(f"{op}: {name} in panels must be [panels, rows, one of {WIDTHS}]; got {list(panels.shape)}")
    if panels.strides != TensorType.dense(panels.dtype, panels.shape).strides:
        raise UnsupportedError(f"{op}: {name} in panels must lie row-major; got strides {list(panels.strides)}")
    count, rows, width = panels.shape
    return rows, count * width


def panel_gap(panels: TensorType) -> int:
    """Elements from where the next columns would follow in a row to where the next panel begins."""
    _, rows, width = panels.shape
    return rows * width - width
