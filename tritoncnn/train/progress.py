"""What a person sees while a model trains."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

import click
from tqdm import tqdm

from tritoncnn.task import Task

REFRESH = 0.2  # seconds between updates of the figures in the bar


class Silent:
    """Shows nothing; what training from Python uses unless told otherwise."""

    def begin(self, total: int, done: int) -> None:
        """``total`` examples will be trained on in all epochs together, ``done`` of them were, before a resumption."""

    def step(self, examples: int, loss: float) -> None:
        """``examples`` more, with mean loss ``loss``."""

    def evaluated(self, task: Task, epochs: int, row: dict[str, float], speed: float) -> None:
        """The end of an epoch of ``epochs``; ``row`` is its line of metrics.jsonl, ``speed`` in examples per second."""

    def say(self, sentence: str) -> None:
        """A line of the result."""

    def wait(self, sentence: str) -> None:
        """What takes a few seconds now."""

    def end(self) -> None:
        """Also called when training stops on an error."""


class Lines(Silent):
    """One line an epoch, on stdout."""

    def evaluated(self, task: Task, epochs: int, row: dict[str, float], speed: float) -> None:
        metrics = (f"{name.replace('_', ' ')} {metric.show(row[name])}" for name, metric in task.metrics.items())
        self.say(
            f"epoch {row['epoch']}/{epochs}  loss {row['loss']:.4f}  {'  '.join(metrics)}  {speed:,.0f} examples/s"
        )

    def say(self, sentence: str) -> None:
        click.echo(sentence)


class Bar(Lines):
    """The same lines, and below them a bar on a terminal: loss, best metric, examples/s, time left."""

    def __init__(self, terminal: TextIO | None = None) -> None:
        self.terminal = terminal or sys.stderr
        self.bar: tqdm[None] | None = None
        self.best = ""
        self.next = 0.0

    def begin(self, total: int, done: int) -> None:
        self.bar = tqdm(
            total=total, initial=done, unit=" examples", unit_scale=True, file=self.terminal, leave=False,
            ncols=shutil.get_terminal_size().columns - 1, nrows=20,  # tqdm shows nothing where a terminal says 0 x 0
        )  # fmt: skip

    def step(self, examples: int, loss: float) -> None:
        assert self.bar is not None, "begin comes first"
        now = time.monotonic()
        if now >= self.next:
            self.next = now + REFRESH
            self.bar.set_postfix_str(f"loss {loss:.4f}{self.best}", refresh=False)
        self.bar.update(examples)

    def evaluated(self, task: Task, epochs: int, row: dict[str, float], speed: float) -> None:
        self.best = f", {task.best.replace('_', ' ')} {task.metrics[task.best].show(row[task.best])}"
        super().evaluated(task, epochs, row, speed)

    def wait(self, sentence: str) -> None:
        click.echo(f"{sentence} ...", file=self.terminal)

    def say(self, sentence: str) -> None:
        tqdm.write(sentence, file=sys.stdout)

    def end(self) -> None:
        if self.bar is not None:
            self.bar.close()


def pick_progress() -> Silent:
    """A bar on a terminal, else lines."""
    return Bar() if sys.stderr.isatty() else Lines()
