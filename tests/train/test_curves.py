from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tritoncnn.tasks import find_task
from tritoncnn.train.curves import draw_curves


def rows(count: int, floor: float) -> list[dict[str, float]]:
    return [
        {
            "epoch": i + 1,
            "step": 10 * i,
            "loss": max(floor, 2.0 / (i + 1)),
            "test_loss": 1.0,
            "accuracy": 1 - 1 / (i + 2),
        }
        for i in range(count)
    ]


def coloured(path: Path, colour: tuple[int, int, int]) -> int:
    """How many pixels are near a colour."""
    picture = np.asarray(Image.open(path).convert("RGB"), int)
    return int((np.abs(picture - colour).sum(-1) < 60).sum())


@pytest.mark.parametrize(("count", "floor"), [(1, 0.1), (2, 0.1), (300, 0.001), (5, 0.0), (1, 0.0), (300, 0.0)])
def test_curves_show_every_line_for_any_number_of_epochs_and_a_loss_of_zero(
    tmp_path: Path, count: int, floor: float
) -> None:
    data = [row | ({"loss": 0.0} if not floor and i == count - 1 else {}) for i, row in enumerate(rows(count, floor))]
    (tmp_path / "c.png").write_bytes(draw_curves(find_task("lenet"), "lenet on digits", data))
    for colour in ((31, 119, 180), (255, 127, 14), (44, 160, 44)):  # loss, test loss, accuracy
        assert coloured(tmp_path / "c.png", colour) > 15
