"""Figures of matplotlib as PNG files. It is imported when a figure is made, which takes half a second."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure, in inches. No pyplot, so no window system."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def to_png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DPI)
    return picture.getvalue()


def show(axes: Any, picture: NDArray[np.floating], title: str = "") -> None:
    """Show a picture [C,H,W] of 1 or 3 channels in [0, 1]; values outside are cut."""
    values = np.clip(picture, 0, 1)
    axes.imshow(values.transpose(1, 2, 0) if len(values) == 3 else values[0], cmap="gray", vmin=0, vmax=1)
    axes.set_title(title, fontsize=7)
    axes.set_axis_off()


def plain(name: str) -> str:
    """A name as matplotlib shows it, cut to 16 letters: $ would begin a formula."""
    short = name if len(name) <= 16 else name[:15] + "…"
    return short.encode("utf-8", "replace").decode().replace("$", r"\$")
