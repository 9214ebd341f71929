"""Right-hand factors in panels: blocks of B columns, each of which lies front to back in memory, as [columns / B, rows, B].

A program that makes B columns of a result then reads its part of the factor as one stream. In rows of all columns it would
touch a few cache lines of each row, and rows lie a page apart: memory gives those at half of its speed.
"""

from __future__ import annotations

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import power_of_2

WIDTHS = (64, 32, 16)  # of a panel, the best first: so many columns does a program make
WHOLE_ROWS = 256  # that one step may read


def panel_width(columns: int) -> int:
    """How many of so many columns make a panel; 0 where they are no more than one program makes, or leave a rest."""
    return next((width for width in WIDTHS if columns > WIDTHS[0] and columns % width == 0), 0)


def panel_step(rows: int) -> int:
    """How many rows of a panel a step reads: 64, which stay in the first cache while tiles go over them, or 32, whichever
    divides; else all, up to WHOLE_ROWS; else 16, or 64 with a rest."""
    if rows % 32 == 0:
        return 64 if rows % 64 == 0 else 32
    if rows <= WHOLE_ROWS:
        return power_of_2(rows)
    return 16 if rows % 16 == 0 else 64


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
