"""What a training run was asked to do."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tritoncnn.errors import InputError
from tritoncnn.models import MODELS, ModelEntry
from tritoncnn.optim import SGD, AdamW

EPOCHS = {"digits": 12, "mnist": 5, "folder": 20}
LR = {"sgd": 0.03, "adamw": 0.001}
WEIGHT_DECAY = {"sgd": 5e-4, "adamw": 0.01}
MOMENTUM = 0.9
MAX_THREADS = 1024
WARM_UP = 0.05  # share of all steps in which the learning rate rises
FREE = frozenset({"data_dir", "threads", "save_every"})  # may differ between a run and its resumption


@dataclass(frozen=True)
class Options:
    """One run. ``Options.of`` fills in what was not said; every value is checked. Raises InputError.

    save_every  seconds between checkpoints inside an epoch; one is written at the end of each epoch in any case
    threads     0 leaves torch's own number
    """

    model: str
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
    def of(cls, model: str, **given: Any) -> Options:
        """Options from what was said; None means not said."""
        said = {name: value for name, value in given.items() if value is not None}
        data, optimizer = said.get("data", "digits"), said.get("optimizer", "sgd")
        if optimizer == "adamw" and "momentum" in said:
            raise InputError("--momentum belongs to --optimizer sgd; adamw has betas of its own")
        _check_threads(said)
        usual = {
            "data": data, "data_dir": None, "epochs": EPOCHS.get(data, 1), "batch_size": 64, "lr": LR.get(optimizer, 1.0),
            "optimizer": optimizer, "momentum": MOMENTUM if optimizer == "sgd" else 0.0,
            "weight_decay": WEIGHT_DECAY.get(optimizer, 0.0), "seed": 0, "threads": 0, "save_every": 30.0,
        }  # fmt: skip
        return cls(model=model, **(usual | said))

    @classmethod
    def from_note(cls, note: Mapping[str, Any]) -> Options:
        """Options as a checkpoint keeps them. Raises TypeError on a wrong field, InputError on a wrong value."""
        kinds: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "str | None": (str, type(None))}
        for field in dataclasses.fields(cls):
            value = note.get(field.name)
            if not isinstance(value, kinds[str(field.type)]) or isinstance(value, bool):
                raise TypeError(f"{field.name} must be {field.type}; got {value!r}")
        return cls(**note)

    def __post_init__(self) -> None:
        find_model(self.model)
        if self.data not in EPOCHS:
            raise InputError(f"unknown data set {self.data!r}; known: {', '.join(EPOCHS)}")
        if self.optimizer not in LR:
            raise InputError(f"unknown optimizer {self.optimizer!r}; known: {', '.join(LR)}")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
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
        return dataclasses.asdict(self)

    def resumed(self, model: str, given: Mapping[str, Any]) -> Options:
        """These options, continued under flags given anew. Raises InputError naming every flag that differs."""
        said = {name: value for name, value in given.items() if value is not None}
        differ = [
            f"{flag(name)} {value} (the run: {getattr(self, name)})"
            for name, value in said.items()
            if name not in FREE and value != getattr(self, name)
        ]
        if model != self.model:
            raise InputError(f"the run to resume trained model {self.model!r}; got {model!r}")
        if differ:
            raise InputError(
                f"--resume goes on with the run's own settings, but these differ: {', '.join(differ)}; "
                "leave them out, or begin a new run"
            )
        _check_threads(said)
        return dataclasses.replace(self, **{name: value for name, value in said.items() if name in FREE})

    def build_model(self, classes: int) -> torch.nn.Module:
        """The untrained model of this seed. torch's global generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return find_model(self.model).build(classes)

    def build_optimizer(self) -> SGD | AdamW:
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


def _check_threads(said: Mapping[str, Any]) -> None:
    if not 1 <= said.get("threads", 1) <= MAX_THREADS:
        raise InputError(f"--threads must be from 1 to {MAX_THREADS}; got {said['threads']}")


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def find_model(name: str) -> ModelEntry:
    """Raises InputError that names the models with a similar name, else all."""
    if name in MODELS:
        return MODELS[name]
    close = difflib.get_close_matches(name.lower(), MODELS, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(MODELS)}"
    raise InputError(f"unknown model {name!r}; {hint}")
