"""tritoncnn compare TASK"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tritoncnn.commands.ending import complain, say
from tritoncnn.commands.place import path
from tritoncnn.commands.table import TaskCommand, table_options

if TYPE_CHECKING:
    from tritoncnn.task import Task
    from tritoncnn.train import Further


@click.command(cls=TaskCommand)
@click.argument("name", metavar="TASK")
@table_options
@click.option("--vary", multiple=True, metavar="NAME=A,B,...", help="A flag and its values; may come again.")
@click.option("--way", multiple=True, metavar='"NAME=VALUE ..."', help="Flags of one way; may come again.")
@click.option("--seeds", type=int, default=3, show_default=True, help="Runs of each way, from --seed on.")
@click.option(
    "--metric", multiple=True, help="Which metric the table tells (default: the task's best); may come again."
)
@click.option(
    "--attack", type=float, multiple=True, metavar="EPSILON",
    help="Also the accuracy under attack (PGD, linf) by so much a value; white is 1; may come again.",
)  # fmt: skip
@click.option("--out", type=path, help="Folder of the comparison (default: runs/compare-TASK).")
@click.option("-q", "--quiet", is_flag=True, help="Print the table only; errors in any case.")
def compare(
    name: str, vary: tuple[str, ...], way: tuple[str, ...], seeds: int, metric: tuple[str, ...], attack: tuple[float, ...],
    out: Path | None, quiet: bool, **given: Any,
) -> None:  # fmt: skip
    """Train TASK in several ways, and tell what each of them is worth.

    \b
    --vary depth=0,1,2,3 --vary activation=relu,none       all eight combinations
    --way pairs=0 --way pairs=8 --way "pairs=8 residual=true"    these three ways

    Each is trained with --seeds seeds; all other flags are those of train. With both, each way is combined with all values.
    A table tells the mean of each --metric after the last epoch, its standard deviation over the seeds, the seconds and the
    baseline. The folder holds it with all metrics as table.json and table.csv, with comparison.png, and a run folder for
    each run.

    A comparison that was cut short goes on by the same command; ways and seeds may be added later. Where a run fails the
    others go on; the exit code is then 1, and the same command tries it again. Values with commas in them have ; between
    them: "augment=none;crop,flip".
    """
    from tritoncnn import train as library
    from tritoncnn.tasks import find_task

    task = find_task(name)
    given = {key: os.path.abspath(value) if isinstance(value, Path) else value for key, value in given.items()}
    ways, place = library.read_ways(task, vary, way), out or library.RUNS / f"compare-{name}"
    further = _attacked(task, attack) if attack else None
    progress = library.pick_progress(lines=True, quiet=quiet)
    found = library.compare(task, given, ways, place, seeds, progress, metric, further)
    for line in found.lines:
        say(line)
    say(f"written: {', '.join(map(str, found.files))}")
    if found.failed:
        for run, error in found.failed.items():
            complain(f"error: {run} failed, and is in no mean: {error}")
        raise SystemExit(1)


def _attacked(task: Task, epsilons: tuple[float, ...]) -> Further:
    """The accuracy under attack by each epsilon. Raises InputError."""
    from tritoncnn.attacks import Attack
    from tritoncnn.errors import InputError
    from tritoncnn.robust import accuracies
    from tritoncnn.train import Further

    if task.soft_loss is None:
        raise InputError(f"--attack needs a task with classes; task {task.name!r} tells none")
    names = tuple(f"attacked {Attack.of(epsilon=epsilon).epsilon:g}" for epsilon in epsilons)
    if len(set(names)) < len(names):
        raise InputError(f"--attack must name each epsilon once; got {', '.join(map(str, epsilons))}")

    def take(run: Path) -> Mapping[str, float]:
        return dict(zip(names, accuracies(task, run, epsilons), strict=True))

    return Further(names, take)
