"""Click options made from the table of flags."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tritoncnn.flags import TABLE, Row

TYPES = {"str": str, "int": int, "float": float, "str | None": Path}


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for each row; what is not said comes as None."""
    for row in reversed(list(TABLE.values())):
        if not row.flag.hidden:
            command = _option(row)(command)
    return command


def _option(row: Row) -> Callable[..., Any]:
    if row.kind == "bool":
        return click.option(f"{row.word}/--no-{row.word[2:]}", default=None, help=row.flag.help)
    kind = click.Choice(row.flag.choices) if row.flag.choices else TYPES[row.kind]
    return click.option(row.word, row.name, type=kind, metavar=row.flag.metavar, help=row.flag.help)
