"""The systems that ``tritoncnn train`` knows, one file each. The room finds its own modules by their names.

A task's file is imported when the task is asked for: naming them all imports no torch. The folder ``kinds`` holds what
tasks of one kind share.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tritoncnn.flags import known
from tritoncnn.rooms import modules_of

if TYPE_CHECKING:
    from tritoncnn.task import Task

TASKS: tuple[str, ...] = modules_of(__path__)


def find_task(name: str) -> Task:
    """Import the task called ``name``. Raises InputError that names those with a similar name, else all."""
    known("task", name, TASKS)
    task: Task = importlib.import_module(f"{__name__}.{name}").task
    assert task.name == name, f"tasks/{name}.py must define the task {name!r}; got {task.name!r}"
    from tritoncnn.data import SOURCES

    unknown = set(task.data) - set(SOURCES)
    assert not unknown, f"task {name!r} names data sets that there are not: {unknown}"
    return task


__all__ = ["TASKS", "find_task"]
