"""Flags in a YAML file: what ``--config`` reads, and what every run folder holds of its own run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tritoncnn.data import SOURCES
from tritoncnn.data.files import read_file
from tritoncnn.errors import InputError
from tritoncnn.flags import TABLE, Flag, Row, known
from tritoncnn.task import Task
from tritoncnn.train.options import OF_SOME, Options

MAX_BYTES = 1 << 20
BELONGS = {"data": ("data_dir",), "epochs": ("legs",)}  # choice -> what goes with it
TASK = Row("task", "str", "", Flag("What is trained."))


def write_config(options: Options) -> str:
    """The text of a file that, read again, gives these very options; each flag under its help."""
    import yaml  # late: infer does without

    lines = ["# tritoncnn train --config FILE trains this again. Flags beside it override what it says.\n"]
    lines.append(yaml.safe_dump({"task": options.task.name}))
    for row in options.rows.values():
        value = options.value(row.name)
        if (row.flag.unset and value == row.default) or options.optimizer not in OF_SOME.get(
            row.name, (options.optimizer,)
        ):
            continue
        lines.append(f"# {row.flag.help}\n{yaml.safe_dump({row.name: value}, width=10_000)}")
    return "\n".join(lines)


def task_of_config(path: Path) -> str | None:
    """The task that the file names. Raises InputError."""
    name = _parse(path).get("task")
    return None if name is None else _value(path, TASK, name)


def read_config(path: Path, own: Mapping[str, Row]) -> dict[str, Any]:
    """Flags by name, ``own`` ones of the task too, as far as the file has them; ``task`` is left out.

    Keys may be written as flags are (batch-size) or as in a run folder (batch_size); null says nothing. Paths are as seen from
    the folder where one is, as on the command line. Raises InputError naming the file, the key and its value.
    """
    said: dict[str, Any] = {}
    rows = {"task": TASK, **TABLE, **own}
    for key, value in _parse(path).items():
        name = str(key).replace("-", "_")
        name = "from_run" if name == "from" else name
        known(f"flag in {path}", name, rows)
        if name in said:
            raise InputError(f"--config {path} has {name} twice")
        if value is not None:
            said[name] = _value(path, rows[name], value)
            if rows[name].kind == "str | None":
                said[name] = os.path.abspath(said[name])  # a run is used from other folders too
    said.pop("task", None)
    return said


def lay_over(task: Task, file: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Flags of a file, as ``read_config`` gives them, under those that were ``said``.

    What in the file belongs to a choice that was now said to be another one goes with it: where those data are, what that data
    set, model or optimizer alone has, the legs of a run with other epochs, the other weights to begin with.
    """
    said = {name: value for name, value in said.items() if value is not None}
    other = {name for name, value in said.items() if name in file and value != file[name]}
    gone = {name for choice, names in BELONGS.items() if choice in other for name in names}
    gone |= {name for name, rival in (("weights", "from_run"), ("from_run", "weights")) if rival in said}
    if "optimizer" in other:
        gone |= {name for name, some in OF_SOME.items() if said["optimizer"] not in some}
    model, data = (str({**file, **said}.get(name)) for name in ("model", "data"))
    if "model" in other and model in task.models:
        gone |= {row.name for row in task.options} - {row.name for row in task.model_rows(model)}
    if "data" in other and data in task.data:
        gone |= {row.name for name in task.data for row in SOURCES[name].options} - {
            row.name for row in SOURCES[data].options
        }
    return {name: value for name, value in file.items() if name not in gone} | said


def _parse(path: Path) -> Mapping[Any, Any]:
    """What the file holds, no key twice. Raises InputError."""
    import yaml

    data = read_file(path, "--config", MAX_BYTES, InputError)
    try:
        text = data.decode()
        node = yaml.compose(text, yaml.SafeLoader)
        keys = [str(key.value) for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        found = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise InputError(f"--config {path} is no text in UTF-8: {error.reason}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: 2026-99-99 looks like a date
        raise InputError(f"--config {path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, Mapping):
        got = "nothing" if found is None else "a list" if isinstance(found, list) else f"{found!r:.60}"
        raise InputError(f"--config {path} must hold lines as 'epochs: 12'; got {got}")
    if twice := [key for key in keys if keys.count(key) > 1]:  # YAML itself would take the last
        raise InputError(f"--config {path} has {twice[0]} twice")
    return found


def _value(path: Path, row: Row, value: Any) -> Any:
    kind = row.kind
    if kind == "float" and isinstance(value, str):  # YAML 1.1 takes 1e-3 for a word
        with contextlib.suppress(ValueError):
            value = float(value)
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    wanted = {"str": str, "str | None": str, "int": int, "float": float, "bool": bool}[kind]
    if type(value) is not wanted:
        words = {str: "a word", int: "a whole number", float: "a number", bool: "true or false"}
        raise InputError(f"--config {path}: {row.name} must be {words[wanted]}; got {value!r}")
    return value
