"""tritoncnn list"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tritoncnn.commands.ending import say
from tritoncnn.commands.place import path

KINDS = ("tasks", "data", "augmentations", "runs")


@click.command(name="list")
@click.argument("kind", type=click.Choice(KINDS), required=False)
@click.option("--runs", type=path, default=Path("runs"), show_default=True, help="Folder of run folders.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of the tables.")
def list(kind: str | None, runs: Path, as_json: bool) -> None:
    """List what there is: tasks with their models and options, data sets, augmentations, runs; or one KIND of these."""
    kinds = (kind,) if kind else KINDS
    found = {name: ROWS[name](runs) for name in kinds}
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, rows in found.items():
        say(f"{name}:" if rows else f"{name}: none" + (f" in {runs}" if name == "runs" else ""))
        wide = max((len(row["name"]) for row in rows), default=0)
        for row in rows:
            say(f"  {row['name']:{wide}}  {row['about']}")


def _tasks(runs: Path) -> Any:
    from tritoncnn.tasks import TASKS, find_task

    rows = []
    for task in map(find_task, TASKS):
        own = {row.name: row.default for row in task.own_rows().values()}
        words = f"; options: {', '.join(row.word for row in task.own_rows().values())}" if own else ""
        about = f"{task.about}; models: {', '.join(task.models)}; data: {', '.join(task.data)}{words}"
        beside = [*task.step.nets]
        about += f"; trained with: {', '.join(beside)}" if beside else ""
        more = {"models": [*task.models], "data": [*task.data], "options": own, "beside": beside}
        rows.append({"name": task.name, "about": about, **more})
    return rows


def _data(runs: Path) -> Any:
    from tritoncnn.data import SOURCES

    return [
        {"name": s.name, "about": s.about + (f"; --data-dir: {s.folder}" if s.folder else "")} for s in SOURCES.values()
    ]


def _augmentations(runs: Path) -> Any:
    from tritoncnn.augment import AUGMENTATIONS

    return [{"name": f"{a.name}={a.amount:g}", "about": a.about} for a in AUGMENTATIONS.values()]


def _runs(runs: Path) -> Any:
    from tritoncnn.train import list_runs

    return list_runs(runs)


ROWS = {"tasks": _tasks, "data": _data, "augmentations": _augmentations, "runs": _runs}
