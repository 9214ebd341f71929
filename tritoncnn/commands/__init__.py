"""The command line. A command's file is imported when it is called, so that ``tritoncnn --help`` imports no torch."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

import tritoncnn
from tritoncnn.commands.ending import (
    check_folder_is_there,
    end_by,
    ending_promptly,
    flush,
    open_closed_streams,
    telling_warnings,
)

COMMANDS = {
    "train": "Train the model of a task, such as lenet on scanned digits.",
    "infer": "Say what is on pictures, by a trained model.",
    "compare": "Train a task in several ways, each with several seeds, and tell what each is worth.",
    "eval": "Measure a trained model: metrics, a table of classes, the worst mistakes.",
    "attack": "Change pictures a little so that a trained classifier is wrong: accuracy over the size of the change.",
    "dream": "Draw into a picture what a layer of a trained net sees in it.",
    "style": "Paint what is on one picture in the style of another.",
    "stylise": "Paint the frames of a film by a net trained for one style.",
    "lecture": "Run every row of the lecture in small; one page with pictures, sounds and figures.",
    "compose": "Make music by a trained WaveNet, as fast as it plays and faster.",
    "list": "List tasks, models, data sets, augmentations and runs.",
    "filter": "Lay a filter on a picture: blur, edges, sharpen, or taps of your own; also on a pyramid.",
    "learn-filter": "Find the filter that makes one picture of another.",
    "inspect": "Show how a model is compiled: graph after each pass, plan, Triton source.",
    "gpu-report": "Compile every kernel for GPUs that need not be there; check what the compilers made.",
    "doctor": "Show versions, CPU, cache and switches, and try a kernel.",
}


class LazyGroup(click.Group):
    """Knows its commands by name; whatever ends a command early becomes one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]  # ``list`` may be the command of that name by now

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        file = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"{__name__}.{file}"), file)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table above: click would import every command for its help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command and exit; click's own way has another look for its errors, and none for ours."""
        extra["standalone_mode"] = False
        open_closed_streams()
        with ending_promptly(), telling_warnings():
            try:
                check_folder_is_there()
                code = super().main(*args, **extra)
                flush()
            except BaseException as error:
                code = end_by(error)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:  # click would print an empty line
            return end_by(interrupt)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(tritoncnn.__version__, prog_name="tritoncnn")
def main() -> None:
    """Convolutional networks on fused Triton kernels, compiled natively for this CPU.

    Exit codes: 0 done, 1 failed while running, 2 the input was wrong, 130 interrupted.
    """
