"""A Task: all that differs between the systems this project trains. The engine in ``train/`` reads nothing else.

A file in ``tasks/`` defines one. Whatever it does not say, the engine does for all alike: batches, schedule, checkpoints,
run folder, curves, progress.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from tritoncnn.data import SOURCES, Examples, Facts, Reader, Targets
from tritoncnn.data.colour import ColourReader
from tritoncnn.data.inputs import PICTURES, Kind
from tritoncnn.data.pictures import read_colour
from tritoncnn.flags import Row
from tritoncnn.tree import apply

Build = Callable[..., torch.nn.Module]  # (facts of the data, the task's own options by name)
Loss = Callable[[Any, Any], torch.Tensor]
Losses = Callable[[Any, Any], Mapping[str, torch.Tensor]]  # (nets, batch) -> losses by name
Values = Mapping[str, Any]  # of options, by name
MODEL, LOSS = "model", "loss"  # the net that is measured and kept, and the loss that is shown


@dataclass(frozen=True)
class Move:
    """In each step ``net`` follows the gradient of ``loss``, by the run's optimizer.

    lr       its learning rate, as a multiple of the run's
    numbers  what else differs from the run's optimizer, where that has such: ``{"betas": (0.5, 0.999)}``
    """

    net: str = MODEL
    loss: str = LOSS
    lr: float = 1.0
    numbers: Values = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """A training step that is more than ``loss(model(x), y)``: nets beside the model, several losses, one plan for all.

    losses   values of ``options`` -> what computes, from (nets, batch), the losses by name. It is traced once. ``nets.model`` is
             the model, ``nets.NAME`` one of ``nets``, ``batch.x`` and ``batch.y`` are what the data set gives. All gradients are
             those before the step, and each loss moves its own nets only: nothing has to be detached or computed twice
    tells    the losses beside "loss", which is the model's, in the order of the columns of metrics.jsonl
    nets     name -> how to build it from the facts of the data and the values of ``options``. One that nothing moves is frozen:
             in eval mode, and in no checkpoint, for it is built to the same bits again
    moves    which net follows which loss
    options  further rows of the table of flags, for losses and nets
    """

    losses: Callable[[Values], Losses]
    tells: tuple[str, ...] = ()
    nets: Mapping[str, Callable[[Facts, Values], torch.nn.Module]] = field(default_factory=dict)
    moves: tuple[Move, ...] = (Move(),)
    options: tuple[Row, ...] = ()

    def __post_init__(self) -> None:
        assert not {MODEL, "optimizer"} & set(self.nets), "a checkpoint has these names for something else"
        assert MODEL in [move.net for move in self.moves], "nothing moves the model"

    @property
    def frozen(self) -> tuple[str, ...]:
        """The nets that nothing moves."""
        return tuple(name for name in self.nets if name not in [move.net for move in self.moves])

    @property
    def columns(self) -> tuple[str, ...]:
        return (LOSS, *self.tells)


def step_of(loss: Loss | Step) -> Step:
    """The step that lowers a loss; one that is a step already as it is."""
    if isinstance(loss, Step):
        return loss
    return Step(lambda values: lambda nets, batch: {LOSS: loss(nets.model(batch.x), batch.y)})


@dataclass(frozen=True)
class Metric:
    """How good outputs for the test examples are.

    measure  (outputs, targets) of all test examples -> a finite number
    percent  it is a share, shown in %
    loss     it is drawn beside the training loss
    error    the smaller the better, as of losses
    of       values of the task's own options -> whether runs with them have it; what a net does not answer is in no summary
    """

    measure: Callable[[Any, Any], float]
    percent: bool = False
    loss: bool = False
    error: bool = False
    of: Callable[[Values], bool] = lambda values: True

    @property
    def falls(self) -> bool:
        """Whether less is better."""
        return self.loss or self.error

    def show(self, value: float) -> str:
        return f"{value:.2%}" if self.percent else f"{value:.4f}"


@dataclass(frozen=True)
class Recipe:
    """How to train where nobody says otherwise.

    batch      at most; a small data set takes fewer, so that an epoch has 8 steps or more
    epochs     at least; a small data set takes more, until there are ``steps`` steps in all
    optimizer  its name as in ``--optimizer``; lr, momentum and weight_decay are for it
    flags      what else differs from the table in ``flags.py``: ``{"schedule": "step", "ema": 0.999}``
    """

    epochs: int
    batch: int
    steps: int
    optimizer: str
    lr: float
    momentum: float
    weight_decay: float
    flags: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Side:
    """Height and width of a model's pictures in pixels: ``usual`` where nobody says otherwise, ``least`` that it takes, and what
    they are multiples of."""

    usual: int
    least: int
    step: int = 1


class Example(NamedTuple):
    """A batch of the right shapes and the facts of its data, to look at a model without loading any data."""

    x: torch.Tensor
    y: Any
    facts: Facts


@dataclass(frozen=True)
class Answer:
    """What a model says of one input: ``note`` for machines (JSON), ``lines`` for people.

    draw    an RGB picture, in any scale -> the picture with the answer on it; None: the lines are written below it
    within  (width, height of the picture in its own pixels) -> the answer in these; None where they do not matter
    files   end of a file's name -> what makes its bytes: further files of the answer, as a map for machines
    """

    note: Mapping[str, Any]
    lines: tuple[str, ...]
    draw: Callable[[Image.Image], Image.Image] | None = None
    within: Callable[[int, int], Answer] | None = None
    files: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)


class Ask(NamedTuple):
    """How much a person wants to hear of one input: at most ``top`` things, each of at least this ``score``."""

    top: int
    score: float = 0.0


USUAL = Ask(3)


@dataclass(frozen=True)
class Report:
    """What ``tritoncnn eval`` says of outputs beside the metrics: ``note`` for machines (JSON), ``lines`` for people."""

    note: Mapping[str, Any]
    lines: tuple[str, ...]


class Baseline(NamedTuple):
    """What a sceptic would try before any network: in words, as "the nearest mean colour", and its ``best`` metric.

    rivals  where there are several such things, all metrics that were taken of each by its words
    """

    words: str
    value: float
    rivals: Mapping[str, Mapping[str, float]] = {}


Sceptic = Callable[
    [Facts, Examples, Examples, Values], Baseline | None
]  # (facts, training part, test part, values of options)


@dataclass(frozen=True)
class Maker:
    """Files that a trained net makes: their names, and (examples of the test part, facts, tensors by name) -> their bytes."""

    files: tuple[str, ...]
    make: Callable[[Examples, Facts, Mapping[str, torch.Tensor]], Mapping[str, bytes]]


Judge = Callable[[Any, Examples, Facts], Report]  # (outputs for these examples, the examples, facts of the data)
Draw = Callable[[Any, Examples, Facts], bytes]  # the same -> the bytes of a file


@dataclass(frozen=True)
class Task:
    """One system. Outputs and targets may be any trees of tensors whose rows are examples.

    name     what ``train NAME`` says; the file in ``tasks/`` has the same
    about    one line
    models   name -> how to build it from the facts of the data and, by name, the values of ``options`` that are its; the first
             is the default
    data     names of data sets that it learns from; the first is the default
    loss     (output, target) -> one number, of known ops: a part of the compiled step. Or a whole Step
    metrics  name -> Metric, in the order of the columns of metrics.jsonl
    best     the metric that is shown wherever there is room for one
    example  batch size -> Example
    read     a file that a person hands in -> f32[C,H,W], as the data sets have their pictures
    sides    model -> Side, for a ColourReader as ``read``; empty where pictures have one size, and ``--size`` means nothing
    takes    what ``read`` reads, in a word, and how the names of such files end
    view     such a file -> the RGB picture on which answers are drawn
    answer   (outputs, facts, how much) -> one Answer per example; ``ask`` is how much where nobody says otherwise
    recipe   of the default data and model; ``recipes`` has others by the name of the data set, else of the model
    soft_loss  amount of label smoothing -> the loss with it, whose targets may also be shares f32[N,classes]; None where
             targets are no classes
    options  further rows of the table of flags, for the models: ``option("depth", 3, "Layers of filters.", AT_LEAST_1)``
    clash    values of all its own options -> None; raises InputError where they make no sense together. Asked of new runs only
    targets  what they are, for augmentations
    pictures  name of a file -> what draws it of the outputs for the test part: files of the run folder, and of ``eval``'s
    portraits  the same of the weights: (tensors by name, facts) -> the bytes of a file
    makes    further files of the run folder, and of ``eval``'s, that the net makes
    each     (model, facts, file) -> Answer, where files have sizes of their own; None: they are read by ``read`` to one size and
             answered in batches, by ``answer``
    report   what ``eval`` says of outputs beside the metrics
    baseline  (facts, training part, test part, values of ``options``) -> what a sceptic would try first, and how good that is;
              None: nothing
    """

    name: str
    about: str
    models: Mapping[str, Build]
    data: tuple[str, ...]
    loss: Loss | Step
    metrics: Mapping[str, Metric]
    best: str
    example: Callable[[int], Example]
    read: Reader
    answer: Callable[[Any, Facts, Ask], list[Answer]]
    recipe: Recipe
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    sides: Mapping[str, Side] = field(default_factory=dict)
    takes: Kind = PICTURES
    view: Callable[[Path], Image.Image] = read_colour
    ask: Ask = USUAL
    soft_loss: Callable[[float], Loss] | None = None
    options: tuple[Row, ...] = ()
    clash: Callable[[Values], None] | None = None
    targets: Targets = Targets.OTHER
    pictures: Mapping[str, Draw] = field(default_factory=dict)
    portraits: Mapping[str, Callable[[Mapping[str, torch.Tensor], Facts], bytes]] = field(default_factory=dict)
    makes: Maker | None = None
    each: Callable[[torch.nn.Module, Facts, Path], Answer] | None = None
    report: Judge | None = None
    baseline: Sceptic | None = None

    def __post_init__(self) -> None:
        assert self.models, f"task {self.name} has no model"
        assert self.data, f"task {self.name} has no data set"
        assert self.best in self.metrics, f"task {self.name} measures no {self.best}"
        wanted = set(self.models) if isinstance(self.read, ColourReader) else set()
        assert set(self.sides) == wanted, f"task {self.name} must tell the sides of {wanted}; got {set(self.sides)}"

        clash = {"epoch", "step", LOSS} & set(self.metrics) | set(self.step.tells) & set(self.metrics)
        assert not clash, f"task {self.name} has two columns {clash}"
        assert self.soft_loss is None or not isinstance(self.loss, Step), (
            f"task {self.name}: a Step has no smoothed form"
        )
        names = [row.name for row in (*self.options, *self.step.options)]
        assert len(set(names)) == len(names), f"task {self.name} has an option twice: {names}"

    @property
    def step(self) -> Step:
        """How it trains, where nobody asks for another loss."""
        return step_of(self.loss)

    @property
    def columns(self) -> tuple[str, ...]:
        """What a line of metrics.jsonl has."""
        return ("epoch", "step", *self.step.columns, *self.metrics)

    def told(self, own: Values) -> dict[str, Metric]:
        """The metrics that a run with these values of its own options has."""
        return {name: metric for name, metric in self.metrics.items() if metric.of(own)}

    def own_rows(self) -> dict[str, Row]:
        """All that the task and its data sets add to the table of flags."""
        rows = [*self.options, *self.step.options, *(row for name in self.data for row in SOURCES[name].options)]
        return {row.name: row for row in rows}

    def rows_of(self, model: str, data: str) -> dict[str, Row]:
        """Those of the added rows that this model and this data set have."""
        rows = [*self.model_rows(model), *self.step.options, *SOURCES[data].options]
        return {row.name: row for row in rows}

    def model_rows(self, model: str) -> list[Row]:
        return [row for row in self.options if not row.flag.of or model in row.flag.of]

    def owners_of(self, name: str) -> str:
        """Which models or data sets have an added row, as the command line names them."""
        found = next((row for row in (*self.options, *self.step.options) if row.name == name), None)
        if found is not None:
            return f"--model {' or '.join(found.flag.of or self.models)}"
        return f"--data {' or '.join(d for d in self.data if name in [row.name for row in SOURCES[d].options])}"

    def builder(self, model: str, own: Mapping[str, Any]) -> Callable[[Facts], torch.nn.Module]:
        """How to build ``model`` with these values of its options."""
        return partial(self.models[model], **{row.name: own[row.name] for row in self.model_rows(model)})

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files that it draws."""
        return (*self.pictures, *self.portraits, *(self.makes.files if self.makes is not None else ()))

    def draw(
        self, outputs: Any, examples: Examples, facts: Facts, weights: Mapping[str, torch.Tensor]
    ) -> dict[str, bytes]:
        """Draw all files, of the outputs for these examples and of the weights."""
        drawn = {name: draw(outputs, examples, facts) for name, draw in self.pictures.items()}
        drawn |= {name: draw(weights, facts) for name, draw in self.portraits.items()}
        return drawn | dict(self.makes.make(examples, facts, weights) if self.makes is not None else {})

    def recipe_for(self, data: str, model: str) -> Recipe:
        return self.recipes.get(data, self.recipes.get(model, self.recipe))

    def reader(self, size: int, facts: Facts | None = None) -> Reader:
        """``read`` for pictures of ``size`` x ``size``; 0 where pictures have one size. With ``facts`` for a trained model."""
        if not isinstance(self.read, ColourReader):
            return self.read
        read = replace(self.read, size=size)
        return read if facts is None else read.of(facts)

    def example_at(self, batch: int, size: int) -> Example:
        """The example with pictures, and maps, of ``size`` x ``size``; 0 where pictures have one size."""
        x, y, facts = self.example(batch)
        if not size:
            return Example(x, y, facts)
        if self.targets.mapped:
            y = apply(lambda values: values[..., :1, :1].expand(*values.shape[:-2], size, size).clone(), y)
        return Example(x.new_zeros(*x.shape[:-2], size, size), y, facts)
