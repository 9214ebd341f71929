"""curves.png: losses and accuracy over the epochs."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from tritoncnn.train.atomic import write_file


def draw_curves(path: Path, title: str, rows: Sequence[Mapping[str, float]]) -> None:
    """Raises SaveError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # late: half a second; no pyplot, so no window system
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    epochs = [row["epoch"] for row in rows]
    left, right = figure.subplots(1, 2)
    for name in ("train_loss", "test_loss"):
        left.plot(epochs, [row[name] for row in rows], marker=".", label=name.replace("_", " "))
    left.set(title=title, xlabel="epoch", ylabel="cross-entropy", yscale="log")
    left.legend()
    right.plot(epochs, [100 * row["test_accuracy"] for row in rows], marker=".", color="tab:green")
    right.set(title=f"{rows[-1]['test_accuracy']:.2%} in the end", xlabel="epoch", ylabel="test accuracy in %")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    write_file(path, picture.getvalue())
