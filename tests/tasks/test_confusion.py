from __future__ import annotations

import numpy as np
import pytest
import torch

from tritoncnn.data import Examples, Facts
from tritoncnn.tasks.kinds.baselines import most_frequent, nearest_colour, nearest_picture
from tritoncnn.tasks.kinds.confusion import Confusion, draw_mistakes, worst_mistakes


def test_tables_of_classes_are_counted_rightly() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    found = torch.tensor([0, 0, 1, 1, 2, 1])
    probabilities = torch.nn.functional.one_hot(found, 4) * 0.7 + 0.075
    probabilities[2, 1] += 0.2
    names = ("a", "b", "c", "d")
    confusion = Confusion.of(names, probabilities, labels)
    assert confusion.counts.tolist() == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    rows = {row.pop("class"): list(row.values()) for row in confusion.per_class()}
    assert rows["a"] == [3, 1.0, pytest.approx(2 / 3), pytest.approx(0.8)]
    assert rows["b"] == [2, pytest.approx(1 / 3), 0.5, pytest.approx(0.4)]
    assert rows["c"] == [1, 0.0, 0.0, 0.0]
    assert rows["d"] == [0, None, None, None]
    assert confusion.mixed_up(2) == [("a", "b", 1), ("b", "c", 1)]
    assert len(confusion.mixed_up(9)) == 3
    mistakes = worst_mistakes(names, probabilities, labels)
    assert [(m.number, m.label, m.found) for m in mistakes] == [(2, "a", "b"), (4, "b", "c"), (5, "c", "b")]


@pytest.mark.parametrize("wrong", [0, 1, 60])
def test_galleries_of_few_and_many_mistakes_are_drawn(wrong: int) -> None:
    names = ("$a", "a class with a long name \x00 $b$")
    labels = torch.zeros(60, dtype=torch.int64)
    probabilities = torch.tensor([[0.4, 0.6]] * wrong + [[0.9, 0.1]] * (60 - wrong))
    facts = Facts(names, (0.0,), (1.0,))
    mistakes = worst_mistakes(names, probabilities, labels)
    assert len(mistakes) == wrong
    drawn = draw_mistakes(mistakes, torch.zeros(60, 1, 5, 5), facts), Confusion.of(names, probabilities, labels).draw()
    assert all(picture.startswith(b"\x89PNG") for picture in drawn)


def test_baselines_are_counted_rightly() -> None:
    facts = Facts(("a", "b", "c"), (0.5, 0.5, 0.5), (2.0, 0.5, 1.0))
    pictures = np.zeros((4, 3, 2, 2), np.float32)
    pictures[1:3, 0] = 1.0  # red, the others black
    x = facts.normalise(pictures)
    train = Examples(x, torch.tensor([0, 2, 2, 0]))  # of one class there is no picture
    test = Examples(x, torch.tensor([0, 2, 0, 1]))
    for baseline in (nearest_colour, nearest_picture):
        assert baseline(facts, train, test, {}).value == 0.5
    halves = np.zeros((2, 3, 2, 2), np.float32)
    halves[0, :, 0] = halves[1, :, 1] = 1.0  # light above, light below: alike in mean
    parted = Examples(facts.normalise(halves), torch.tensor([0, 1]))
    assert nearest_picture(facts, parted, parted, {}).value == 1.0
    assert nearest_colour(facts, parted, parted, {}).value == 0.5
    assert most_frequent(facts, Examples(x, torch.tensor([1, 2, 2, 0])), test, {})[:2] == ("always saying 'c'", 0.25)
