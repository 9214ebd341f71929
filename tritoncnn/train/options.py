"""What a training run was asked to do."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from tritoncnn.augment import Changes
from tritoncnn.data import Facts, Targets
from tritoncnn.errors import InputError
from tritoncnn.flags import OPTIMIZERS, SCHEDULES, TABLE, WHOLE, Flags, Row, known, missing_rows, read_rows
from tritoncnn.task import Loss, Step, Task, step_of
from tritoncnn.train.best import waited
from tritoncnn.train.legs import read_legs
from tritoncnn.train.schedule import share_at

if TYPE_CHECKING:
    from tritoncnn.optim import Optimizer

MAX_SIZE = 1024  # larger pictures are reduced to about this side when they are read
LEAST_STEPS = 8  # of an epoch: where the batch is not given, a small data set is cut into at least so many
OF_SOME = {  # flags that only these optimizers have
    "momentum": ("sgd", "rmsprop"), "nesterov": ("sgd",), "weight_decay": ("sgd", "adam", "adamw", "rmsprop"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Options(Flags):
    """One run. ``Options.of`` fills in what was not said; every value is checked. Raises InputError.

    epochs and batch_size are 0 until ``fitted`` knows the size of the data set, where they were not said; size is 0 where
    the task has pictures of one size. ``own`` has the values of what the task and its data set add to the table.
    """

    task: Task
    own: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, task: Task, **given: Any) -> Options:
        """Make options from what was said; None means not said, and the task's recipe decides, then the table."""
        said = check_said(task, given)
        data = said.get("data", task.data[0])
        known("data set", data, task.data, f" of task {task.name!r}")
        model = said.get("model", next(iter(task.models)))
        known("model", model, task.models, f" of task {task.name!r}")
        recipe = task.recipe_for(data, model)
        own = {"optimizer": recipe.optimizer, "schedule": "cosine", **recipe.flags}
        chosen = {name: said.get(name, own[name]) for name in ("optimizer", "schedule")}
        known("optimizer", chosen["optimizer"], OPTIMIZERS)
        known("schedule", chosen["schedule"], SCHEDULES)
        check_of_some(chosen["optimizer"], said)
        usual = OPTIMIZERS[chosen["optimizer"]]
        if chosen["optimizer"] == recipe.optimizer:
            usual = {"lr": recipe.lr, "momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
        if chosen["schedule"] != own["schedule"] or "warm_up" not in own:
            own["warm_up"] = SCHEDULES[chosen["schedule"]]
        side, rows = task.sides.get(model), task.rows_of(model, data)
        check_owner(task, model, data, said)
        if task.clash is not None:
            task.clash({row.name: said.get(row.name, row.default) for row in rows.values()})
        first = {name: row.default for name, row in rows.items()} | {"size": side.usual if side else 0}
        return cls._from(task, first | own | usual | said | {"model": model, "data": data}, rows)

    @classmethod
    def _from(cls, task: Task, values: Mapping[str, Any], rows: Mapping[str, Row]) -> Options:
        """``values`` of the table and of ``rows``, which the task and the data set add."""
        table = {name: value for name, value in values.items() if name not in rows}
        return cls(task=task, own={name: values[name] for name in rows}, **table)

    @classmethod
    def from_note(cls, task: Task, note: Mapping[str, Any]) -> Options:
        """Read options as a checkpoint keeps them, those that it lacks as ``missing_in`` says.

        Raises TypeError on a wrong field, InputError on a wrong value.
        """
        rest = missing_in(task, note) | {name: value for name, value in note.items() if name != "task"}
        if note.get("task") != task.name:
            raise InputError(f"the run is of task {note.get('task')!r}; got {task.name!r}")
        for row in TABLE.values():
            row.check_kind(rest.get(row.name))
        known("model", rest["model"], task.models, f" of task {task.name!r}")
        known("data set", rest["data"], task.data, f" of task {task.name!r}")
        rows = task.rows_of(rest["model"], rest["data"])
        return cls._from(task, rest | read_rows(rows.values(), rest), rows)

    def __post_init__(self) -> None:
        read_rows(self.task.rows_of(self.model, self.data).values(), self.own)
        known("optimizer", self.optimizer, OPTIMIZERS)
        known("schedule", self.schedule, SCHEDULES)
        check_size(self.task, self.model, self.size)
        if self.weights is not None and self.from_run is not None:
            raise InputError(
                f"--weights {self.weights} and --from {self.from_run} both say what to begin with; leave one out"
            )
        if self.new_head and self.weights is None and self.from_run is None:
            raise InputError(
                "--new-head needs --weights or --from, of which it leaves out the layers that tell the classes"
            )
        for row in TABLE.values():
            value = getattr(self, row.name)
            if not (row.flag.unset and value == row.default):
                row.check(value)
        read_legs(self.legs, self.epochs)
        if self.nesterov and not self.momentum:
            raise InputError("--nesterov needs a --momentum above 0; got 0")
        targets, parts = self.task.targets, [part for part, _ in self.changes.parts]
        for part in parts if targets is not Targets.OTHER else ():
            if not part.fits(targets):
                raise InputError(
                    f"--augment {part.name} is not for task {self.task.name!r}: it would leave its "
                    f"{targets.value} wrong"
                )
        if self.task.soft_loss is None:
            said = {
                "--label-smoothing": self.label_smoothing, "--adversarial": self.adversarial,
                f"--augment {self.augment}": not all(part.fits(targets) and not part.soft for part in parts),
            }  # fmt: skip
            wrong = next((what for what, given in said.items() if given), None)
            if wrong is not None:
                raise InputError(f"{wrong} is for tasks with classes; task {self.task.name!r} has none")

    def note(self) -> dict[str, Any]:
        """What config.json and the checkpoint keep, the task by its name."""
        return {"task": self.task.name} | {name: self.value(name) for name in self.rows}

    @property
    def columns(self) -> tuple[str, ...]:
        """What a line of metrics.jsonl has: of the task's metrics those that runs with these options have."""
        told = self.task.told(self.own)
        return tuple(name for name in self.task.columns if name in told or name not in self.task.metrics)

    @property
    def rows(self) -> dict[str, Row]:
        """The table, with what the task and its data set add to it."""
        return {**TABLE, **self.task.rows_of(self.model, self.data)}

    def value(self, name: str) -> Any:
        return self.own[name] if name in self.own else getattr(self, name)

    def fitted(self, examples: int) -> Options:
        """Fill in batch size and epochs where they were not said, after the number of training examples.

        An epoch has 8 steps or more, as far as there are two examples for each, and the run the recipe's number of steps or
        more. Of an optimizer that compares gradients a step is of all examples. Raises InputError where another batch was said.
        """
        recipe = self.task.recipe_for(self.data, self.model)
        least = min(
            2, max(1, examples)
        )  # a batch norm over one pixel, as DeepLab's, has no variance of a single example
        small = 1 << (max(least, examples // LEAST_STEPS).bit_length() - 1)  # a power of two
        batch = self.batch_size or (examples if self.optimizer in WHOLE else min(recipe.batch, small))
        if self.optimizer in WHOLE and batch != examples:
            raise InputError(
                f"--optimizer {self.optimizer} compares each step's gradient with the last one's, which says something of one "
                f"function alone: a batch is all {examples} training examples; leave out --batch-size {batch}"
            )
        epochs = self.epochs or max(recipe.epochs, math.ceil(recipe.steps / max(1, examples // batch)))
        return dataclasses.replace(self, batch_size=batch, epochs=epochs)

    def resumed(self, given: Mapping[str, Any], done: int, ended: bool) -> Options:
        """Continue these options under flags given anew, after ``done`` epochs. Raises InputError naming every flag that differs.

        A run that has ``ended`` may be given more epochs: they are a leg of their own.
        """
        said = check_said(self.task, given)
        check_owner(self.task, self.model, self.data, said)
        rows = self.rows
        epochs = said.get("epochs", self.epochs)
        longer = epochs != self.epochs and ended
        differ = [
            f"{rows[name].word} {value} (the run: {self.value(name)})"
            for name, value in said.items()
            if not (rows[name].flag.free or (name == "epochs" and longer)) and value != self.value(name)
        ]
        if differ:
            first = "; more --epochs may be given once it has ended" if epochs != self.epochs and not ended else ""
            raise InputError(
                f"--resume goes on with the run's own settings, but these differ: {', '.join(differ)}; "
                f"leave them out, or begin a new run{first}"
            )
        if longer:
            if epochs <= done:
                raise InputError(f"--epochs {epochs}: the run has done {done} already; name more of them in all")
            said["legs"] = ",".join([*([self.legs] if self.legs else []), f"{done}/{self.epochs}"])
        own = {name: said.pop(name, value) for name, value in self.own.items()}
        return dataclasses.replace(self, own=own, **said)

    @property
    def builder(self) -> Callable[[Facts], torch.nn.Module]:
        """How to build the model from the facts of its data."""
        return self.task.builder(self.model, self.own)

    def build_model(self, facts: Facts) -> torch.nn.Module:
        """Build the untrained model of this seed. torch's global generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self.builder(facts)

    def build_optimizer(self) -> Optimizer:
        from tritoncnn import optim  # late: it loads Triton, which infer does without

        kinds: dict[str, Any] = {
            "sgd": optim.SGD, "adam": optim.Adam, "adamw": optim.AdamW, "rmsprop": optim.RMSprop, "lbfgs": optim.LBFGS,
        }  # fmt: skip
        own = {name: getattr(self, name) for name, some in OF_SOME.items() if self.optimizer in some}
        built: Optimizer = kinds[self.optimizer](lr=self.lr, clip_norm=self.clip, ema=self.ema, **own)
        return built

    @property
    def changes(self) -> Changes:
        """What ``augment`` says. Raises InputError."""
        return Changes.of(self.augment)

    @property
    def step(self) -> Step:
        """What a step does."""
        return step_of(self.loss())

    def loss(self) -> Loss | Step:
        """The task's loss; its own form of that where targets are smoothed or mixed."""
        if not (self.label_smoothing or self.changes.soft):
            return self.task.loss
        assert self.task.soft_loss is not None, "__post_init__ refuses it"
        return self.task.soft_loss(self.label_smoothing)

    def lr_at(self, step: int, steps: int) -> float:
        """Learning rate of step ``step`` from 0 on, where an epoch has ``steps``: each leg has a schedule of its own."""
        legs = read_legs(self.legs, self.epochs)
        leg = next(leg for leg in legs if step < leg.end * steps)
        share = share_at(self.schedule, self.warm_up, step - leg.first * steps, (leg.planned - leg.first) * steps)
        return self.lr * share

    def ends_early(self, history: Sequence[Mapping[str, float]]) -> bool:
        """Whether the last leg has waited for something better as long as ``--early-stop`` says."""
        first = read_legs(self.legs, self.epochs)[-1].first
        return bool(self.early_stop) and waited(self.task, history, first) >= self.early_stop


def missing_in(task: Task, note: Mapping[str, Any]) -> dict[str, Any]:
    """Options that came after the run whose note this is was made, each with the value that means "as before"."""
    rows = list(TABLE.values())
    model, data = note.get("model"), note.get("data")
    if isinstance(model, str) and model in task.models and isinstance(data, str) and data in task.data:
        rows += task.rows_of(model, data).values()
    return missing_rows(rows, note)


def check_said(task: Task, given: Mapping[str, Any]) -> dict[str, Any]:
    """What is not None of it, each value checked by its row of the table. Raises InputError."""
    said = {name: value for name, value in given.items() if value is not None}
    own = task.own_rows()
    for name, value in said.items():
        if name in own:
            read_rows([own[name]], said)
        elif name in TABLE:
            TABLE[name].check(value)
        else:
            words = ", ".join(row.word for row in own.values()) or "none"
            raise InputError(f"task {task.name!r} has no option {name!r}; its own are: {words}")
    return said


def check_owner(task: Task, model: str, data: str, said: Mapping[str, Any]) -> None:
    """Raise InputError where an added flag was said that this model and this data set do not have."""
    rows, own = task.rows_of(model, data), task.own_rows()
    for name in said:
        if name in own and name not in rows:
            owners = task.owners_of(name)
            got = f"--data {data}" if owners.startswith("--data") else f"--model {model}"
            raise InputError(f"{own[name].word} belongs to {owners}; got {got}")


def check_of_some(optimizer: str, said: Mapping[str, Any]) -> None:
    """Raises InputError where a flag was said that the optimizer does not have."""
    for name, some in OF_SOME.items():
        if name in said and optimizer not in some:
            raise InputError(f"{TABLE[name].word} belongs to --optimizer {' or '.join(some)}; got {optimizer}")


def check_size(task: Task, model: str, size: int) -> None:
    """Raise InputError unless ``model`` takes pictures of ``size`` x ``size``."""
    if not task.sides:
        if size:
            raise InputError(f"--size {size}: the pictures of task {task.name!r} have one size; leave it out")
        return
    least = task.sides[model].least
    if not least <= size <= MAX_SIZE:
        raise InputError(f"--size must be from {least} to {MAX_SIZE} for model {model!r}; got {size}")
    if size % (step := task.sides[model].step):
        raise InputError(f"--size must be a multiple of {step} for model {model!r}; got {size}")
