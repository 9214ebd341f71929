"""Figures and pictures as PNG files. matplotlib is imported when a figure is made, which takes half a second."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tritoncnn.errors import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

DPI = 110


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure, in inches. No pyplot, so no window system."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def to_png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()


def as_png(picture: Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def levels(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """u8[H,W] or u8[H,W,3] of f32[C,H,W], cut at 0 and 1."""
    rounded = np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)
    return rounded[0] if len(rounded) == 1 else np.ascontiguousarray(rounded.transpose(1, 2, 0))


def show(axes: Any, picture: NDArray[np.floating], title: str = "") -> None:
    """Show a picture [C,H,W] of 1 or 3 channels in [0, 1]; values outside are cut."""
    values = np.clip(picture, 0, 1)
    axes.imshow(values.transpose(1, 2, 0) if len(values) == 3 else values[0], cmap="gray", vmin=0, vmax=1)
    axes.set_title(title, fontsize=7)
    axes.set_axis_off()


def plain(name: str) -> str:
    """A name as matplotlib shows it, cut to 16 letters: $ would begin a formula, and control characters have no glyphs."""
    short = name if len(name) <= 16 else name[:15] + "…"
    return printable(short).replace("$", r"\$")
