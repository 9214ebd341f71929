"""Every task in the room, found by itself: a run that was killed and goes on ends with the bits of one that was not.

Each trains its default model for one epoch of a few steps, on noise of its example's shape: the smallest run there is, for what
costs time here is compiling.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.kernels.cases import DEEP
from tests.train.runs import CopyAt, assert_same_run
from tritoncnn.data import SOURCES, Dataset, Examples, Source
from tritoncnn.task import Task
from tritoncnn.tasks import TASKS, find_task
from tritoncnn.train import Options, resume, train
from tritoncnn.train.checkpoint import Checkpoint
from tritoncnn.tree import apply

BATCH, STEPS = 2, 3


def noise(task: Task) -> Dataset:
    """As many examples as the steps of one epoch take, and a batch for testing; targets are the example's own."""
    model = next(iter(task.models))
    side = task.sides.get(model)
    x, y, facts = task.example_at(BATCH * (STEPS + 1), side.least if side else 0)
    if x.is_floating_point():
        x = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    parts = [
        Examples(x[rows], apply(lambda values, rows=rows: values[rows], y))
        for rows in (slice(BATCH * STEPS), slice(BATCH * STEPS, None))
    ]
    return Dataset("noise", facts, *parts, fingerprint="noise")


SLOW = pytest.mark.skipif(not DEEP, reason="a net of its own to compile, twice: in the deep profile")


@pytest.mark.parametrize("name", [name if name == "lenet" else pytest.param(name, marks=SLOW) for name in TASKS])
def test_a_run_of_any_task_that_was_killed_ends_with_the_bits_of_one_that_was_not(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = find_task(name)
    small = {"size": side.least} if (side := task.sides.get(next(iter(task.models)))) else {}
    data = noise(task)
    monkeypatch.setitem(SOURCES, "noise", Source("noise", "noise", "", lambda folder, read: data))
    # Pictures and baselines are no part of the bits, and have tests of their own.
    task = replace(task, data=("noise",), pictures={}, portraits={}, baseline=None)
    options = Options.of(task, data="noise", epochs=1, batch_size=BATCH, save_every=0.0, **small)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(options, whole, CopyAt(STEPS, whole, killed))
    assert Checkpoint.load(killed / "checkpoint.safetensors", task).batch == STEPS - 1
    assert not (killed / "summary.json").exists()
    summary, other = resume(task, killed, {}).summary, json.loads((whole / "summary.json").read_text())
    assert_same_run(killed, whole)
    assert [summary[key] for key in ("metrics", "launches")] == [other[key] for key in ("metrics", "launches")]
    assert 10 < summary["peak_memory"] < 100_000
    assert summary["launches"] > 2
