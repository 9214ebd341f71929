"""curves.png: losses, and the task's best metric, over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tritoncnn.figure import new_figure, to_png
from tritoncnn.task import Task

MARKED = 40  # epochs up to which each has a dot


def draw_curves(task: Task, title: str, rows: Sequence[Mapping[str, float]]) -> bytes:
    """Draw the rows of metrics.jsonl: a PNG. What the first rows lack begins later."""
    from matplotlib.ticker import MaxNLocator  # late: half a second

    figure = new_figure(9, 3.5)
    epochs = [row["epoch"] for row in rows]
    marker = "." if len(rows) <= MARKED else ""
    left, right = figure.subplots(1, 2)
    best = task.metrics[task.best]
    losses = [*task.step.columns, *(name for name, metric in task.metrics.items() if metric.loss and name != task.best)]
    for name in losses:
        known = [(row["epoch"], row[name]) for row in rows if name in row]
        if known:
            left.plot(*zip(*known, strict=True), marker=marker, label=name.replace("_", " "))
    positive = all(row[name] > 0 for row in rows for name in losses if name in row)
    left.set(title=title, xlabel="epoch", ylabel="loss", yscale="log" if positive else "linear")
    left.legend()
    scale = 100 if best.percent else 1
    right.plot(epochs, [scale * row[task.best] for row in rows], marker=marker, color="tab:green")
    label = task.best.replace("_", " ") + (" in %" if best.percent else "")
    right.set(title=f"{best.show(rows[-1][task.best])} in the end", xlabel="epoch", ylabel=label)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(rows) == 1:
            axes.set(xlim=(0.5, 1.5), xticks=[1])
    return to_png(figure)
