"""tritoncnn compare TASK --vary NAME=A,B,C"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from tritoncnn.commands.ending import say
from tritoncnn.commands.table import TaskCommand, table_options


@click.command(cls=TaskCommand)
@click.argument("name", metavar="TASK")
@table_options
@click.option(
    "--vary", multiple=True, required=True, metavar="NAME=A,B,...", help="A flag and its values; may come again."
)
@click.option("--seeds", type=int, default=3, show_default=True, help="Runs of each combination, from --seed on.")
@click.option("--out", type=Path, help="Folder of the comparison (default: runs/compare-TASK).")
@click.option("-q", "--quiet", is_flag=True, help="Print the table only; errors in any case.")
def compare(name: str, vary: tuple[str, ...], seeds: int, out: Path | None, quiet: bool, **given: Any) -> None:
    """Train TASK with every combination of some flags' values, and tell what each of them is worth.

    --vary depth=0,1,2,3 --vary activation=relu,none trains eight ways, each with --seeds seeds; all other flags are
    those of train. A table tells the mean of the task's best metric after the last epoch, its standard deviation over the
    seeds, the baseline and the seconds. The folder holds it as table.json and table.csv, with comparison.png, and a run
    folder for each run. A comparison that was cut short goes on by the same command; values and seeds may be added later.
    Values with commas in them have ; between them: "augment=none;crop,flip".
    """
    from tritoncnn import train as library
    from tritoncnn.tasks import find_task

    task = find_task(name)
    given = {key: os.path.abspath(value) if isinstance(value, Path) else value for key, value in given.items()}
    ways, place = library.read_vary(task, vary), out or library.RUNS / f"compare-{name}"
    found = library.compare(task, given, ways, place, seeds, library.pick_progress(lines=True, quiet=quiet))
    for line in found.lines:
        say(line)
    say(f"written: {', '.join(map(str, found.files))}")
