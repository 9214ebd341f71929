"""The run folder: config.json, metrics.jsonl, summary.json, model.safetensors, checkpoint.safetensors, curves.png."""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tritoncnn.data import Dataset, Facts
from tritoncnn.errors import CheckpointError, InputError, SaveError
from tritoncnn.task import Task
from tritoncnn.train.atomic import write_file
from tritoncnn.train.options import Options, known
from tritoncnn.train.tensorfile import check_tensors, parse_json, read_tensors, write_tensors

RUNS = Path("runs")
FILES = {"config.json", "metrics.jsonl", "summary.json", "model.safetensors", "checkpoint.safetensors", "curves.png"}


@dataclass(frozen=True)
class RunFolder:
    """Where the files of one run are; writing any of them raises SaveError and leaves the old one intact."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def model(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    def write_config(self, options: Options, data: Dataset) -> None:
        write_json(self.config, options.note() | data.facts.note() | dict(data.note))

    def write_metrics(self, rows: Sequence[Mapping[str, float]]) -> None:
        lines = [json.dumps(row, allow_nan=False) + "\n" for row in rows]
        write_file(self.path / "metrics.jsonl", "".join(lines).encode())

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        write_json(self.path / "summary.json", summary)

    def write_model(self, state: Mapping[str, torch.Tensor]) -> None:
        write_tensors(self.model, state)


@dataclass(frozen=True)
class Trained:
    """What ``infer`` needs of a run: the module with its weights, and the facts of its data."""

    module: torch.nn.Module
    facts: Facts


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_file(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def check_out(out: Path | None) -> None:
    """Whether a new run may be put there. Raises InputError."""
    if out is None or not (out.exists() or out.is_symlink()):
        return
    if not out.is_dir():
        raise InputError(f"--out {out} is not a folder")
    if (out / "checkpoint.safetensors").exists():
        raise InputError(f"--out {out} already holds a run; go on with it by --resume {out}, or name another folder")
    try:
        names = {entry.name.removeprefix(".").removesuffix(".tmp") for entry in out.iterdir()}
    except OSError as error:
        raise InputError(f"--out {out} cannot be read: {error.strerror or error}") from error
    if not names <= FILES:  # files of ours without a checkpoint: a run that was killed before its first step
        raise InputError(f"--out {out} is not empty and holds no run; name a new or empty folder")


def create(out: Path | None, task: str) -> RunFolder:
    """A new folder: ``out``, or runs/TASK-DATE-N with the first N that is free. Raises InputError, SaveError."""
    check_out(out)
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            return RunFolder(out)
        RUNS.mkdir(exist_ok=True)
        for n in itertools.count(1):
            path = RUNS / f"{task}-{datetime.date.today().isoformat()}-{n}"
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return RunFolder(path)
    except OSError as error:
        raise SaveError(f"run folder {out or RUNS} could not be made: {error.strerror or error}") from error
    raise AssertionError("count() does not end")


def open_run(path: Path) -> RunFolder:
    """A folder that holds a run. Raises InputError."""
    if not path.is_dir():
        raise InputError(
            f"{path} {'is not a run folder' if path.exists() else 'does not exist'}; wanted a folder made by train"
        )
    if not (path / "config.json").is_file():
        raise InputError(f"{path} is not a run folder: it holds no config.json")
    return RunFolder(path)


def read_config(run: RunFolder) -> dict[str, Any]:
    """Raises CheckpointError: unreadable, or damaged."""
    try:
        text = run.config.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{run.config} cannot be read: {error.strerror or error}") from error
    return parse_json(run.config, text, "JSON")


def task_name(path: Path) -> str:
    """Which task the run in this folder is of. Raises InputError, CheckpointError."""
    run = open_run(path)
    name = read_config(run).get("task")
    if not isinstance(name, str):
        raise CheckpointError(f"{run.config}: task must be a name; got {name!r}")
    return name


def load_trained(run: RunFolder, task: Task) -> Trained:
    """Load the trained model of a run of ``task``. Raises CheckpointError naming the file and what is wrong in it."""
    config = read_config(run)
    try:
        name = config.get("model")
        if not isinstance(name, str):
            raise InputError(f"model must be a name; got {name!r}")
        known("model", name, task.models, f" of task {task.name!r}")
        facts = Facts.from_note(config)
        module = task.models[name](facts).eval()
    except InputError as error:
        raise CheckpointError(f"{run.config}: {error}") from error
    if not run.model.exists():
        raise CheckpointError(f"{run.model} does not exist: the run has not finished its first epoch; --resume it")
    tensors, _ = read_tensors(run.model)
    check_tensors(run.model, tensors, module.state_dict())
    module.load_state_dict(tensors)
    return Trained(module, facts)
