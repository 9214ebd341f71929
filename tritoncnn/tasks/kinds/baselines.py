"""What a sceptic would try before any network on pictures in classes: accuracies to compare with."""

from __future__ import annotations

import torch

from tritoncnn.data import Examples, Facts
from tritoncnn.task import Baseline, Values

ROWS = 1024  # test pictures that are compared at a time


def most_frequent(facts: Facts, train: Examples, test: Examples, own: Values) -> Baseline:
    """The share of test pictures of the class that is the most frequent one in training."""
    label = int(train.y.bincount().argmax())
    return Baseline(f"always saying {facts.classes[label]!r}", float((test.y == label).double().mean()))


def nearest_colour(facts: Facts, train: Examples, test: Examples, own: Values) -> Baseline:
    """The share of test pictures whose mean colour is nearer to that of their own class than to any other's."""
    colours = [torch.from_numpy(facts.restore(part.x.mean((2, 3), keepdim=True))) for part in (train, test)]
    return Baseline("the nearest mean colour", _nearest(colours[0], train.y, colours[1], test.y))


def nearest_picture(facts: Facts, train: Examples, test: Examples, own: Values) -> Baseline:
    """The share of test pictures that are nearer to the mean picture of their own class than to any other's."""
    return Baseline("the nearest mean picture", _nearest(train.x, train.y, test.x, test.y))


def nearest_mean(facts: Facts, train: Examples, test: Examples, own: Values) -> Baseline:
    """By mean colours; where all pictures are grey, by mean pictures."""
    grey = bool((train.x == train.x[:, :1]).all())
    return (nearest_picture if grey else nearest_colour)(facts, train, test, own)


def _nearest(known: torch.Tensor, labels: torch.Tensor, asked: torch.Tensor, wanted: torch.Tensor) -> float:
    classes = labels.unique()
    means = torch.stack([known[labels == label].double().mean(0) for label in classes]).flatten(1)
    right = 0
    for rows, own in zip(asked.split(ROWS), wanted.split(ROWS), strict=True):
        found = torch.cdist(rows.double().flatten(1), means).argmin(1)
        right += int((classes[found] == own).sum())
    return right / len(wanted)
