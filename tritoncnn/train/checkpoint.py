"""All that a training run needs to go on, bit for bit, in one file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tritoncnn.errors import CheckpointError, InputError
from tritoncnn.task import Task
from tritoncnn.train.options import Options, missing_in
from tritoncnn.train.tensorfile import read_note, read_tensors, write_tensors

FORMAT = 8
AVERAGE = "average."  # in names of the optimizer's tensors
Row = dict[str, float]  # one line of metrics.jsonl


@dataclass(frozen=True)
class Checkpoint:
    """A moment between two steps.

    epoch, batch   the step to do next: epochs and batches of the current epoch that are done
    loss_sum       sum of the losses of these batches, added in their order
    seconds        time spent so far, over all resumptions
    history        the lines of metrics.jsonl up to here
    data           fingerprint of the data set
    tensors        ``model.NAME`` and ``optimizer.NAME``
    added          options that came after the run was begun, in words with the values that mean "as before"
    """

    options: Options
    data: str
    epoch: int
    batch: int
    loss_sum: float
    seconds: float
    history: tuple[Row, ...]
    tensors: dict[str, torch.Tensor]
    added: tuple[str, ...] = ()

    @classmethod
    def start(cls, options: Options, data: str) -> Checkpoint:
        return cls(options, data, 0, 0, 0.0, 0.0, (), {})

    def save(self, path: Path) -> None:
        """Raises SaveError; the checkpoint before is then intact."""
        note = {
            "format": FORMAT, "options": self.options.note(), "data": self.data, "epoch": self.epoch,
            "batch": self.batch, "loss_sum": self.loss_sum, "seconds": self.seconds, "history": list(self.history),
        }  # fmt: skip
        write_tensors(path, self.tensors, note)

    @classmethod
    def load(cls, path: Path, task: Task) -> Checkpoint:
        """Read all of a checkpoint of ``task`` but its tensors. Raises CheckpointError. ``fit`` reads these."""
        note = read_note(path)
        if not note:
            raise CheckpointError(f"{path} is no checkpoint of a training run: it holds tensors only")
        if note.get("format") != FORMAT:
            raise CheckpointError(f"{path} has checkpoint format {note.get('format')!r}; this version reads {FORMAT}")
        try:
            options = Options.from_note(task, kept := _typed(note, "options", dict))
            added = tuple(f"{options.rows[name].word} {value}" for name, value in missing_in(task, kept).items())
            found = cls(
                options, _typed(note, "data", str), _typed(note, "epoch", int), _typed(note, "batch", int),
                _finite(note, "loss_sum"), _finite(note, "seconds"),
                tuple(_row(row, task) for row in _typed(note, "history", list)), {}, added,
            )  # fmt: skip
        except (TypeError, OverflowError, InputError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error
        if not (0 <= found.epoch <= options.epochs and found.batch >= 0 and len(found.history) == found.epoch):
            raise CheckpointError(
                f"{path} is damaged: epoch {found.epoch} and batch {found.batch} are no step of the run"
            )
        return found

    def fit(self, path: Path, model: Mapping[str, torch.Tensor], optimizer: Mapping[str, torch.Tensor]) -> Checkpoint:
        """Read the tensors, which must be those of this model and optimizer, and finite. Raises CheckpointError."""
        tensors, _ = read_tensors(path, pack(model, optimizer))
        return replace(self, tensors=tensors)

    def part(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors of ``model`` or of ``optimizer`` under their own names."""
        return {k.removeprefix(f"{name}."): v for k, v in self.tensors.items() if k.startswith(f"{name}.")}

    @property
    def ended(self) -> bool:
        """Whether all epochs are done, or ``--early-stop`` says that it is enough."""
        return self.epoch == self.options.epochs or (self.batch == 0 and self.options.ends_early(self.history))

    def measured(self) -> dict[str, torch.Tensor]:
        """The weights that are measured and kept: the moving averages, where there are such."""
        averages = {k: v for k, v in self.part("optimizer").items() if k.startswith(AVERAGE)}
        return self.part("model") | {k.removeprefix(AVERAGE): v for k, v in averages.items()}

    def with_options(self, options: Options) -> Checkpoint:
        return replace(self, options=options)


def pack(model: Mapping[str, torch.Tensor], optimizer: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """One dictionary, the keys prefixed."""
    packed = {f"model.{name}": tensor for name, tensor in model.items()}
    return packed | {f"optimizer.{name}": tensor for name, tensor in optimizer.items()}


def _typed(note: Mapping[str, Any], name: str, kind: type) -> Any:
    value = note.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name} must be {kind.__name__}; got {value!r}")
    return value


def _finite(note: Mapping[str, Any], name: str) -> float:
    value = note.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError(f"{name} must be a finite number; got {value!r}")
    return value


def _row(row: Any, task: Task) -> Row:
    names = ("epoch", "step", "loss", *task.metrics)
    if not isinstance(row, dict) or set(row) != set(names):
        raise TypeError(f"a line of history must have {', '.join(names)}; got {row!r}")
    return {name: _finite(row, name) for name in names}
