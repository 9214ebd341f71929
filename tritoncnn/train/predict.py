"""Files -> answers, by the model of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from tritoncnn.data import Facts
from tritoncnn.data.define import Array, Reader
from tritoncnn.data.pictures import upright_size
from tritoncnn.errors import DataError, InputError
from tritoncnn.flags import BELOW_1
from tritoncnn.frozen import Model, compile_kept
from tritoncnn.task import Answer, Ask, Task
from tritoncnn.train import folder
from tritoncnn.train.evaluate import Evaluator

BATCH = 64
ROOM = 64 * 2**20  # bytes of inputs that are looked at together


def predict(
    task: Task,
    run: Path,
    files: Sequence[Path],
    top: int | None = None,
    *,
    score: float | None = None,
    best: bool = False,
) -> list[Answer | DataError]:
    """What the model of a run of ``task`` says of each file; of one that cannot be read, the error that says why.

    ``top`` and ``score`` say how much is wanted, as ``Ask`` has it; None is what the task usually tells. With ``best`` the
    weights are those of the run's best epoch, not of its last.

    Raises InputError, CheckpointError.
    """
    ask = _ask(task.ask, top, score)
    trained = folder.load_trained(folder.open_run(run), task, best=best)
    if task.each is not None:
        return [_alone(task.each, trained, path) for path in files]
    found: list[Answer | DataError] = []
    evaluators: dict[tuple[int, ...], Evaluator[Model]] = {}
    for first in range(0, len(files), BATCH):
        pictures = [read_or_error(trained.read, path) for path in files[first : first + BATCH]]
        answers: dict[int, Answer] = {}
        for shape, alike in _by_shape(pictures).items():
            rows = list(alike)
            x = trained.facts.normalise(np.stack(list(alike.values())))
            if shape not in evaluators:
                evaluators[shape] = Evaluator(lambda x: compile_kept(trained.module, x), x, _batch(x))
            answers |= zip(rows, task.answer(evaluators[shape].outputs(x), trained.facts, ask), strict=True)
        found += [
            picture if isinstance(picture, DataError) else _placed(answers[row], path)
            for row, (picture, path) in enumerate(zip(pictures, files[first : first + BATCH], strict=True))
        ]
    return found


def _by_shape(pictures: Sequence[Array | DataError]) -> dict[tuple[int, ...], dict[int, Array]]:
    """The pictures of each shape, by their rows: most readers make pictures of one."""
    found: dict[tuple[int, ...], dict[int, Array]] = {}
    for row, picture in enumerate(pictures):
        if not isinstance(picture, DataError):
            found.setdefault(picture.shape, {})[row] = picture
    return found


def _batch(x: torch.Tensor) -> int:
    """How many inputs like those of ``x`` are looked at together: a power of two, for few shapes to compile kernels for."""
    room = max(1, ROOM // (x[0].numel() * x.element_size()))
    return min(1 << (len(x) - 1).bit_length(), 1 << (room.bit_length() - 1))


def _ask(usual: Ask, top: int | None, score: float | None) -> Ask:
    if top is not None and top < 1:
        raise InputError(f"--top must be at least 1; got {top}")
    if score is not None and not BELOW_1.holds(score):
        raise InputError(f"--score must be {BELOW_1.words}; got {score}")
    return Ask(usual.top if top is None else top, usual.score if score is None else score)


def _alone(
    each: Callable[[torch.nn.Module, Facts, Path], Answer], trained: folder.Trained, path: Path
) -> Answer | DataError:
    """The answer to a file of a size of its own, or why there is none."""
    try:
        return each(trained.module, trained.facts, path)
    except DataError as error:
        return error


def _placed(answer: Answer, path: Path) -> Answer | DataError:
    """The answer in the pixels of its file, where it has to do with pixels."""
    if answer.within is None:
        return answer
    try:
        return answer.within(*upright_size(path))
    except DataError as error:  # it was there a moment ago
        return error


def read_or_error(read: Reader, path: Path) -> Array | DataError:
    """A picture, or why there is none."""
    try:
        return read(path)
    except DataError as error:
        return error
