"""The net of a run dreams of a picture file, into a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tritoncnn.atomic import check_folder, write_file
from tritoncnn.attacks import bounds_of
from tritoncnn.data import Facts
from tritoncnn.data.colour import to_array
from tritoncnn.data.define import Array
from tritoncnn.data.pictures import read_colour
from tritoncnn.data.values import encode_levels
from tritoncnn.dreams.octaves import Dreaming, dream
from tritoncnn.errors import InputError
from tritoncnn.task import Task
from tritoncnn.train.folder import Trained, load_trained, make_folder, open_run, read_config, write_json

MOST = 512  # pixels along the longer side, where nobody says otherwise
LARGEST = 4096


def dream_of_run(
    task: Task, run: Path, picture: Path, how: Dreaming, out: Path, *, size: int | None = None, best: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, Any], tuple[Path, ...]]:  # fmt: skip
    """Write dream.png and dream.json into ``out``; (what the JSON says, the files).

    ``size``: pixels of the longer side to dream at; None: the picture's own, at most MOST. Raises InputError, CheckpointError,
    DataError, SaveError, UnsupportedError.
    """
    if size is not None and not 1 <= size <= LARGEST:
        raise InputError(f"--size must be from 1 to {LARGEST}; got {size}")
    check_folder(out)  # told now, not after minutes
    where = open_run(run)
    trained = load_trained(where, task, best=best)
    if not trained.facts.mean:  # its inputs are no pictures, or have no black and white that it knows
        raise InputError(
            f"{run} is a run of task {task.name!r}; dream needs a classifier's, or one that tells of pictures"
        )
    values = _read(picture, len(trained.facts.mean), size)
    facts = _as_read(trained, picture, values)
    sizes = task.example_at(1, read_config(where)["size"]).x.shape
    found = dream(trained.module, facts, (1, *values.shape[:1], *sizes[2:]), values, how, tell)
    note = {"run": str(run), "picture": str(picture), **found.note}
    files = (make_folder(out) / "dream.png", out / "dream.json")
    levels = np.rint(found.picture * 255).astype(np.uint8)
    write_file(files[0], encode_levels(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0), ".png"))
    write_json(files[1], note)
    return note, files


def _as_read(trained: Trained, path: Path, values: Array) -> Facts:
    """Mean and deviation that bring the values f32[C,H,W] to what the net learned from: the run's, or the picture's own where the
    run evens out each picture.
    """
    normalised = any(trained.facts.mean) or set(trained.facts.std) != {1.0}
    if normalised or bounds_of(torch.from_numpy(trained.read(path))) == (0.0, 1.0):
        return trained.facts
    mean, std = (tuple(map(float, of(values.astype(np.float64), axis=(1, 2)))) for of in (np.mean, np.std))
    return replace(trained.facts, mean=mean, std=std)


def _read(path: Path, channels: int, size: int | None) -> Array:
    """The whole picture f32[C,H,W] from 0 to 1, grey for a net of grey pictures, scaled. Raises DataError."""
    picture = read_colour(path, whole=True)
    longer = max(picture.size)
    scale = (size if size is not None else min(longer, MOST)) / longer
    if scale != 1:
        width, height = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    if channels == 1:
        return np.asarray(picture.convert("L"), np.float32)[None] / np.float32(255)
    return to_array(picture)
