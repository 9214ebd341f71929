"""The classifier of a run: what it says of pictures, and what becomes of them under attack."""

from __future__ import annotations

from pathlib import Path

import torch

from tritoncnn.attacks import Attack, Attacker
from tritoncnn.errors import InputError
from tritoncnn.flags import known
from tritoncnn.frozen import Model, compile_kept
from tritoncnn.task import Task
from tritoncnn.train.evaluate import Evaluator
from tritoncnn.train.folder import Trained, load_trained, open_run

BATCH = 64


class Victim:
    """Pictures here are f32[N,C,H,W] as the task reads them, before they are normalised."""

    def __init__(self, task: Task, run: Path, best: bool = False) -> None:
        """Raises InputError where the task's outputs are no classes, CheckpointError."""
        if task.soft_loss is None:  # it has none where targets are no classes
            raise InputError(
                f"{run} is a run of task {task.name!r}, which tells no classes; attack needs a classifier's"
            )
        self.task = task
        self.trained: Trained = load_trained(open_run(run), task, best=best)
        self._evaluator: Evaluator[Model] | None = None
        self._attacker: Attacker | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        return self.trained.facts.classes

    def number_of(self, name: str) -> int:
        """Which class is called ``name``. Raises InputError that tells similar names, else all."""
        known("class", name, self.classes, " for --target")
        return self.classes.index(name)

    @property
    def launches(self) -> int | None:
        """Of one step of the attacks so far; None where there was none."""
        return None if self._attacker is None else self._attacker.launches

    def probabilities(self, pictures: torch.Tensor) -> torch.Tensor:
        """f64[N,classes]: what ``tritoncnn infer`` would say, by the same plan as there."""
        x = self.trained.facts.normalise(pictures.numpy())
        if self._evaluator is None:
            batch = min(BATCH, 1 << (len(x) - 1).bit_length())
            self._evaluator = Evaluator(lambda x: compile_kept(self.trained.module, x), x, batch)
        logits = self._evaluator.outputs(x)
        assert logits.shape == (len(x), len(self.classes)), "a task with soft targets has one logit for each class"
        return torch.softmax(logits.double(), 1)

    def attacked(
        self, pictures: torch.Tensor, labels: torch.Tensor, attack: Attack, target: int | None
    ) -> torch.Tensor:
        """The pictures, changed so that the model no longer finds ``labels``; or finds class ``target`` in all of them."""
        if self._attacker is None:
            self._attacker = Attacker(self.trained.module, self.trained.facts, attack.norm, pictures)
        aims = labels if target is None else torch.full_like(labels, target)
        return self._attacker.perturb(pictures, aims, attack, towards=target is not None)

    def said(self, probabilities: torch.Tensor) -> str:
        """The most probable of f64[classes], for people."""
        return f"{self.classes[int(probabilities.argmax())]} ({float(probabilities.max()):.1%})"


def lengths(changes: torch.Tensor) -> tuple[list[float], list[float]]:
    """(largest value, 2-norm) of each picture's change."""
    flat = changes.double().flatten(1)
    return flat.abs().amax(1).tolist(), torch.linalg.vector_norm(flat, dim=1).tolist()
