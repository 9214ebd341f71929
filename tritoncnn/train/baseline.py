"""The task's baseline as reports have it, beside the metric that it is to be compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tritoncnn.data import Examples, Facts
from tritoncnn.task import Task


def baseline_of(task: Task, facts: Facts, train: Examples, test: Examples) -> dict[str, Any] | None:
    """``by`` what, and the ``value`` of the task's best ``metric``; None where the task has no baseline for these data."""
    found = task.baseline(facts, train, test) if task.baseline is not None else None
    return None if found is None else {"by": found.words, "metric": task.best, "value": found.value}


def tell_baseline(task: Task, note: Mapping[str, Any]) -> str:
    """As in "44.00% by the nearest mean colour"."""
    return f"{task.metrics[task.best].show(note['value'])} by {note['by']}"
