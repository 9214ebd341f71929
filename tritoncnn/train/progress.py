"""What a person sees while a model trains."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

import click

from tritoncnn.errors import printable
from tritoncnn.task import Task

if TYPE_CHECKING:
    from tqdm import tqdm

REFRESH = 0.2  # seconds between updates of the figures in the bar


class Silent:
    """Shows nothing; what training from Python uses unless told otherwise."""

    def begin(self, total: int, done: int) -> None:
        """``total`` examples will be trained on in all epochs together, ``done`` of them were, before a resumption."""

    def step(self, examples: int, loss: float) -> None:
        """``examples`` more, with mean loss ``loss``."""

    def evaluated(self, task: Task, epochs: int, row: dict[str, float], speed: float | None) -> None:
        """The end of an epoch of ``epochs``; ``row`` is its line of metrics.jsonl without what the net does not answer, ``speed``
        in examples per second.
        """

    def say(self, sentence: str) -> None:
        """A line of the result."""

    def remark(self, sentence: str) -> None:
        """What a person should know, beside the result."""

    def opening(self, sentence: str) -> None:
        """What is good to know before the first epoch."""

    def detail(self, sentence: str) -> None:
        """What only those want to know who ask for it."""

    def wait(self, sentence: str) -> None:
        """What takes a few seconds now."""

    def end(self) -> None:
        """Also called when training stops on an error."""


class Lines(Silent):
    """One line an epoch, on stdout; remarks on stderr, with ``verbose`` openings and details too.

    A terminal that is gone or a full disk does not end the training.
    """

    def __init__(self, verbose: bool = False) -> None:
        self.verbose = verbose

    @contextlib.contextmanager
    def _trying(self) -> Iterator[None]:
        with contextlib.suppress(OSError):
            yield

    def evaluated(self, task: Task, epochs: int, row: dict[str, float], speed: float | None) -> None:
        found = ((name, metric) for name, metric in task.metrics.items() if name in row)
        metrics = (f"{name.replace('_', ' ')} {metric.show(row[name])}" for name, metric in found)
        losses = (f"{name.replace('_', ' ')} {row[name]:.4f}" for name in task.step.columns)
        words = [f"epoch {row['epoch']}/{epochs}", *losses, *metrics]
        self.say("  ".join(words if speed is None else [*words, f"{speed:,.0f} examples/s"]))

    def say(self, sentence: str) -> None:
        with self._trying():
            click.echo(printable(sentence))

    def remark(self, sentence: str) -> None:
        with self._trying():
            click.echo(f"tritoncnn: {printable(sentence)}", err=True)

    def opening(self, sentence: str) -> None:
        self.detail(sentence)

    def detail(self, sentence: str) -> None:
        if self.verbose:
            self.remark(sentence)


class Bar(Lines):
    """The same lines, and below them a bar on a terminal: loss, best metric, examples/s, time left."""

    def __init__(self, terminal: TextIO | None = None, verbose: bool = False) -> None:
        super().__init__(verbose)
        self.terminal = terminal or sys.stderr
        self.bar: tqdm[None] | None = None
        self.best = ""
        self.next = 0.0

    def begin(self, total: int, done: int) -> None:
        from tqdm import tqdm

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
        with self._trying():
            self.bar.update(examples)

    def evaluated(self, task: Task, epochs: int, row: dict[str, float], speed: float | None) -> None:
        self.best = f", {task.best.replace('_', ' ')} {task.metrics[task.best].show(row[task.best])}"
        super().evaluated(task, epochs, row, speed)

    def opening(self, sentence: str) -> None:
        self.remark(sentence)

    def wait(self, sentence: str) -> None:
        with self._trying():
            click.echo(f"{printable(sentence)} ...", file=self.terminal)

    def say(self, sentence: str) -> None:
        from tqdm import tqdm

        with self._trying():
            tqdm.write(printable(sentence), file=sys.stdout)

    def end(self) -> None:
        if self.bar is not None:
            with self._trying():
                self.bar.close()


def pick_progress(verbose: bool = False, quiet: bool = False, lines: bool = False) -> Silent:
    """A bar on a terminal where tqdm is there to draw it, else lines, as with ``lines``; nothing for those who want ``quiet``."""
    if quiet:
        return Silent()
    return (
        Bar(verbose=verbose)
        if not lines and sys.stderr.isatty() and importlib.util.find_spec("tqdm")
        else Lines(verbose)
    )
