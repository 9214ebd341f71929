"""The runs in a folder, at a glance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tritoncnn.data.files import look, read_file, reason
from tritoncnn.errors import CheckpointError, InputError
from tritoncnn.train.folder import MAX_CONFIG, RunFolder, read_config
from tritoncnn.train.tensorfile import parse_json


def list_runs(runs: Path) -> list[dict[str, Any]]:
    """A row for each run folder in ``runs``, by name: name, about, task, model, data, state and, of an ended one, metrics.

    A folder that holds no run is passed over; of a damaged run the row says so. Raises InputError: ``runs`` is no folder.
    """
    found = look(runs)
    if found == "none":
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
        about = f"{of}, {summary.get('epochs')} epochs: {shown}"
        return row | {"state": "ended", "epochs": summary.get("epochs"), "metrics": metrics, "about": about}
    except (InputError, ValueError, TypeError) as error:
        return row | {"state": "damaged", "about": f"damaged: {error}"}
