"""One table of what a training run may be told. Command line, config files and checkpoints are made from it.

No torch here: ``tritoncnn train --help`` prints the table.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tritoncnn.errors import InputError

MAX_THREADS = 1024
NONE = "none"
OPTIMIZERS: dict[str, dict[str, float]] = {  # name -> what is usual for it, where the recipe has another one
    "sgd": {"lr": 0.03, "momentum": 0.9, "weight_decay": 5e-4},
    "adam": {"lr": 0.001, "momentum": 0.0, "weight_decay": 0.0},
    "adamw": {"lr": 0.001, "momentum": 0.0, "weight_decay": 0.01},
    "rmsprop": {"lr": 0.001, "momentum": 0.0, "weight_decay": 0.0},
    "lbfgs": {"lr": 1.0, "momentum": 0.0, "weight_decay": 0.0},
}
WHOLE = ("lbfgs",)  # optimizers that compare the gradients of one step with those of the next: a batch is all there is
SCHEDULES = {"cosine": 0.05, "step": 0.05, "one-cycle": 0.3, "constant": 0.05}  # name -> usual warm-up
KINDS: dict[str, type | tuple[type, ...]] = {
    "str": str, "int": int, "float": (int, float), "bool": bool, "str | None": (str, type(None)),
}  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """Which values of a flag make sense, in words and as a test."""

    words: str
    holds: Callable[[Any], bool]


AT_LEAST_1 = Rule("at least 1", lambda value: value >= 1)
ABOVE_0 = Rule("a finite number above 0", lambda value: math.isfinite(value) and value > 0)
FROM_0 = Rule("a finite number from 0", lambda value: math.isfinite(value) and value >= 0)
BELOW_1 = Rule("from 0 and below 1", lambda value: 0 <= value < 1)


@dataclass(frozen=True)
class Flag:
    """One row beside its name, type and default, which the dataclass field has.

    rule     checked for what is said
    choices  the words it takes, where these are few
    unset    the default stands for "not said"; the rule does not hold for it
    free     may differ between a run and its resumption: no bit of the result depends on it
    metavar  what help shows for the value
    word     on the command line, where it is not --NAME
    hidden   it is no flag, but belongs to what reproduces a run
    of       of a task's own: the models that have it; empty: all
    first    every run ever made has it. What is not ``first`` may be missing from an older run, and its default then has to
             mean "as before there was the flag"
    """

    help: str
    rule: Rule | None = None
    choices: tuple[str, ...] = ()
    unset: bool = False
    free: bool = False
    metavar: str | None = None
    word: str = ""
    hidden: bool = False
    of: tuple[str, ...] = ()
    first: bool = False


def _flag(default: Any, help: str, rule: Rule | None = None, **more: Any) -> Any:
    return dataclasses.field(default=default, metadata={"flag": Flag(help, rule, **more)})


@dataclass(frozen=True, kw_only=True)
class Flags:
    """The table. A default holds where neither the person nor the task's recipe says otherwise.

    epochs, batch_size  0: by the size of the data set
    model, data         empty: the task's first
    size                0: the model's; of tasks with pictures of one size always
    threads             0: torch's own number
    """

    model: str = _flag("", "One of the task's models (default: its first).", first=True)
    size: int = _flag(
        0, "Side of the pictures in pixels, where models take several (default: the model's).", first=True
    )
    data: str = _flag("", "One of the task's data sets (default: its first).", first=True)
    data_dir: str | None = _flag(None, "Where a data set is that does not come along.", free=True, metavar="PATH")
    weights: str | None = _flag(
        None, "Begin with the weights of this file: .safetensors, .pth or .pt, torchvision's names.", metavar="FILE"
    )
    from_run: str | None = _flag(
        None, "Begin with the weights of a run of the same model (fine-tuning).", word="--from", metavar="RUN"
    )
    new_head: bool = _flag(False, "With --weights or --from: leave out those of the layers that tell the classes.")
    epochs: int = _flag(
        0,
        "Passes over the training examples (default: the task's, more of few examples).",
        AT_LEAST_1,
        unset=True,
        first=True,
    )
    batch_size: int = _flag(
        0,
        "Examples per step (default: the task's, less of few examples; of lbfgs all).",
        AT_LEAST_1,
        unset=True,
        first=True,
    )
    lr: float = _flag(0.0, "Highest learning rate (default: the task's).", ABOVE_0, first=True)
    schedule: str = _flag(
        "cosine", "Of the learning rate, after warm-up (default: cosine).", choices=tuple(SCHEDULES), first=True,
    )  # fmt: skip
    warm_up: float = _flag(
        0.05,
        "Share of all steps in which the learning rate rises (default: 0.05; 0.3 of one-cycle).",
        BELOW_1,
        first=True,
    )
    early_stop: int = _flag(
        0, "Stop after so many epochs that made the task's best metric no better (default: never).", AT_LEAST_1, unset=True,
        metavar="EPOCHS",
    )  # fmt: skip
    legs: str = _flag("", "Where the run had ended before and was told to go on: done/planned,...", hidden=True)
    optimizer: str = _flag("", "Default: the task's.", choices=tuple(OPTIMIZERS), first=True)
    momentum: float = _flag(0.0, "Of sgd and rmsprop.", BELOW_1, first=True)
    nesterov: bool = _flag(False, "Nesterov's momentum, of sgd.")
    weight_decay: float = _flag(
        0.0, "Share of each weight that a step of learning rate 1 takes off; not of lbfgs.", FROM_0, first=True
    )
    clip: float = _flag(
        0.0, "Scale all gradients of a step down to this 2-norm, if they are larger (0: never).", FROM_0, metavar="NORM"
    )
    ema: float = _flag(
        0.0, "Measure and keep moving averages of the weights, of this decay a step (0: none).", BELOW_1, metavar="DECAY"
    )  # fmt: skip
    label_smoothing: float = _flag(
        0.0, "Share of each target that is spread over all classes alike.", BELOW_1, metavar="SHARE"
    )
    augment: str = _flag(
        NONE, "How training pictures are changed at random: names from above, with commas (default: the task's, or none).",
        metavar="NAME[=AMOUNT],...",
    )  # fmt: skip
    adversarial: float = _flag(
        0.0, "Train on pictures changed against the model, by up to so much a value; white is 1 (0: none).", FROM_0,
        metavar="EPSILON",
    )  # fmt: skip
    seed: int = _flag(
        0, "Of the first weights, the order of examples and their changes (default: 0).",
        Rule("from 0 to 2**63 - 1", lambda value: 0 <= value < 2**63), first=True,
    )  # fmt: skip
    threads: int = _flag(
        0, "Threads to compute with (default: torch's choice). No bit depends on it.",
        Rule(f"from 1 to {MAX_THREADS}", lambda value: 1 <= value <= MAX_THREADS), unset=True, free=True,
    )  # fmt: skip
    workers: int = _flag(
        0, "Processes that read pictures ahead of training, where they stay on disk (default: 0: as they are needed).",
        Rule(f"from 0 to {MAX_THREADS}", lambda value: 0 <= value <= MAX_THREADS), free=True,
    )  # fmt: skip
    save_every: float = _flag(30.0, "Seconds between checkpoints within an epoch (default: 30).", FROM_0, free=True)
    csv: bool = _flag(False, "Also write the lines of metrics.jsonl as metrics.csv.", free=True)
    tensorboard: bool = _flag(False, "Also write them for TensorBoard: tensorboard --logdir RUN.", free=True)


@dataclass(frozen=True)
class Row:
    """A row of the table: a field of ``Flags`` with what its metadata say."""

    name: str
    kind: str
    default: Any
    flag: Flag

    @property
    def word(self) -> str:
        """As the command line has it: --batch-size."""
        return self.flag.word or "--" + self.name.replace("_", "-")

    def check_kind(self, value: Any) -> None:
        """Raises TypeError where the value is of another type."""
        if not isinstance(value, KINDS[self.kind]) or (isinstance(value, bool) and self.kind != "bool"):
            raise TypeError(f"{self.name} must be {self.kind}; got {value!r}")

    def check(self, value: Any) -> None:
        """Raises InputError unless the value makes sense."""
        if self.flag.choices:
            known(self.name.replace("_", " "), value, self.flag.choices)
        if self.flag.rule is not None and not self.flag.rule.holds(value):
            raise InputError(f"{self.word} must be {self.flag.rule.words}; got {value}")


TABLE: Mapping[str, Row] = {
    field.name: Row(field.name, str(field.type), field.default, field.metadata["flag"])
    for field in dataclasses.fields(Flags)
}


def option(name: str, default: Any, help: str, rule: Rule | None = None, **more: Any) -> Row:
    """A row that a task or a data set adds to the table for itself; its kind is that of the default.

    The default holds for all runs from before there was the row: say ``first=True`` where it would be wrong for them.
    """
    assert name not in TABLE, f"{name} is a flag of all tasks"
    return Row(name, type(default).__name__, default, Flag(help, rule, **more))


def read_rows(rows: Iterable[Row], note: Mapping[str, Any]) -> dict[str, Any]:
    """The values of ``rows`` in what a run keeps of its flags. Raises InputError naming what is missing or makes no sense."""
    found = {row.name: note.get(row.name) for row in rows}
    for row in rows:
        try:
            row.check_kind(found[row.name])
        except TypeError as error:
            raise InputError(str(error)) from error
        row.check(found[row.name])
    return found


def missing_rows(rows: Iterable[Row], note: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults of the rows that a run of an older version did not keep, where that is no damage: they mean "as before"."""
    return {row.name: row.default for row in rows if row.name not in note and not row.flag.first}


def known(kind: str, name: str, names: Iterable[str], where: str = "") -> None:
    """Raise InputError unless ``name`` is one of ``names``; it tells similar names, else all."""
    names = list(names)
    if name not in names:
        close = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.75)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names)}"
        raise InputError(f"unknown {kind}{where} {name!r}; {hint}")
