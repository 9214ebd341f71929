"""The ways in which a comparison trains a task: read from words, told in words, and named as folders."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from tritoncnn.errors import InputError
from tritoncnn.flags import TABLE, Row, known
from tritoncnn.task import Task

SWITCHES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
Way = Mapping[str, Any]  # the flags in which one way differs from the others


def read_ways(task: Task, vary: Sequence[str] = (), ways: Sequence[str] = ()) -> list[Way]:
    """Each of ``ways`` with each combination of what ``vary`` says.

    ``vary``: ``NAME=A,B,C`` of a flag of all tasks or of this one; with ``;`` between values they may hold commas.
    ``ways``: ``NAME=VALUE NAME=VALUE...``, a value with spaces in quotes. Raises InputError.
    """
    rows = {name: row for name, row in {**TABLE, **task.own_rows()}.items() if not row.flag.hidden and name != "seed"}
    if not vary and not ways:
        raise InputError("there is one way only; say others by --vary NAME=A,B or by --way NAME=VALUE, twice or more")
    varied = _read_vary(rows, vary)
    chosen = [_read_way(rows, text) for text in ways] or [{}]
    if len(chosen) == 1 and ways and not varied:
        raise InputError(f"--way must be said twice or more, or with --vary; got only {ways[0]!r}")
    for text, way in zip(ways, chosen, strict=False):
        if both := [name for name in varied if name in way]:
            raise InputError(f"{both[0]} is in --vary and in --way {text!r}; leave one out")
    made = itertools.product(chosen, *varied.values())
    return [{**way, **dict(zip(varied, values, strict=True))} for way, *values in made]


def _read_vary(rows: Mapping[str, Row], vary: Sequence[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for text in vary:
        name, equals, values = _split(text)
        if not equals:
            raise InputError(f"--vary must be as NAME=A,B,C; got {text!r}")
        known("flag to vary", name, rows)
        parts = [part.strip() for part in values.split(";" if ";" in values else ",")]
        read = [_value("--vary", rows[name], part) for part in parts]
        if name in found or len(set(read)) < max(2, len(read)):
            raise InputError(f"--vary {name} must be said once, with two values or more that differ; got {text!r}")
        found[name] = read
    return found


def _read_way(rows: Mapping[str, Row], text: str) -> Way:
    try:
        parts = shlex.split(text)
    except ValueError as error:
        raise InputError(f"--way {text!r} has a quote that does not end") from error
    way: dict[str, Any] = {}
    for part in parts:
        name, equals, value = _split(part)
        if not equals:
            raise InputError(f'--way must be as "NAME=VALUE NAME=VALUE"; got {text!r}')
        known("flag", name, rows, f" in --way {text!r}")
        if name in way:
            raise InputError(f"--way {text!r} says {name} twice")
        way[name] = _value("--way", rows[name], value)
    if not way:
        raise InputError('--way must be as "NAME=VALUE NAME=VALUE"; got nothing')
    return way


def _split(text: str) -> tuple[str, str, str]:
    name, equals, values = text.partition("=")
    return name.strip().removeprefix("--").replace("-", "_"), equals, values


def _value(word: str, row: Row, text: str) -> Any:
    kinds: dict[str, Any] = {"int": int, "float": float, "bool": lambda word: SWITCHES[word.lower()]}
    try:
        return kinds.get(row.kind, str)(text)
    except (ValueError, KeyError):
        words = {"int": "a whole number", "float": "a number", "bool": "true or false"}[row.kind]
        raise InputError(f"{word} {row.name}: each value must be {words}; got {text!r}") from None


def names_in(ways: Sequence[Way]) -> list[str]:
    """All flags in which ways differ, in the order in which they were said."""
    return list(dict.fromkeys(name for way in ways for name in way))


def words_of(way: Way) -> str:
    """For people: pairs 8, residual True."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in way.items())


def folder_of(way: Way, seed: int) -> str:
    """A folder's name for a run; no two ways have the same."""
    return ",".join(f"{name}={quote(str(value), safe=' ')}" for name, value in {**way, "seed": seed}.items())
