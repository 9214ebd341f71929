"""All that a training run needs to go on, bit for bit, in one file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tritoncnn.errors import CheckpointError, InputError
from tritoncnn.task import LOSS, MODEL, Task
from tritoncnn.train.options import Options, missing_in
from tritoncnn.train.tensorfile import read_note, read_tensors, write_tensors

FORMAT = 9
ONE_NET = 8  # the format before, of runs with one net and one loss: ``_renewed`` and ``_older`` read it
AVERAGE = f"average.{MODEL}."  # before names of the optimizer's tensors
OPTIMIZER = "optimizer."
Row = dict[str, float]  # one line of metrics.jsonl


@dataclass(frozen=True)
class Checkpoint:
    """A moment between two steps.

    epoch, batch   the step to do next: epochs and batches of the current epoch that are done
    loss_sums      sum of each loss over these batches, added in their order
    seconds        time spent so far, over all resumptions
    history        the lines of metrics.jsonl up to here; the first ones lack metrics that came after the run was begun
    data           fingerprint of the data set
    frozen         fingerprint of the nets that nothing moves, which are not among the tensors; empty where there are none
    tensors        ``model.NAME``, the same of the other nets that are moved, and ``optimizer.NAME``
    added          options that came after the run was begun, in words with the values that mean "as before"
    """

    options: Options
    data: str
    epoch: int
    batch: int
    loss_sums: Row
    seconds: float
    history: tuple[Row, ...]
    frozen: str
    tensors: dict[str, torch.Tensor]
    added: tuple[str, ...] = ()

    @classmethod
    def start(cls, options: Options, data: str) -> Checkpoint:
        return cls(options, data, 0, 0, {}, 0.0, (), "", {})

    def save(self, path: Path) -> None:
        """Raises SaveError; the checkpoint before is then intact."""
        note = {
            "format": FORMAT, "options": self.options.note(), "data": self.data, "epoch": self.epoch,
            "batch": self.batch, "loss_sums": self.loss_sums, "seconds": self.seconds, "history": list(self.history),
            "frozen": self.frozen,
        }  # fmt: skip
        write_tensors(path, self.tensors, note)

    @classmethod
    def load(cls, path: Path, task: Task) -> Checkpoint:
        """Read all of a checkpoint of ``task`` but its tensors. Raises CheckpointError. ``fit`` reads these."""
        note = read_note(path)
        if not note:
            raise CheckpointError(f"{path} is no checkpoint of a training run: it holds tensors only")
        if note.get("format") == ONE_NET:
            note = _renewed(note)
        if note.get("format") != FORMAT:
            raise CheckpointError(f"{path} has checkpoint format {note.get('format')!r}; this version reads {FORMAT}")
        said = note.get("options")
        if isinstance(said, dict) and isinstance(said.get("task"), str) and said["task"] != task.name:
            raise InputError(
                f"{path.parent} is a run of task {said['task']!r}; got {task.name!r}: leave TASK out, or name its own"
            )
        try:
            options = Options.from_note(task, kept := _typed(note, "options", dict))
            added = tuple(f"{options.rows[name].word} {value}" for name, value in missing_in(task, kept).items())
            found = cls(
                options, _typed(note, "data", str), _typed(note, "epoch", int), _typed(note, "batch", int),
                _row(note.get("loss_sums"), "loss_sums", task.step.columns if note["batch"] else ()),
                _finite(note, "seconds"),
                _history(options, _typed(note, "history", list)),
                _typed(note, "frozen", str), {}, added,
            )  # fmt: skip
        except (TypeError, OverflowError, InputError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error
        if not (0 <= found.epoch <= options.epochs and found.batch >= 0 and len(found.history) == found.epoch):
            raise CheckpointError(
                f"{path} is damaged: epoch {found.epoch} and batch {found.batch} are no step of the run"
            )
        return found

    def fit(self, path: Path, nets: Mapping[str, torch.Tensor], optimizer: Mapping[str, torch.Tensor]) -> Checkpoint:
        """Read the tensors, which must be those of these nets and optimizers, and finite. Raises CheckpointError."""
        wanted = pack(nets, optimizer)
        named = {name: _older(name) if read_note(path).get("format") == ONE_NET else name for name in wanted}
        tensors, _ = read_tensors(path, {named[name]: tensor for name, tensor in wanted.items()})
        return replace(self, tensors={name: tensors[named[name]] for name in wanted})  # in the nets' order

    @property
    def unmeasured(self) -> list[str]:
        """Metrics that the last line of the history lacks: they came after the run was begun."""
        return [name for name in self.options.columns if self.history and name not in self.history[-1]]

    @property
    def nets(self) -> dict[str, torch.Tensor]:
        """The tensors of all nets, as ``model.NAME``."""
        return {k: v for k, v in self.tensors.items() if not k.startswith(OPTIMIZER)}

    @property
    def optimizer(self) -> dict[str, torch.Tensor]:
        """The optimizers' tensors under their own names."""
        return _within(OPTIMIZER, self.tensors)

    @property
    def ended(self) -> bool:
        """Whether all epochs are done, or ``--early-stop`` says that it is enough."""
        return self.epoch == self.options.epochs or (self.batch == 0 and self.options.ends_early(self.history))

    def measured(self) -> dict[str, torch.Tensor]:
        """The model's weights that are measured and kept: the moving averages, where there are such."""
        return measured(self.tensors, self.optimizer)

    def with_options(self, options: Options) -> Checkpoint:
        return replace(self, options=options)


def measured(nets: Mapping[str, torch.Tensor], optimizer: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The model's tensors under their own names; of its parameters the moving averages, where the optimizer has such."""
    return _within(f"{MODEL}.", nets) | _within(AVERAGE, optimizer)


def pack(nets: Mapping[str, torch.Tensor], optimizer: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """One dictionary, the optimizers' names prefixed."""
    return {**nets, **{f"{OPTIMIZER}{name}": tensor for name, tensor in optimizer.items()}}


def _within(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


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


def _history(options: Options, lines: Sequence[Any]) -> tuple[Row, ...]:
    """Lines of metrics.jsonl. A metric that is not the best one may be missing up to some line: there was no such thing yet.

    Older versions also kept metrics of what a net does not answer: these are left out.
    """
    task, columns = options.task, options.columns
    rows: list[Row] = []
    had = {"epoch", "step", *task.step.columns, task.best}
    for line in lines:
        if isinstance(line, dict):
            line = {name: value for name, value in line.items() if name in columns or name not in task.metrics}
            had |= set(line) & set(columns)
        rows.append(_row(line, "a line of history", [name for name in columns if name in had]))
    return tuple(rows)


def _row(row: Any, what: str, names: Sequence[str]) -> Row:
    if not isinstance(row, dict) or set(row) != set(names):
        raise TypeError(f"{what} must have {', '.join(names) or 'nothing'}; got {row!r}")
    return {name: _finite(row, name) for name in names}


def _renewed(note: Mapping[str, Any]) -> dict[str, Any]:
    """A note of format 8 as it would be now."""
    sums = {LOSS: note.get("loss_sum")} if note.get("batch") else {}
    return {**note, "format": FORMAT, "loss_sums": sums, "frozen": ""}


def _older(name: str) -> str:
    """What format 8 called a tensor: its optimizer knew one net only, and named none."""
    what, _, rest = name.removeprefix(OPTIMIZER).partition(f".{MODEL}.")
    return f"{OPTIMIZER}{what}.{rest}" if name.startswith(OPTIMIZER) and rest else name
