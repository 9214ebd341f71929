"""The task's baseline as reports have it, beside the metric that it is to be compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tritoncnn.data import Examples, Facts
from tritoncnn.data.stream import on_disk, sampled
from tritoncnn.task import Task, Values


def baseline_of(task: Task, facts: Facts, train: Examples, test: Examples, own: Values) -> dict[str, Any] | None:
    """``by`` what, and the ``value`` of the task's best ``metric``; None where the task has no baseline for these data.

    ``own`` are the values of the task's own options.
    """
    if task.baseline is None:
        return None
    some = any(on_disk(part) is not None for part in (train, test))
    found = task.baseline(facts, train := sampled(train), test := sampled(test), own)
    if found is None:
        return None
    words = f"{found.words} of {len(train)} pictures, asked of {len(test)}" if some else found.words
    rivals = {"rivals": {words: dict(values) for words, values in found.rivals.items()}} if found.rivals else {}
    return {"by": words, "metric": task.best, "value": found.value, **rivals}


def tell_baseline(task: Task, note: Mapping[str, Any]) -> str:
    """As in "44.00% by the nearest mean colour"."""
    return f"{task.metrics[task.best].show(note['value'])} by {note['by']}"


def tell_rivals(task: Task, note: Mapping[str, Any]) -> list[str]:
    """A line for each, as in "the nearest training map: L1 0.1912, texture 0.3310"."""
    return [
        f"  {words}: " + ", ".join(f"{name} {task.metrics[name].show(value)}" for name, value in values.items())
        for words, values in note.get("rivals", {}).items()
    ]
