"""How well each class is found: confusion matrix, precision, recall, the worst mistakes; as numbers and as pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tritoncnn.atomic import write_file
from tritoncnn.data import Facts

SHOWN = 24  # worst mistakes in the gallery
MARKED = 20  # classes up to which the matrix has names and numbers


@dataclass(frozen=True)
class Confusion:
    """counts i64[classes,classes]: pictures by their class (rows) and by what was found (columns)."""

    classes: tuple[str, ...]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, classes: Sequence[str], probabilities: torch.Tensor, labels: torch.Tensor) -> Confusion:
        counts = np.zeros((len(classes), len(classes)), np.int64)
        np.add.at(counts, (labels.numpy(), probabilities.argmax(1).numpy()), 1)
        return cls(tuple(classes), counts)

    def per_class(self) -> list[dict[str, Any]]:
        """For each class its pictures, precision, recall and F1; None where there is nothing to divide by."""
        rows = []
        for i, name in enumerate(self.classes):
            right, there, said = int(self.counts[i, i]), int(self.counts[i].sum()), int(self.counts[:, i].sum())
            rows.append({
                "class": name,
                "pictures": there,
                "precision": right / said if said else None,
                "recall": right / there if there else None,
                "f1": 2 * right / (there + said) if there + said else None,
            })  # fmt: skip
        return rows

    def mixed_up(self, most: int) -> list[tuple[str, str, int]]:
        """(class, what it was taken for, how often), the most frequent first."""
        off = self.counts * ~np.eye(len(self.classes), dtype=bool)
        places = np.argsort(-off, axis=None, kind="stable")[:most]
        found = [(int(i), int(j)) for i, j in zip(*np.unravel_index(places, off.shape), strict=True)]
        return [(self.classes[i], self.classes[j], int(off[i, j])) for i, j in found if off[i, j]]

    def draw(self, path: Path) -> None:
        """The matrix as a picture: each row's shares as colour, its counts as numbers. Raises SaveError."""
        figure, canvas = _figure((7, 6))
        axes = figure.subplots()
        shares = self.counts / np.maximum(1, self.counts.sum(1, keepdims=True))
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        figure.colorbar(image, label="share of the class's pictures")
        axes.set(xlabel="found", ylabel="class")
        if len(self.classes) <= MARKED:
            axes.set_xticks(range(len(self.classes)), map(_plain, self.classes), rotation=90)
            axes.set_yticks(range(len(self.classes)), map(_plain, self.classes))
            for i, j in np.argwhere(self.counts):
                colour = "white" if shares[i, j] > 0.5 else "black"
                axes.text(j, i, str(self.counts[i, j]), ha="center", va="center", color=colour, fontsize=8)
        _write(path, canvas)


@dataclass(frozen=True)
class Mistake:
    """A test picture taken for another class: its place in the part, both classes, and the probability of the wrong one."""

    number: int
    label: str
    found: str
    probability: float


def worst_mistakes(classes: Sequence[str], probabilities: torch.Tensor, labels: torch.Tensor) -> list[Mistake]:
    """All pictures taken for another class, the surest first."""
    sure, found = probabilities.double().max(1)
    wrong = (found != labels).nonzero()[:, 0]
    order = wrong[torch.argsort(sure[wrong], descending=True, stable=True)]
    return [Mistake(i, classes[int(labels[i])], classes[int(found[i])], float(sure[i])) for i in order.tolist()]


def draw_mistakes(path: Path, mistakes: Sequence[Mistake], x: torch.Tensor, facts: Facts) -> None:
    """The surest mistakes as a picture; ``x`` are the pictures as the model had them. Raises SaveError."""
    shown = mistakes[:SHOWN]
    columns = min(6, max(1, len(shown)))
    lines = max(1, -(-len(shown) // columns))
    figure, canvas = _figure((1.6 * columns + 0.4, 1.9 * lines + 0.5))
    figure.suptitle("the surest mistakes" if shown else "no mistakes")
    for place, mistake in enumerate(shown):
        axes = figure.add_subplot(lines, columns, place + 1)
        picture = np.clip(facts.restore(x[mistake.number]), 0, 1)
        coloured = picture.transpose(1, 2, 0) if len(picture) == 3 else picture[0]
        axes.imshow(coloured, cmap="gray", vmin=0, vmax=1)
        title = f"{_plain(mistake.label)} taken for {_plain(mistake.found)}\n{mistake.probability:.0%} sure"
        axes.set_title(title, fontsize=7)
        axes.set_axis_off()
    _write(path, canvas)


def _plain(name: str) -> str:
    """A name as matplotlib shows it: $ would begin a formula."""
    short = name if len(name) <= 16 else name[:15] + "…"
    return short.encode("utf-8", "replace").decode().replace("$", r"\$")


def _figure(size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # late: half a second
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, FigureCanvasAgg(figure)


def _write(path: Path, canvas: Any) -> None:
    picture = io.BytesIO()
    canvas.print_figure(picture, format="png", dpi=110)
    write_file(path, picture.getvalue())
