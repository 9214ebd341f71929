"""The runs in a folder, at a glance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tritoncnn.data.files import look, read_file, reason
from tritoncnn.errors import CheckpointError, InputError
from tritoncnn.train.folder import MAX_CONFIG, RUNS, RunFolder, read_config
from tritoncnn.train.tensorfile import parse_json

COSTS = {  # of an ended run, as summary.json has them -> in words
    "seconds": lambda value: f"{value:.1f} s",
    "launches": lambda value: f"{value} launches a step",
    "peak_memory": lambda value: f"{value:,} MB",
}


def list_runs(runs: Path) -> list[dict[str, Any]]:
    """A row for each run folder in ``runs``, by name: name, about, task, model, data, state.

    Of an ended one there are also its metrics, and what it took, named as in COSTS. A folder that holds no run is passed
    over; of a damaged run the row says so. Raises InputError: ``runs`` is no folder, or is
    not there and not RUNS.
    """
    found = look(runs)
    if found == "none":
        if runs != RUNS:
            raise InputError(f"--runs {runs} does not exist; wanted a folder of run folders")
        return []
    if found != "folder":
        raise InputError(f"--runs {runs} is not a folder")
    try:
        places = sorted(runs.iterdir())
    except OSError as error:
        raise InputError(f"--runs {runs} cannot be read: {reason(error)}") from error
    return [_row(RunFolder(place)) for place in places if look(place / "config.json") == "file"]


def _row(run: RunFolder) -> dict[str, Any]:
    row: dict[str, Any] = {"name": run.path.name}
    try:
        config = read_config(run)
        row |= {name: config.get(name) for name in ("task", "model", "data", "epochs")}
        of = f"{row['model']} of {row['task']} on {row['data']}"
        path = run.path / "summary.json"
        if look(path) == "none":
            return row | {"state": "not ended", "about": f"{of}: not ended; go on by train --resume {run.path}"}
        summary = parse_json(path, read_file(path, "", MAX_CONFIG, CheckpointError), "JSON")
        metrics = summary.get("metrics")
        if not isinstance(metrics, dict):
            raise CheckpointError(f"{path}: metrics must be an object; got {metrics!r}")
        shown = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in metrics.items())
        costs = {name: summary[name] for name in COSTS if name in summary}  # older runs lack some
        told = ", ".join(COSTS[name](value) for name, value in costs.items())
        about = f"{of}, {summary.get('epochs')} epochs: {shown}" + (f"; {told}" if told else "")
        return row | {"state": "ended", "epochs": summary.get("epochs"), "metrics": metrics, **costs, "about": about}
    except (InputError, ValueError, TypeError) as error:
        return row | {"state": "damaged", "about": f"damaged: {error}"}
