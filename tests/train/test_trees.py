"""A task whose targets and outputs are trees of tensors: a spot in each picture, its place and whether it is light."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.train.runs import StopAt
from tritoncnn.data import SOURCES, Dataset, Examples, Facts, Source
from tritoncnn.errors import InputError
from tritoncnn.task import Answer, Baseline, Example, Metric, Recipe, Report, Task, Values
from tritoncnn.train import Interrupted, Options, measure, rehearse, resume, train

FACTS = Facts((), (0.0,), (1.0,))
SIDE = 8
Targets = dict[str, torch.Tensor]


class Found(NamedTuple):
    place: torch.Tensor
    light: torch.Tensor


class Finder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.place = nn.Linear(8 * SIDE**2, 2)
        self.light = nn.Linear(8 * SIDE**2, 1)

    def forward(self, x: torch.Tensor) -> Found:
        y = F.relu(self.conv(x)).flatten(1)
        return Found(self.place(y), self.light(y)[:, 0])


def spots(count: int, seed: int) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.randint(0, SIDE, (2, count), generator=generator)
    light = torch.randint(0, 2, (count,), generator=generator)
    x = torch.zeros(count, 1, SIDE, SIDE)
    x[range(count), 0, rows, columns] = 2.0 * light - 1.0
    return Examples(x, {"place": torch.stack([rows, columns], 1) / SIDE, "light": light.float()})


def loss(found: Found, wanted: Targets) -> torch.Tensor:
    return F.mse_loss(found.place, wanted["place"]) + F.binary_cross_entropy_with_logits(found.light, wanted["light"])


def distance(found: Found, wanted: Targets) -> float:
    return float((found.place - wanted["place"]).norm(dim=1).mean())


def always_the_middle(facts: Facts, train: Examples, test: Examples, own: Values) -> Baseline:
    found = Found(train.y["place"].mean(0).expand(len(test), 2), train.y["light"])
    return Baseline("always the middle", distance(found, test.y))


def tell(found: Found, examples: Examples, facts: Facts) -> Report:
    farthest = int((found.place - examples.y["place"]).norm(dim=1).argmax())
    return Report({"farthest": farthest}, (f"farthest off: example {farthest}",))


def draw(found: Found, examples: Examples, facts: Facts) -> bytes:
    return json.dumps([len(found.place), len(examples), len(examples.y["light"])]).encode()


SPOTS = Task(
    name="spots",
    about="where a spot is",
    models={"finder": lambda facts: Finder()},
    data=("spots",),
    loss=loss,
    metrics={"distance": Metric(distance, error=True)},
    best="distance",
    example=lambda batch: Example(spots(batch, 0).x, spots(batch, 0).y, FACTS),
    read=lambda path: torch.zeros(1, SIDE, SIDE).numpy(),
    answer=lambda found, facts, ask: [Answer({}, (str(row),)) for row in found.place.tolist()],
    recipe=Recipe(epochs=6, batch=8, steps=1, optimizer="adam", lr=0.01, momentum=0.0, weight_decay=0.0),
    pictures={"found.txt": draw},
    report=tell,
    baseline=always_the_middle,
)


@pytest.fixture(autouse=True)
def data() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        made = Dataset("spots", FACTS, spots(66, 1), spots(19, 2), "1")
        patch.setitem(SOURCES, "spots", Source("spots", "spots", "", lambda folder, read: made))
        yield


def test_trees_are_learned_drawn_told_and_resumed(tmp_path: Path) -> None:
    outcome = train(Options.of(SPOTS), tmp_path / "whole")
    baseline = outcome.summary["baseline"]
    assert baseline["by"] == "always the middle"
    assert outcome.summary["metrics"]["distance"] < 0.8 * baseline["value"]
    assert outcome.summary["files"] == ["curves.png", "found.txt"]
    assert json.loads((tmp_path / "whole" / "found.txt").read_text()) == [19, 19, 19]
    with pytest.raises(Interrupted):
        train(Options.of(SPOTS), tmp_path / "run", StopAt(11))
    resume(SPOTS, tmp_path / "run", {})
    for name in ("model.safetensors", "metrics.jsonl", "found.txt"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    found = measure(SPOTS, tmp_path / "run", part="train")
    assert "farthest off: example" in found.lines[-1]
    assert [path.name for path in found.files] == ["report.json", "found.txt"]
    assert json.loads((tmp_path / "run" / "eval" / "found.txt").read_text()) == [66, 66, 66]
    assert rehearse(Options.of(SPOTS)).summary["files"] == ["curves.png", "found.txt"]


@pytest.mark.parametrize("augment", ["flip", "colour,crop", "cutout", "mixup"])
def test_what_moves_pixels_is_refused_where_targets_are_no_classes(augment: str) -> None:
    with pytest.raises(InputError, match=f"^--augment {augment} is for tasks with classes; task 'spots' has none$"):
        Options.of(SPOTS, augment=augment)


def test_what_leaves_every_pixel_in_its_place_is_not(tmp_path: Path) -> None:
    train(Options.of(SPOTS, augment="colour", epochs=1), tmp_path / "run")


def test_files_of_the_task_do_not_hinder_a_new_run_in_their_folder(tmp_path: Path) -> None:
    (tmp_path / "found.txt").write_text("of a run that was killed")
    train(Options.of(SPOTS, epochs=1), tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "confusion.png").write_text("of another task")
    with pytest.raises(InputError, match="is not empty and holds no run"):
        train(Options.of(SPOTS, epochs=1), tmp_path / "other")
