"""The run folder: config.json, config.yaml, metrics.jsonl, summary.json, model, best and checkpoint.safetensors; pictures."""

from __future__ import annotations

import contextlib
import datetime
import errno
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tritoncnn.atomic import check_writable, unfinished, write_file
from tritoncnn.data import SOURCES, Dataset, Facts, Reader
from tritoncnn.data.files import look, read_file
from tritoncnn.errors import CheckpointError, InputError, SaveError
from tritoncnn.flags import known, missing_rows, read_rows
from tritoncnn.task import Task
from tritoncnn.train.configfile import write_config as yaml_of
from tritoncnn.train.events import NAME as EVENTS
from tritoncnn.train.options import Options, check_size
from tritoncnn.train.tensorfile import MisfitError, parse_json, read_tensors, write_tensors

MAX_CONFIG = 16 << 20  # bytes
RUNS = Path("runs")
FILES = {
    "config.json", "config.yaml", "metrics.jsonl", "summary.json", "model.safetensors", "best.safetensors",
    "checkpoint.safetensors", "curves.png", "metrics.csv", EVENTS,
}  # fmt: skip


def files_of(task: Task) -> set[str]:
    """Names of all files that a run folder of ``task`` may hold."""
    return FILES | set(task.files)


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
    def best(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    def sweep(self, task: Task) -> None:
        """Remove what a killed process left half written."""
        for entry in unfinished(self.path, files_of(task)):
            entry.unlink(missing_ok=True)

    def write_config(self, options: Options, data: Dataset) -> None:
        """config.json has all that is known of the run; config.yaml is what trains it again."""
        write_json(self.config, options.note() | data.facts.note() | dict(data.note))
        write_file(self.path / "config.yaml", yaml_of(options).encode())

    def write_metrics(self, rows: Sequence[Mapping[str, float]], options: Options) -> None:
        """Write all lines of metrics.jsonl, and metrics.csv where ``options`` ask for it."""
        lines = [json.dumps(row, allow_nan=False) + "\n" for row in rows]
        write_file(self.path / "metrics.jsonl", "".join(lines).encode())
        if options.csv:
            names = options.columns
            table = [names, *([repr(row[name]) if name in row else "" for name in names] for row in rows)]
            write_file(self.path / "metrics.csv", "".join(",".join(cells) + "\n" for cells in table).encode())

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        write_json(self.path / "summary.json", summary)

    def write_model(self, state: Mapping[str, torch.Tensor]) -> None:
        write_tensors(self.model, state)

    def write_drawn(self, name: str, data: bytes) -> None:
        """A picture: curves.png, or one of the task's."""
        write_file(self.path / name, data)

    def write_best(self, state: Mapping[str, torch.Tensor], row: Mapping[str, float]) -> None:
        """The weights of the best epoch so far, with its line of metrics.jsonl as the note."""
        write_tensors(self.best, state, row)


@dataclass(frozen=True)
class Trained:
    """What ``infer`` needs of a run: the module with its weights, how it wants its pictures, and the facts of its data."""

    module: torch.nn.Module
    read: Reader
    facts: Facts


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_file(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def check_out(out: Path | None, task: Task) -> None:
    """Whether a new run may be put there. Raises InputError."""
    if out is None:
        return
    found = look(out)
    if found == "none" and not out.is_symlink():
        return
    if found != "folder":
        raise InputError(f"--out {out} is not a folder")
    if look(out / "checkpoint.safetensors") != "none":
        raise InputError(f"--out {out} already holds a run; go on with it by --resume {out}, or name another folder")
    try:
        left = {entry.name for entry in unfinished(out, files_of(task))}
        names = {entry.name for entry in out.iterdir()} - left
    except OSError as error:
        raise InputError(f"--out {out} cannot be read: {error.strerror or error}") from error
    if not names <= files_of(task):  # files of ours without a checkpoint: a run that was killed before its first step
        raise InputError(f"--out {out} is not empty and holds no run; name a new or empty folder")


@contextlib.contextmanager
def alone(run: RunFolder) -> Iterator[None]:
    """Hold the folder against other processes that would train in it; the hold ends with the process, however that ends.
    Raises InputError where another one holds it.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    handle = os.open(run.path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):  # others: a file system that has no such holds
                raise InputError(
                    f"{run.path} is being trained by another process; wait until it ends, or name another folder"
                ) from error
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def new_run(out: Path | None, task: Task) -> Iterator[RunFolder]:
    """Make a folder that can be written to: ``out``, or runs/TASK-DATE-N with the first N that is free.

    Folders that were made for it are taken away when the block raises before the first checkpoint: what was wrong with
    the data or the options, or a full disk, leaves nothing behind. Raises InputError, SaveError.
    """
    check_out(out, task)
    wanted = [out] if out is not None else _numbered(task.name)
    made: list[Path] = []
    try:
        for path in wanted:
            try:
                _make(path, made, exist_ok=out is not None)
            except FileExistsError:
                continue
            break
        run = RunFolder(path)
        check_writable(run.config)
    except (OSError, SaveError) as error:
        _take_away(made)
        said = error.strerror or error if isinstance(error, OSError) else error
        raise SaveError(f"run folder {path} could not be made: {said}") from error
    with alone(run):
        check_out(path, task)  # anew: another process may have trained there before it was ours alone
        try:
            yield run
        except BaseException:
            if path in made and not run.checkpoint.exists():
                for name in files_of(task):
                    with contextlib.suppress(OSError):
                        (path / name).unlink(missing_ok=True)
            _take_away(made)
            raise


def _numbered(task: str) -> Iterator[Path]:
    return (RUNS / f"{task}-{datetime.date.today().isoformat()}-{n}" for n in itertools.count(1))


def _make(path: Path, made: list[Path], exist_ok: bool) -> None:
    """Make a folder and those above it, one by one, noting each that is new."""
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in [*reversed(missing), path]:
        try:
            folder.mkdir()
            made.append(folder)
        except FileExistsError:  # perhaps made by another process a moment ago
            if folder == path and not exist_ok:
                raise


def _take_away(made: list[Path]) -> None:
    """Remove the folders that were made, the innermost first, as far as they are empty."""
    for folder in reversed(made):
        with contextlib.suppress(OSError):
            folder.rmdir()


def make_folder(path: Path) -> Path:
    """A folder that files can be written to, made where it is missing. Raises InputError, SaveError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise InputError(f"--out {path} is not a folder") from error
    except (OSError, ValueError) as error:
        raise SaveError(f"folder {path} could not be made: {getattr(error, 'strerror', None) or error}") from error
    return path


def open_run(path: Path) -> RunFolder:
    """A folder that holds a run. Raises InputError."""
    found = look(path)
    if found != "folder":
        said = "does not exist" if found == "none" else "is not a run folder"
        raise InputError(f"{path} {said}; wanted a folder made by train")
    if look(path / "config.json") == "none":
        raise InputError(f"{path} is not a run folder: it holds no config.json")
    return RunFolder(path)


def read_config(run: RunFolder) -> dict[str, Any]:
    """Raises CheckpointError: unreadable, or damaged."""
    return parse_json(run.config, read_file(run.config, "", MAX_CONFIG, CheckpointError), "JSON")


def task_name(path: Path) -> str:
    """Which task the run in this folder is of. Raises InputError, CheckpointError."""
    run = open_run(path)
    name = read_config(run).get("task")
    if not isinstance(name, str):
        raise CheckpointError(f"{run.config}: task must be a name; got {name!r}")
    return name


@contextlib.contextmanager
def telling_changes(run: Path, model: str) -> Iterator[None]:
    """Say of files that do not fit the net of their own run's config what else may be, and what to do."""
    try:
        yield
    except MisfitError as error:
        raise CheckpointError(
            f"{error}, or model {model!r} has changed since this run was trained: train it again by tritoncnn train --config "
            f"{run / 'config.yaml'}"
        ) from error


def load_trained(run: RunFolder, task: Task, best: bool = False) -> Trained:
    """Load the trained model of a run of ``task``: its last weights, or its ``best``.

    Raises CheckpointError naming the file and what is wrong in it.
    """
    config = read_config(run)
    try:
        name = config.get("model")
        if not isinstance(name, str):
            raise InputError(f"model must be a name; got {name!r}")
        known("model", name, task.models, f" of task {task.name!r}")
        size = config.get("size")
        if type(size) is not int:
            raise InputError(f"size must be a whole number; got {size!r}")
        check_size(task, name, size)
        facts = Facts.from_note(config)
        if bool(facts.mean) != bool(task.example(1).facts.mean):
            wanted = "one number per channel" if not facts.mean else "no number: inputs are taken as they are"
            raise InputError(f"mean and std must have {wanted}; got {len(facts.mean)}")
        rows = task.model_rows(name)
        own = read_rows(rows, missing_rows(rows, config) | config)
        module = task.builder(name, own)(facts).eval()
    except InputError as error:
        raise CheckpointError(f"{run.config}: {error}") from error
    path = run.best if best else run.model
    if look(path) == "none":
        raise CheckpointError(f"{path} does not exist: the run has not finished its first epoch; --resume it")
    with telling_changes(run.path, name):
        tensors, _ = read_tensors(path, module.state_dict())
    module.load_state_dict(tensors)
    read, data = task.reader(size, facts), config.get("data")
    return Trained(module, SOURCES[data].reader(read) if data in SOURCES else read, facts)
