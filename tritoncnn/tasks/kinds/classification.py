"""Classification: one picture in, one logit per class out; cross-entropy; the share of pictures whose class is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from tritoncnn.data import Examples, Facts, Reader, Targets
from tritoncnn.errors import InputError
from tritoncnn.flags import Row
from tritoncnn.task import Answer, Ask, Build, Example, Metric, Recipe, Report, Sceptic, Side, Task, Values
from tritoncnn.tasks.kinds.baselines import most_frequent
from tritoncnn.tasks.kinds.confusion import Confusion, draw_mistakes, worst_mistakes
from tritoncnn.tasks.kinds.gallery import draw_examples, draw_filters


def classification(
    *,
    name: str,
    about: str,
    models: Mapping[str, Callable[..., torch.nn.Module]],
    data: tuple[str, ...],
    read: Reader,
    shape: tuple[int, int, int],
    classes: int,
    recipe: Recipe,
    recipes: Mapping[str, Recipe],
    sides: Mapping[str, Side] | None = None,
    loss: Callable[..., torch.Tensor] = F.cross_entropy,
    more: Mapping[str, Metric] | None = None,
    options: tuple[Row, ...] = (),
    clash: Callable[[Values], None] | None = None,
    gallery: bool = False,
    baseline: Sceptic = most_frequent,
) -> Task:
    """A task whose ``models`` are built from the numbers of classes and of the pictures' channels, and its ``options`` by name.

    ``shape`` (C, H, W) and ``classes`` are those of the default data; ``more`` metrics stand behind loss and accuracy.
    ``gallery``: the filters of the first layer are drawn, and examples of each class. ``loss`` takes ``label_smoothing`` as
    ``F.cross_entropy`` does.
    """

    def example(batch: int) -> Example:
        facts = Facts(tuple(map(str, range(classes))), (0.0,) * shape[0], (1.0,) * shape[0])
        return Example(torch.zeros(batch, *shape), torch.zeros(batch, dtype=torch.int64), facts)

    return Task(
        name=name,
        about=about,
        models={model: for_classes(build) for model, build in models.items()},
        data=data,
        loss=loss,
        metrics={
            "test_loss": Metric(cross_entropy, loss=True),
            "accuracy": Metric(accuracy, percent=True),
            **(more or {}),
        },
        best="accuracy",
        example=example,
        read=read,
        answer=most_probable,
        recipe=recipe,
        recipes=recipes,
        sides=sides or {},
        pictures={"confusion.png": draw_confusion, "mistakes.png": draw_worst}
        | ({"examples.png": draw_examples} if gallery else {}),
        portraits={"filters.png": draw_filters} if gallery else {},
        report=tell_classes,
        options=options,
        clash=clash,
        targets=Targets.CLASSES,
        baseline=baseline,
        soft_loss=lambda smoothing: partial(loss, label_smoothing=smoothing),
    )


def for_classes(build: Callable[..., torch.nn.Module]) -> Build:
    """``build`` of the numbers of classes and channels, as a task wants it."""

    def build_from(facts: Facts, **own: Any) -> torch.nn.Module:
        if len(facts.classes) < 2:
            raise InputError(f"classes must be a list of 2 or more names; got {list(facts.classes)}")
        return build(len(facts.classes), len(facts.mean), **own)

    return build_from


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean over all pictures, in f64."""
    return float(F.cross_entropy(logits.double(), labels))


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of pictures whose largest logit is their label's."""
    return float((logits.argmax(1) == labels).sum()) / len(labels)


def top5(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of pictures whose label is among the 5 largest logits; of 5 classes or fewer, all of them."""
    found = logits.topk(min(5, logits.shape[1])).indices
    return float((found == labels[:, None]).any(1).sum()) / len(labels)


def most_probable(logits: torch.Tensor, facts: Facts, ask: Ask) -> list[Answer]:
    """The classes that are asked for, with their probabilities, the most probable first."""
    values, indices = torch.softmax(logits.double(), 1).topk(min(ask.top, len(facts.classes)))
    answers = []
    for row_v, row_i in zip(values.tolist(), indices.tolist(), strict=True):
        found = [(facts.classes[i], value) for i, value in zip(row_i, row_v, strict=True) if value >= ask.score]
        note = {"top": [{"class": name, "probability": value} for name, value in found]}
        lines = tuple(f"{value:7.2%}  {name}" for name, value in found)
        answers.append(Answer(note, lines or (f"no class has a probability of {ask.score:.2%}",)))
    return answers


def probabilities(logits: torch.Tensor) -> torch.Tensor:
    return torch.softmax(logits.double(), 1)


def tell_classes(logits: torch.Tensor, examples: Examples, facts: Facts) -> Report:
    """How well each class is found, and every mistake."""
    confusion = Confusion.of(facts.classes, logits, examples.y)
    mistakes = worst_mistakes(facts.classes, probabilities(logits), examples.y)
    note = {
        "classes": confusion.per_class(),
        "confusion": confusion.counts.tolist(),
        "mistakes": [vars(mistake) for mistake in mistakes],
    }
    return Report(note, tuple(confusion.lines()))


def draw_confusion(logits: torch.Tensor, examples: Examples, facts: Facts) -> bytes:
    return Confusion.of(facts.classes, logits, examples.y).draw()


def draw_worst(logits: torch.Tensor, examples: Examples, facts: Facts) -> bytes:
    return draw_mistakes(worst_mistakes(facts.classes, probabilities(logits), examples.y), examples.x, facts)
