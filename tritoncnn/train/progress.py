"""What a person sees while a model trains."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

import click
from tqdm import tqdm

REFRESH = 0.2  # seconds between updates of the figures in the bar


class Silent:
    """Shows nothing; what training from Python uses unless told otherwise."""

    def begin(self, total: int, done: int) -> None:
        """``total`` pictures will be trained on in all epochs together, ``done`` of them were, before a resumption."""

    def step(self, pictures: int, loss: float) -> None:
        """``pictures`` more, with mean loss ``loss``."""

    def evaluated(self, epochs: int, row: dict[str, float]) -> None:
        """The end of an epoch of ``epochs``; ``row`` is its line of metrics.jsonl."""

    def say(self, sentence: str) -> None:
        """A line of the result."""

    def wait(self, sentence: str) -> None:
        """What takes a few seconds now."""

    def end(self) -> None:
        """Also called when training stops on an error."""


class Lines(Silent):
    """One line an epoch, on stdout."""

    def evaluated(self, epochs: int, row: dict[str, float]) -> None:
        self.say(
            f"epoch {row['epoch']}/{epochs}  train loss {row['train_loss']:.4f}  test loss {row['test_loss']:.4f}  "
            f"test accuracy {row['test_accuracy']:.2%}  {row['images_per_second']:,.0f} images/s"
        )

    def say(self, sentence: str) -> None:
        click.echo(sentence)


class Bar(Lines):
    """The same lines, and below them a bar on a terminal: loss, accuracy, images/s, time left."""

    def __init__(self, terminal: TextIO | None = None) -> None:
        self.terminal = terminal or sys.stderr
        self.bar: tqdm[None] | None = None
        self.accuracy = ""
        self.next = 0.0

    def begin(self, total: int, done: int) -> None:
        self.bar = tqdm(
            total=total, initial=done, unit=" images", unit_scale=True, file=self.terminal, leave=False,
            ncols=shutil.get_terminal_size().columns - 1, nrows=20,  # tqdm shows nothing where a terminal says 0 x 0
        )  # fmt: skip

    def step(self, pictures: int, loss: float) -> None:
        assert self.bar is not None, "begin comes first"
        now = time.monotonic()
        if now >= self.next:
            self.next = now + REFRESH
            self.bar.set_postfix_str(f"loss {loss:.4f}{self.accuracy}", refresh=False)
        self.bar.update(pictures)

    def evaluated(self, epochs: int, row: dict[str, float]) -> None:
        self.accuracy = f", accuracy {row['test_accuracy']:.2%}"
        super().evaluated(epochs, row)

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
