"""Runs of LeNet on few pictures, and how two of them compare."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from tritoncnn.commands import main
from tritoncnn.task import Task
from tritoncnn.tasks import find_task
from tritoncnn.train import Interrupted, Options, Silent, resume, train
from tritoncnn.train.tensorfile import read_tensors

LENET = find_task("lenet")
STEPS = 24  # 3 epochs of 8 batches of 8 pictures; 6 of the 70 pictures are left over in each
RESULTS = ("model.safetensors", "checkpoint.safetensors")


class Remarks(Silent):
    """What was remarked."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def remark(self, sentence: str) -> None:
        self.said.append(sentence)


class StopAt(Silent):
    """Ctrl-C during the given step."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGINT) -> None:
        self.left, self.number = step, number

    def step(self, examples: int, loss: float) -> None:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(self.number)


class CopyAt(Silent):
    """Copies the run folder during a step: what a process that is killed at that moment leaves behind."""

    def __init__(self, step: int, run: Path, copy: Path) -> None:
        self.left, self.run, self.copy = step, run, copy

    def step(self, examples: int, loss: float) -> None:
        self.left -= 1
        if self.left == 0:
            shutil.copytree(self.run, self.copy)


def options(data: Path, **more: Any) -> Options:
    return Options.of(LENET, data="mnist", data_dir=str(data), **({"epochs": 3, "batch_size": 8} | more))


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_goes_on(task: Task, given: Options, whole: Path, place: Path, step: int = 3) -> None:
    """A run that is stopped in this step, and resumed, ends with the bits of ``whole``, which was not."""
    with pytest.raises(Interrupted):
        train(given, place / "run", StopAt(step))
    resume(task, place / "run", {})
    assert_same_run(place / "run", whole)


def assert_same_run(run: Path, whole: Path) -> None:
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    one, other = (read_tensors(folder / "checkpoint.safetensors")[0] for folder in (run, whole))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (run / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()
    assert metrics(run) == metrics(whole)


def go_the_whole_road(given: Options, place: Path, unseen: Path) -> list[dict[str, Any]]:
    """A run that was killed in its second step is resumed, measured and asked about files, by commands: the answers.

    Its bits are those of the run that was not killed. Both lie in ``place``, as ``killed`` and ``whole``; ``save_every`` is 0.
    """

    def call(*words: object) -> Any:
        result = CliRunner().invoke(main, [*map(str, words)])
        assert result.exit_code == 0, (words, result.output, result.exception)
        return result.stdout

    whole, killed, out = (place / name for name in ("whole", "killed", "out"))
    train(given, whole, CopyAt(2, whole, killed))
    assert not (killed / "summary.json").exists()
    call("train", "--resume", killed)
    assert_same_run(killed, whole)
    told = json.loads(call("eval", killed, "--json"))["metrics"]
    assert told == pytest.approx(json.loads((killed / "summary.json").read_text())["metrics"])
    answers: list[dict[str, Any]] = json.loads(call("infer", killed, unseen, "--json", "--out", out))
    assert len(list(out.glob("*-answer.png"))) == len(answers)
    return answers
