"""tritoncnn eval RUN"""

from __future__ import annotations

import json
from pathlib import Path

import click

from tritoncnn.commands.ending import say


@click.command()
@click.argument("run", type=Path)
@click.option("--data-dir", type=Path, help="Other data of the same kind and classes (default: the run's own).")
@click.option("--part", type=click.Choice(["test", "train"]), default="test", show_default=True)
@click.option("--best", is_flag=True, help="The weights of the best epoch, not of the last.")
@click.option("--out", type=Path, help="Folder for report.json and pictures (default: RUN/eval).")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON, for machines.")
def eval(run: Path, data_dir: Path | None, part: str, best: bool, out: Path | None, as_json: bool) -> None:
    """Measure the model trained in the folder RUN: the task's metrics, its baseline and, of a classifier, a table of its classes.

    The folder then holds report.json, with all figures, and the task's pictures; of a classifier

    \b
    confusion.png  which classes are taken for which
    mistakes.png   the mistakes of which the model is surest
    """
    from tritoncnn.tasks import find_task
    from tritoncnn.train import measure, task_name

    found = measure(find_task(task_name(run)), run, data_dir, out, part=part, best=best)
    if as_json:
        click.echo(json.dumps(found.note, indent=2))
        return
    for line in found.lines:
        say(line)
    say(f"written: {', '.join(map(str, found.files))}")
