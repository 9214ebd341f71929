"""Click options made from the table of flags, and from what a task and its data sets add to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tritoncnn.commands.place import path
from tritoncnn.flags import TABLE, Row

if TYPE_CHECKING:
    from tritoncnn.task import Task

TYPES = {"str": str, "int": int, "float": float, "str | None": path}
ELSEWHERE = {  # what timm, Ultralytics, Lightning, Keras and torchvision's references call them
    "--learning-rate": "--lr", "--lr0": "--lr", "--bs": "--batch-size", "--batch": "--batch-size",
    "--imgsz": "--size", "--img-size": "--size", "--image-size": "--size", "--num-workers": "--workers", "--opt": "--optimizer",
    "--sched": "--schedule", "--lr-scheduler": "--schedule", "--warmup-epochs": "--warm-up", "--warmup": "--warm-up",
    "--wd": "--weight-decay", "--smoothing": "--label-smoothing", "--patience": "--early-stop", "--clip-grad": "--clip",
    "--gradient-clip-val": "--clip", "--model-ema": "--ema", "--pretrained": "--weights", "--checkpoint": "--weights",
    "--output": "--out", "--output-dir": "--out", "--data-path": "--data-dir", "--aug": "--augment", "--arch": "--model",
    "--max-epochs": "--epochs", "--finetune": "--from", "--num-threads": "--threads",
}  # fmt: skip
KEY = "tritoncnn.task"  # under which a context has the task whose options it knows


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for each row; what is not said comes as None."""
    for row in reversed(list(TABLE.values())):
        if not row.flag.hidden:
            words, more = _option(row)
            command = click.option(*words, **more)(command)
    return command


def _option(row: Row) -> tuple[list[str], dict[str, Any]]:
    if row.kind == "bool":
        return [f"{row.word}/--no-{row.word[2:]}", row.name], {"default": None, "help": row.flag.help}
    kind = click.Choice(row.flag.choices) if row.flag.choices else TYPES[row.kind]
    return [row.word, row.name], {"type": kind, "metavar": row.flag.metavar, "help": row.flag.help}


class TaskCommand(click.Command):
    """A command with an argument ``name``, a task, whose own options it takes beside those of all tasks.

    Where TASK is left out, it is that of ``config`` or ``run``, which the command may have as options.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        task = self._find(args)
        ctx.meta[KEY] = task
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if (ours := ELSEWHERE.get(error.option_name)) is not None:
                raise click.UsageError(f"No such option {error.option_name}; here it is {ours}", ctx) from error
            if task is None:
                raise
            own = ", ".join(row.word for row in task.own_rows().values()) or "none"
            said = f"{error.format_message()} Of its own, task {task.name!r} has {own}"
            raise click.UsageError(said, ctx) from error

    def _find(self, args: Iterable[str]) -> Task | None:
        """The task that the words name, if they do: its options must be known before the words can be read."""
        from tritoncnn.tasks import TASKS, find_task

        look = click.Context(self, ignore_unknown_options=True, resilient_parsing=True, allow_extra_args=True)
        said, rest, _ = self.make_parser(look).parse_args(list(args))
        name = next((word for word in (said.get("name"), *rest) if word in TASKS), None)
        config, run = (said.get(key) if isinstance(said.get(key), str) else None for key in ("config", "run"))
        if name is None and (config or run):
            from tritoncnn.train import task_name, task_of_config  # late: torch

            name = (task_of_config(Path(config)) if config else None) or (task_name(Path(run)) if run else None)
        return find_task(name) if name is not None else None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *_own(ctx)]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options of all tasks, then what TASK is and has of its own."""
        task: Task | None = ctx.meta.get(KEY)
        records = (parameter.get_help_record(ctx) for parameter in super().get_params(ctx))
        with formatter.section("Options"):
            formatter.write_dl([record for record in records if record is not None])
        if task is None:
            from tritoncnn.tasks import TASKS

            with formatter.section("Tasks"):
                formatter.write_text(", ".join(TASKS))
            return
        for title, rows in describe(task, ctx).items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _own(ctx: click.Context) -> list[click.Parameter]:
    task: Task | None = ctx.meta.get(KEY)
    found: list[click.Parameter] = []
    for row in task.own_rows().values() if task is not None else ():
        words, more = _option(row)
        found.append(click.Option(words, **more | {"help": f"{row.flag.help} (default: {row.default})"}))
    return found


def describe(task: Task, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
    """What help says of a task, by title: name and text of each row."""
    from tritoncnn.augment import AUGMENTATIONS
    from tritoncnn.data import SOURCES

    options = [record for option in _own(ctx) if (record := option.get_help_record(ctx)) is not None]
    data = [(name, SOURCES[name].about + _folder(SOURCES[name].folder)) for name in task.data]
    changes = [(f"{change.name}={change.amount:g}", change.about) for change in AUGMENTATIONS.values()]
    return {
        f"Options of {task.name}, {task.about}": options,
        "Models, by --model": [(name, "the default" if not i else "") for i, name in enumerate(task.models)],
        "Data, by --data": data,
        "Changes, by --augment, with their usual amounts": changes if task.soft_loss is not None else [],
    }


def _folder(wanted: str) -> str:
    return f"; --data-dir: {wanted}" if wanted else ""
