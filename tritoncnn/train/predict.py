"""Pictures -> classes with probabilities, by the model of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tritoncnn.errors import InputError
from tritoncnn.train import folder
from tritoncnn.train.data import normalise
from tritoncnn.train.evaluate import Evaluator
from tritoncnn.train.pictures import adapt, read_picture

BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """``top`` has (class, probability), the most probable first."""

    picture: Path
    top: tuple[tuple[str, float], ...]


def predict(run: Path, pictures: Sequence[Path], top: int = 3) -> list[Prediction]:
    """The ``top`` classes of each picture. Raises InputError, DataError, CheckpointError."""
    if top < 1:
        raise InputError(f"--top must be at least 1; got {top}")
    if not pictures:
        return []
    trained = folder.load_trained(folder.open_run(run))
    grey = np.stack([adapt(read_picture(path)) for path in pictures])
    x = normalise(grey, trained.mean, trained.std)
    batch = min(1 << (len(pictures) - 1).bit_length(), BATCH)  # powers of two: few shapes to compile kernels for
    evaluator = Evaluator(trained.module, x.shape[1:], batch)
    probabilities = torch.softmax(evaluator.logits(x).double(), 1)
    values, indices = probabilities.topk(min(top, len(trained.classes)))
    return [
        Prediction(path, tuple((trained.classes[i], value) for i, value in zip(row_i, row_v, strict=True)))
        for path, row_i, row_v in zip(pictures, indices.tolist(), values.tolist(), strict=True)
    ]
