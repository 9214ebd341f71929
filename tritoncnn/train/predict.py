"""Files -> answers, by the model of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tritoncnn.errors import InputError
from tritoncnn.task import Answer, Task
from tritoncnn.train import folder
from tritoncnn.train.evaluate import Evaluator

BATCH = 64


def predict(task: Task, run: Path, files: Sequence[Path], top: int = 3) -> list[Answer]:
    """What the model of a run of ``task`` says of each file. Raises InputError, DataError, CheckpointError."""
    if top < 1:
        raise InputError(f"--top must be at least 1; got {top}")
    if not files:
        return []
    trained = folder.load_trained(folder.open_run(run), task)
    x = trained.facts.normalise(np.stack([task.read(path) for path in files]))
    batch = min(1 << (len(files) - 1).bit_length(), BATCH)  # powers of two: few shapes to compile kernels for
    return task.answer(Evaluator(trained.module, x, batch).outputs(x), trained.facts, top)
