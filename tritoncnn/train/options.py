"""What a training run was asked to do."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from tritoncnn.data import Facts
from tritoncnn.errors import InputError
from tritoncnn.task import Task

if TYPE_CHECKING:
    from tritoncnn.optim import SGD, AdamW

USUAL = {  # for an optimizer other than the recipe's
    "sgd": {"lr": 0.03, "momentum": 0.9, "weight_decay": 5e-4},
    "adamw": {"lr": 0.001, "momentum": 0.0, "weight_decay": 0.01},
}
MAX_THREADS = 1024
MAX_SIZE = 1024  # larger pictures are reduced to about this side when they are read
LEAST_STEPS = 8  # of an epoch: where the batch is not given, a small data set is cut into at least so many
WARM_UP = 0.05  # share of all steps in which the learning rate rises
FREE = frozenset({"data_dir", "threads", "save_every"})  # may differ between a run and its resumption


@dataclass(frozen=True)
class Options:
    """One run. ``Options.of`` fills in what was not said; every value is checked. Raises InputError.

    size                of the pictures' sides; 0 where the task has pictures of one size
    epochs, batch_size  0 until ``fitted`` knows the size of the data set, where they were not said
    save_every          seconds between checkpoints inside an epoch; one is written at the end of each epoch in any case
    threads             0 leaves torch's own number
    """

    task: Task
    model: str
    size: int
    data: str
    data_dir: str | None
    epochs: int
    batch_size: int
    lr: float
    optimizer: str
    momentum: float
    weight_decay: float
    seed: int
    threads: int
    save_every: float

    @classmethod
    def of(cls, task: Task, **given: Any) -> Options:
        """Make options from what was said; None means not said, and the task's recipe decides."""
        said = {name: value for name, value in given.items() if value is not None}
        for name in ("epochs", "batch_size", "threads"):
            if said.get(name, 1) < 1:
                least = "at least 1" if name != "threads" else f"from 1 to {MAX_THREADS}"
                raise InputError(f"{flag(name)} must be {least}; got {said[name]}")
        data = said.get("data", task.data[0])
        recipe = task.recipe_for(data)
        optimizer = said.get("optimizer", recipe.optimizer)
        if optimizer == "adamw" and "momentum" in said:
            raise InputError("--momentum belongs to --optimizer sgd; adamw has betas of its own")
        model = said.get("model", next(iter(task.models)))
        side = task.sides.get(model)
        own = {"lr": recipe.lr, "momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
        usual = {
            "model": model, "size": side.usual if side else 0, "data": data, "data_dir": None, "epochs": 0, "batch_size": 0,
            "optimizer": optimizer, "seed": 0, "threads": 0, "save_every": 30.0,
        } | (own if optimizer == recipe.optimizer else USUAL.get(optimizer, own))  # fmt: skip
        return cls(task=task, **(usual | said))

    @classmethod
    def from_note(cls, task: Task, note: Mapping[str, Any]) -> Options:
        """Read options as a checkpoint keeps them. Raises TypeError on a wrong field, InputError on a wrong value."""
        kinds: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "str | None": (str, type(None))}
        rest = {name: value for name, value in note.items() if name != "task"}
        if note.get("task") != task.name:
            raise InputError(f"the run is of task {note.get('task')!r}; got {task.name!r}")
        for field in dataclasses.fields(cls):
            value = rest.get(field.name)
            if field.name != "task" and (not isinstance(value, kinds[str(field.type)]) or isinstance(value, bool)):
                raise TypeError(f"{field.name} must be {field.type}; got {value!r}")
        return cls(task=task, **rest)

    def __post_init__(self) -> None:
        known("model", self.model, self.task.models, f" of task {self.task.name!r}")
        known("data set", self.data, self.task.data, f" of task {self.task.name!r}")
        known("optimizer", self.optimizer, USUAL)
        check_size(self.task, self.model, self.size)
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 0:
                raise InputError(f"{flag(name)} must be at least 1; got {getattr(self, name)}")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"--seed must be from 0 to 2**63 - 1; got {self.seed}")
        if not 0 <= self.threads <= MAX_THREADS:
            raise InputError(f"--threads must be from 0 to {MAX_THREADS}; got {self.threads}")
        for name in ("momentum", "weight_decay", "save_every"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{flag(name)} must be a finite number from 0; got {value}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise InputError(f"--lr must be a finite number above 0; got {self.lr}")
        if self.momentum >= 1:
            raise InputError(f"--momentum must be below 1; got {self.momentum}")

    def note(self) -> dict[str, Any]:
        """What config.json and the checkpoint keep, the task by its name."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return values | {"task": self.task.name}

    def fitted(self, examples: int) -> Options:
        """Fill in batch size and epochs where they were not said, after the number of training examples.

        An epoch has 8 steps or more, as far as there are examples, and the run at least the recipe's number of steps.
        """
        recipe = self.task.recipe_for(self.data)
        small = 1 << (max(1, examples // LEAST_STEPS).bit_length() - 1)  # a power of two
        batch = self.batch_size or min(recipe.batch, small)
        epochs = self.epochs or max(recipe.epochs, math.ceil(recipe.steps / max(1, examples // batch)))
        return dataclasses.replace(self, batch_size=batch, epochs=epochs)

    def resumed(self, given: Mapping[str, Any]) -> Options:
        """Continue these options under flags given anew. Raises InputError naming every flag that differs."""
        said = {name: value for name, value in given.items() if value is not None}
        differ = [
            f"{flag(name)} {value} (the run: {getattr(self, name)})"
            for name, value in said.items()
            if name not in FREE and value != getattr(self, name)
        ]
        if differ:
            raise InputError(
                f"--resume goes on with the run's own settings, but these differ: {', '.join(differ)}; "
                "leave them out, or begin a new run"
            )
        if not 1 <= said.get("threads", 1) <= MAX_THREADS:
            raise InputError(f"--threads must be from 1 to {MAX_THREADS}; got {said['threads']}")
        return dataclasses.replace(self, **{name: value for name, value in said.items() if name in FREE})

    def build_model(self, facts: Facts) -> torch.nn.Module:
        """Build the untrained model of this seed. torch's global generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self.task.models[self.model](facts)

    def build_optimizer(self) -> SGD | AdamW:
        from tritoncnn.optim import SGD, AdamW  # late: it loads Triton, which infer does without

        if self.optimizer == "sgd":
            return SGD(lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
        return AdamW(lr=self.lr, weight_decay=self.weight_decay)

    def lr_at(self, step: int, steps: int) -> float:
        """Learning rate of step 0 <= ``step`` < ``steps``: a straight rise over the first 5 %, then half a cosine to 0.

        Source: Loshchilov & Hutter 2017, "SGDR", equation 5 without restarts.
        """
        rise = math.ceil(WARM_UP * steps)
        if step < rise:
            return self.lr * (step + 1) / rise
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def known(kind: str, name: str, names: Iterable[str], where: str = "") -> None:
    """Raise InputError unless ``name`` is one of ``names``; it tells similar names, else all."""
    names = list(names)
    if name not in names:
        close = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.75)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names)}"
        raise InputError(f"unknown {kind}{where} {name!r}; {hint}")


def check_size(task: Task, model: str, size: int) -> None:
    """Raise InputError unless ``model`` takes pictures of ``size`` x ``size``."""
    if not task.sides:
        if size:
            raise InputError(f"--size {size}: the pictures of task {task.name!r} have one size; leave it out")
        return
    least = task.sides[model].least
    if not least <= size <= MAX_SIZE:
        raise InputError(f"--size must be from {least} to {MAX_SIZE} for model {model!r}; got {size}")
