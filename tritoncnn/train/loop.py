"""A run begun, rehearsed or taken up again: its data are loaded, its options fitted to them, and the trainer goes."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tritoncnn.data import Dataset, load_data
from tritoncnn.data.stream import first, passing
from tritoncnn.errors import CheckpointError, InputError
from tritoncnn.task import Task
from tritoncnn.train import folder
from tritoncnn.train.checkpoint import Checkpoint
from tritoncnn.train.evaluate import BATCH
from tritoncnn.train.events import check_tensorboard
from tritoncnn.train.finetune import weights_of
from tritoncnn.train.folder import RunFolder
from tritoncnn.train.options import Options
from tritoncnn.train.progress import Silent
from tritoncnn.train.trainer import Outcome, Trainer


def train(options: Options, out: Path | None = None, progress: Silent | None = None) -> Outcome:
    """Train a new model into a new run folder.

    Raises InputError, DataError, SaveError, NonFiniteError; Interrupted on Ctrl-C or SIGTERM, after saving.
    """
    begin = time.monotonic()
    weights = weights_of(options)
    with folder.new_run(out, options.task) as run:
        data = _load(options)
        return _begin(run, _fit(options, data), data, progress, begin, weights).go()


def rehearse(options: Options, progress: Silent | None = None) -> Outcome:
    """Train for two steps, evaluate on one batch, save and draw, all in a folder that is then taken away."""
    begin, weights = time.monotonic(), weights_of(options)
    data = _load(options)
    options = replace(_fit(options, data), epochs=1, legs="")
    part, test = 2 * options.batch_size, min(BATCH, len(data.test))
    few = replace(data, train=first(data.train, part), test=first(data.test, test))
    with tempfile.TemporaryDirectory() as place:
        return _begin(RunFolder(Path(place)), options, few, progress, begin, weights, kept=False).go()


def resume(task: Task, run: Path, given: Mapping[str, Any], progress: Silent | None = None) -> Outcome:
    """Go on with a run of ``task`` from its last checkpoint, to the bits of a run that was never interrupted.

    ``given`` are options as for ``Options.of``; one that differs from the run's is an InputError, but for ``data_dir``
    (the same pictures in another place), ``threads`` and ``save_every``, and for more ``epochs`` of a run that has ended.
    Raises CheckpointError besides what ``train`` does.
    """
    begin = time.monotonic()
    where = folder.open_run(run)
    with folder.alone(where):
        return _go_on(where, task, given, progress or Silent(), begin)


def _go_on(where: RunFolder, task: Task, given: Mapping[str, Any], progress: Silent, begin: float) -> Outcome:
    moment = Checkpoint.load(where.checkpoint, task)
    before = moment.options
    options = moment.options.resumed(given, moment.epoch, moment.ended)
    longer = options.legs != moment.options.legs
    moment = moment.with_options(options)
    data = _load(options)
    if data.fingerprint != moment.data:
        raise CheckpointError(
            f"{where.checkpoint} was trained on other data than {data.name} now holds; begin a new run"
        )
    if moment.added:
        progress.remark(f"the run is of an older version, and goes on as before: {', '.join(moment.added)}")
    if moment.unmeasured:
        names = ", ".join(name.replace("_", " ") for name in moment.unmeasured)
        progress.remark(f"the run is of an older version, whose lines of metrics.jsonl lack {names}")
    _tell_edited(where, before, progress)
    trainer = Trainer(where, data, moment, progress, begin)
    trainer.take_up()
    if longer:
        trainer.moment.save(where.checkpoint)  # from now on the run is one of more epochs, whatever happens
    return trainer.go()


def _tell_edited(where: RunFolder, options: Options, progress: Silent) -> None:
    """Say which flags of config.json are not those of the checkpoint, which hold: someone has written into the file."""
    told: dict[str, Any] = {}
    with contextlib.suppress(CheckpointError):  # it is written anew
        told = folder.read_config(where)
    for name, row in options.rows.items():
        value = options.value(name)
        bound = not row.flag.free and name not in ("epochs", "legs")  # of more epochs the file may know already
        if bound and name in told and told[name] != value:
            progress.remark(
                f"{where.config} was changed: {name} is {told[name]!r} there; the run goes on with {value!r}"
            )


def _begin(
    run: RunFolder, options: Options, data: Dataset, progress: Silent | None, begin: float, weights: Path | None,
    kept: bool = True,
) -> Trainer:  # fmt: skip
    moment = Checkpoint.start(options, data.fingerprint)
    return Trainer(run, data, moment, progress or Silent(), begin, weights, kept)


def _load(options: Options) -> Dataset:
    if options.tensorboard:
        check_tensorboard()  # told before data are loaded, which takes longer
    if options.threads:
        torch.set_num_threads(options.threads)
    folder = Path(options.data_dir) if options.data_dir is not None else None
    data = load_data(options.data, folder, options.task.reader(options.size), options.own, options.task.data)
    return replace(data, train=passing(data.train))


def _fit(options: Options, data: Dataset) -> Options:
    """Options for a new run on this data. Raises InputError where there is nothing to train on, or less than a batch."""
    if not len(data.train):
        raise InputError(f"{data.name} is for testing only: it has no training examples")
    if options.batch_size > len(data.train):
        raise InputError(
            f"--batch-size {options.batch_size} is larger than the data set: {data.name} has {len(data.train)} "
            "training examples"
        )
    return options.fitted(len(data.train))
