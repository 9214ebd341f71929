"""Which epoch was the best, by the task's best metric; whether it is time to stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tritoncnn.task import Task

Row = Mapping[str, float]


def best_of(task: Task, history: Sequence[Row]) -> Row:
    """The line of the best epoch, the first among equals. Needs a line."""
    sign = -1 if task.metrics[task.best].falls else 1
    return max(history, key=lambda row: sign * row[task.best])  # max keeps the first


def waited(task: Task, history: Sequence[Row], since: int) -> int:
    """Epochs after ``since``, and after the best one, that made nothing better."""
    return len(history) - max(since, int(best_of(task, history)["epoch"])) if history else 0
