"""How well each class is found: confusion matrix, precision, recall, the worst mistakes; as numbers and as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tritoncnn.data import Facts
from tritoncnn.figure import new_figure, plain, show, to_png

SHOWN = 24  # worst mistakes in the gallery
MARKED = 20  # classes up to which the matrix has names and numbers


@dataclass(frozen=True)
class Confusion:
    """counts i64[classes,classes]: pictures by their class (rows) and by what was found (columns)."""

    classes: tuple[str, ...]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, classes: Sequence[str], probabilities: torch.Tensor, labels: torch.Tensor) -> Confusion:
        from sklearn.metrics import confusion_matrix  # late: a second

        found = probabilities.argmax(1).numpy()
        return cls(tuple(classes), confusion_matrix(labels.numpy(), found, labels=range(len(classes))))

    def per_class(self) -> list[dict[str, Any]]:
        """For each class its pictures, precision, recall and F1; None where there is nothing to divide by."""
        from sklearn.metrics import precision_recall_fscore_support

        labels, found = np.indices(self.counts.shape).reshape(2, -1)
        scores = precision_recall_fscore_support(
            labels, found, labels=range(len(self.classes)), sample_weight=self.counts.reshape(-1), zero_division=np.nan
        )
        shares = [[None if np.isnan(value) else float(value) for value in row] for row in zip(*scores[:3], strict=True)]
        return [
            {"class": name, "pictures": int(there), "precision": precision, "recall": recall, "f1": f1}
            for name, there, (precision, recall, f1) in zip(self.classes, self.counts.sum(1), shares, strict=True)
        ]

    def mixed_up(self, most: int) -> list[tuple[str, str, int]]:
        """(class, what it was taken for, how often), the most frequent first."""
        off = self.counts * ~np.eye(len(self.classes), dtype=bool)
        places = np.argsort(-off, axis=None, kind="stable")[:most]
        found = [(int(i), int(j)) for i, j in zip(*np.unravel_index(places, off.shape), strict=True)]
        return [(self.classes[i], self.classes[j], int(off[i, j])) for i, j in found if off[i, j]]

    def draw(self, what: str = "pictures") -> bytes:
        """The matrix as a PNG: each row's shares as colour, its counts, of ``what``, as numbers."""
        figure = new_figure(7, 6)
        axes = figure.subplots()
        shares = self.counts / np.maximum(1, self.counts.sum(1, keepdims=True))
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        figure.colorbar(image, label=f"share of the class's {what}")
        axes.set(xlabel="found", ylabel="class")
        if len(self.classes) <= MARKED:
            axes.set_xticks(range(len(self.classes)), map(plain, self.classes), rotation=90)
            axes.set_yticks(range(len(self.classes)), map(plain, self.classes))
            for i, j in np.argwhere(self.counts):
                colour = "white" if shares[i, j] > 0.5 else "black"
                axes.text(j, i, str(self.counts[i, j]), ha="center", va="center", color=colour, fontsize=8)
        return to_png(figure)

    def lines(self) -> list[str]:
        """A line per class, then which classes are taken for which."""
        wide = max(len("class"), *map(len, self.classes))
        lines = ["", f"{'class':{wide}}  pictures  precision   recall       F1"]
        for row in self.per_class():
            shares = ("-" if row[name] is None else f"{row[name]:.2%}" for name in ("precision", "recall", "f1"))
            precision, recall, f1 = shares
            lines.append(f"{row['class']:{wide}}  {row['pictures']:8}  {precision:>9}  {recall:>7}  {f1:>7}")
        mixed = self.mixed_up(5)
        if mixed:
            said = ", ".join(f"{a} taken for {b} ({count})" for a, b, count in mixed)
            lines += ["", f"most often mixed up: {said}"]
        return lines


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


def draw_mistakes(mistakes: Sequence[Mistake], x: torch.Tensor, facts: Facts) -> bytes:
    """The surest mistakes as a PNG; ``x`` are the pictures as the model had them."""
    shown = mistakes[:SHOWN]
    columns = min(6, max(1, len(shown)))
    lines = max(1, -(-len(shown) // columns))
    figure = new_figure(1.6 * columns + 0.4, 1.9 * lines + 0.5)
    figure.suptitle("the surest mistakes" if shown else "no mistakes")
    for place, mistake in enumerate(shown):
        axes = figure.add_subplot(lines, columns, place + 1)
        title = f"{plain(mistake.label)} taken for {plain(mistake.found)}\n{mistake.probability:.0%} sure"
        show(axes, facts.restore(x[mistake.number]), title)
    return to_png(figure)
