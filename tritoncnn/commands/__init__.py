"""The command line. A command's file is imported when it is called, so that ``tritoncnn --help`` imports no torch."""

from __future__ import annotations

import importlib
from typing import Any

import click

import tritoncnn
from tritoncnn.errors import TritonCNNError

COMMANDS = {
    "train": "Train the model of a task, such as lenet on scanned digits.",
    "infer": "Say what is on pictures, by a trained model.",
    "inspect": "Show how a model is compiled: graph after each pass, plan, Triton source.",
    "gpu-report": "Compile every kernel for GPUs that need not be there; check what the compilers made.",
    "doctor": "Show versions, CPU, cache and switches, and try a kernel.",
}


class LazyGroup(click.Group):
    """Knows its commands by name; our errors become one sentence and their exit code, Ctrl-C 130."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

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

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TritonCNNError as error:
            click.echo(f"tritoncnn: error: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt as interrupt:
            click.echo(f"tritoncnn: {interrupt or 'interrupted'}", err=True)
            ctx.exit(130)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(tritoncnn.__version__, prog_name="tritoncnn")
def main() -> None:
    """Convolutional networks on fused Triton kernels, compiled natively for this CPU.

    Exit codes: 0 done, 1 failed while running, 2 the input was wrong, 130 interrupted.
    """
