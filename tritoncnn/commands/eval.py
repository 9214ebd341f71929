"""tritoncnn eval RUN"""

from __future__ import annotations

from pathlib import Path

import click

from tritoncnn.commands.place import path
from tritoncnn.commands.results import best_option, folder_option, json_option, tell


@click.command()
@click.argument("run", type=path)
@click.option("--data", metavar="NAME", help="Another of the task's data sets (default: the run's own).")
@click.option("--data-dir", type=path, help="Other data of the same kind and classes (default: the run's own).")
@click.option(
    "--part",
    type=click.Choice(["test", "train", "all"]),
    help="What is measured (default: test; all of other data that have no test part of their own).",
)
@best_option
@json_option
@folder_option("Folder of report.json and pictures (default: RUN/eval).")
def eval(
    run: Path, data: str | None, data_dir: Path | None, part: str | None, best: bool, out: Path | None, as_json: bool
) -> None:
    """Measure the model trained in the folder RUN: the task's metrics, its baseline and, of a classifier, a table of its classes.

    The folder then holds report.json, with all figures, and the task's pictures; of a classifier

    \b
    confusion.png  which classes are taken for which
    mistakes.png   the mistakes of which the model is surest
    """
    from tritoncnn.tasks import find_task
    from tritoncnn.train import measure, task_name

    found = measure(find_task(task_name(run)), run, data_dir, out, part=part, best=best, data=data)
    tell(found.note, found.lines, found.files, as_json)
