"""Files -> answers, by the model of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tritoncnn.data.define import Array, Reader
from tritoncnn.errors import DataError, InputError
from tritoncnn.frozen import Model, compile_kept
from tritoncnn.task import Answer, Task
from tritoncnn.train import folder
from tritoncnn.train.evaluate import Evaluator

BATCH = 64


def predict(
    task: Task, run: Path, files: Sequence[Path], top: int = 3, *, best: bool = False
) -> list[Answer | DataError]:
    """What the model of a run of ``task`` says of each file; of one that cannot be read, the error that says why.

    With ``best`` the weights are those of the run's best epoch, not of its last.

    Raises InputError, CheckpointError.
    """
    if top < 1:
        raise InputError(f"--top must be at least 1; got {top}")
    trained = folder.load_trained(folder.open_run(run), task, best=best)
    found: list[Answer | DataError] = []
    evaluator: Evaluator[Model] | None = None
    batch = min(1 << max(0, len(files) - 1).bit_length(), BATCH)  # powers of two: few shapes to compile kernels for
    for first in range(0, len(files), batch):
        pictures = [read_or_error(trained.read, path) for path in files[first : first + batch]]
        read = [picture for picture in pictures if not isinstance(picture, DataError)]
        answers: Iterator[Answer] = iter(())
        if read:
            x = trained.facts.normalise(np.stack(read))
            evaluator = evaluator or Evaluator(lambda x: compile_kept(trained.module, x), x, batch)
            answers = iter(task.answer(evaluator.outputs(x), trained.facts, top))
        found += [picture if isinstance(picture, DataError) else next(answers) for picture in pictures]
    return found


def read_or_error(read: Reader, path: Path) -> Array | DataError:
    """A picture, or why there is none."""
    try:
        return read(path)
    except DataError as error:
        return error
