from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from tritoncnn.data import Examples, Facts
from tritoncnn.tasks import find_task
from tritoncnn.tasks.kinds.gallery import GREEN, RED, RIGHT, WRONG, draw_examples, draw_filters
from tritoncnn.train import Options


def pixels(data: bytes, colour: tuple[float, ...]) -> int:
    """How many pixels are of a colour in [0, 1]."""
    picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), int)
    return int((np.abs(picture - np.array(colour) * 255).max(-1) < 4).sum())


@pytest.mark.parametrize("wrong", [0, 1, 3, WRONG, WRONG + 5])
def test_frames_tell_how_many_examples_are_read_rightly(wrong: int) -> None:
    """Each picture has a frame of one size, so that their numbers go as the coloured pixels do."""
    facts = Facts(("a", "b"), (0.0,), (1.0,))
    y = torch.tensor([0] * 20)
    found = torch.tensor([1] * wrong + [0] * (20 - wrong))
    data = draw_examples(torch.nn.functional.one_hot(found, 2).float(), Examples(torch.randn(20, 1, 8, 8), y), facts)
    green, red = pixels(data, GREEN), pixels(data, RED)
    assert green > 0
    assert red / green == pytest.approx(min(wrong, WRONG) / min(20 - wrong, RIGHT), rel=0.1)


def test_examples_of_many_classes_and_in_colour_are_drawn() -> None:
    facts = Facts(tuple(f"${i}" for i in range(40)), (0.5,) * 3, (1.0,) * 3)
    x = torch.zeros(50, 3, 6, 9)  # blank ones too
    assert draw_examples(torch.randn(50, 40), Examples(x, torch.arange(50) % 40), facts).startswith(b"\x89PNG")


@pytest.mark.parametrize("model", ["filters", "full"])
@pytest.mark.parametrize("depth", [0, 1])
def test_filters_of_each_model_are_drawn(model: str, depth: int) -> None:
    stack = find_task("stack")
    facts = stack.example(1).facts
    weights = Options.of(stack, model=model, depth=depth).build_model(facts).state_dict()
    assert draw_filters(weights, facts).startswith(b"\x89PNG")


def test_filters_show_their_signs() -> None:
    facts = Facts(("a", "b"), (0.0,), (1.0,))
    taps = torch.zeros(4, 1, 3, 3)
    taps[0], taps[1] = 0.01, -5.0  # each on a scale of its own
    data = draw_filters({"conv.bias": torch.ones(4), "conv.weight": taps}, facts)
    ends = [pixels(data, colour) for colour in ((0.404, 0.0, 0.122), (0.02, 0.188, 0.38))]  # the ends of RdBu
    assert Counter(count > 500 for count in ends) == {True: 2}
    assert ends[0] == pytest.approx(ends[1], rel=0.1)
