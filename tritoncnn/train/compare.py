"""The same task trained in several ways, each with several seeds: a table of what came out, and a picture."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tritoncnn.atomic import write_file
from tritoncnn.data.files import look, read_file
from tritoncnn.errors import CheckpointError, InputError
from tritoncnn.figure import new_figure, plain, to_png
from tritoncnn.flags import TABLE, Row, known
from tritoncnn.task import Task
from tritoncnn.train.answers import as_csv
from tritoncnn.train.baseline import tell_baseline
from tritoncnn.train.folder import MAX_CONFIG, check_out, make_folder, write_json
from tritoncnn.train.interrupt import Interrupted
from tritoncnn.train.loop import resume, train
from tritoncnn.train.options import Options
from tritoncnn.train.progress import Silent
from tritoncnn.train.tensorfile import parse_json

PLAN, FILES = "comparison.json", ("table.json", "table.csv", "comparison.png")
SWITCHES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
Way = Mapping[str, Any]  # the flags in which one way differs from the others


@dataclass(frozen=True)
class Compared:
    """rows: one for each way, as table.json has them; lines for people; files that were written."""

    rows: list[dict[str, Any]]
    lines: tuple[str, ...]
    files: tuple[Path, ...]


def read_vary(task: Task, words: Sequence[str]) -> dict[str, list[Any]]:
    """Read ``NAME=A,B,C`` for flags of all tasks and of this one; with ``;`` between values they may hold commas.

    Raises InputError.
    """
    rows = {name: row for name, row in {**TABLE, **task.own_rows()}.items() if not row.flag.hidden and name != "seed"}
    found: dict[str, list[Any]] = {}
    for text in words:
        name, equals, values = text.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        if not equals:
            raise InputError(f"--vary must be as NAME=A,B,C; got {text!r}")
        known("flag to vary", name, rows)
        parts = [part.strip() for part in values.split(";" if ";" in values else ",")]
        if name in found or len(set(parts)) < max(2, len(parts)):
            raise InputError(f"--vary {name} must be said once, with two values or more that differ; got {text!r}")
        found[name] = [_value(rows[name], part) for part in parts]
    return found


def _value(row: Row, text: str) -> Any:
    kinds: dict[str, Any] = {"int": int, "float": float, "bool": lambda word: SWITCHES[word.lower()]}
    try:
        return kinds.get(row.kind, str)(text)
    except (ValueError, KeyError):
        words = {"int": "a whole number", "float": "a number", "bool": "true or false"}[row.kind]
        raise InputError(f"--vary {row.name}: each value must be {words}; got {text!r}") from None


def compare(
    task: Task,
    given: Mapping[str, Any],
    vary: Mapping[str, Sequence[Any]],
    out: Path,
    seeds: int = 3,
    progress: Silent | None = None,
) -> Compared:
    """Train every combination of what ``vary`` says under the flags ``given``, each with ``seeds`` seeds from the given one on.

    Each run has a folder of its own in ``out``. One that is there already is not trained again, one that was cut short goes
    on: the same call after a kill ends with the same table. Values and seeds may be added later, other flags are refused.
    Raises what ``train`` does; Interrupted on Ctrl-C.
    """
    if seeds < 1:
        raise InputError(f"--seeds must be at least 1; got {seeds}")
    progress, given = progress or Silent(), {name: value for name, value in given.items() if value is not None}
    first, ways = given.pop("seed", 0), [dict(zip(vary, way, strict=True)) for way in itertools.product(*vary.values())]
    if both := [name for name in vary if name in given]:
        raise InputError(f"{both[0]} is varied and given; leave one out")
    options = {
        (i, seed): _options(task, {**given, **way}, way, first + seed)
        for i, way in enumerate(ways)
        for seed in range(seeds)
    }
    _open(task, given, out)
    rows = []
    for i, way in enumerate(ways):
        summaries = [_run(task, options[i, seed], out / _name(way, first + seed), progress) for seed in range(seeds)]
        rows.append(_row(task, way, summaries))
    write_json(out / FILES[0], {"task": task.name, "metric": task.best, "rows": rows})
    write_file(out / FILES[1], as_csv(rows).encode())
    write_file(out / FILES[2], draw(task, vary, rows))
    return Compared(rows, tuple(_lines(task, vary, rows)), tuple(out / name for name in FILES))


def _options(task: Task, given: Mapping[str, Any], way: Way, seed: int) -> Options:
    try:
        return Options.of(task, **given, seed=seed)
    except InputError as error:
        raise InputError(f"{_words(way)}: {error}") from error


def _words(way: Way) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in way.items())


def _name(way: Way, seed: int) -> str:
    """A folder's name for a run; no two ways have the same."""
    return ",".join(f"{name}={quote(str(value), safe=' ')}" for name, value in {**way, "seed": seed}.items())


def _open(task: Task, given: Mapping[str, Any], out: Path) -> None:
    """Make the folder of a comparison, or take one up that began with the same flags. Raises InputError."""
    plan = {"task": task.name, "given": dict(given)}
    if look(out / PLAN) == "none":
        check_out(out, task)
        make_folder(out)
        write_json(out / PLAN, plan)
    elif (found := parse_json(out / PLAN, read_file(out / PLAN, "", MAX_CONFIG, CheckpointError), "JSON")) != plan:
        raise InputError(
            f"--out {out} holds a comparison of task {found.get('task')!r} with the flags {found.get('given')}; got task "
            f"{task.name!r} with {plan['given']}: name another folder"
        )


def _run(task: Task, options: Options, place: Path, progress: Silent) -> dict[str, Any]:
    """The summary of a run: as it is there, of one that goes on, or of a new one."""
    summary = place / "summary.json"
    if look(summary) != "none":
        found = parse_json(summary, read_file(summary, "", MAX_CONFIG, CheckpointError), "JSON")
    else:
        try:
            started = look(place / "checkpoint.safetensors") != "none"
            found = (resume(task, place, {}) if started else train(options, place)).summary
        except Interrupted as error:
            raise Interrupted(f"interrupted and saved during {place}; the same command goes on") from error
    metric = task.metrics[task.best]
    shown = metric.show(found["metrics"][task.best])
    progress.say(
        f"{place.name.replace(',', '  ')}: {task.best.replace('_', ' ')} {shown} after {found['seconds']:.1f} s"
    )
    return found


def _row(task: Task, way: Way, summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """mean and spread (the sample's standard deviation; None of one seed) of the best metric over the seeds."""
    values = [summary["metrics"][task.best] for summary in summaries]
    return {
        **way,
        "values": values,
        "mean": statistics.fmean(values),
        "spread": statistics.stdev(values) if len(values) > 1 else None,
        "seconds": statistics.fmean(summary["seconds"] for summary in summaries),
        "baseline": summaries[0]["baseline"],
    }


def _lines(task: Task, vary: Mapping[str, Sequence[Any]], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table as aligned text."""
    metric = task.metrics[task.best]
    table = [[*vary, task.best.replace("_", " "), "seconds", "against"]]
    for row in rows:
        spread = "" if row["spread"] is None else f" ± {metric.show(row['spread'])}"
        against = tell_baseline(task, row["baseline"]) if row["baseline"] is not None else "-"
        cells = [
            *(str(row[name]) for name in vary),
            f"{metric.show(row['mean'])}{spread}",
            f"{row['seconds']:.1f}",
            against,
        ]
        table.append(cells)
    wide = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(line, wide, strict=True)).rstrip() for line in table]


def draw(task: Task, vary: Mapping[str, Sequence[Any]], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A PNG: the metric over the values of what is varied first, which are joined where they are numbers; a colour for each
    combination of the rest.
    """
    metric, (first, *rest) = task.metrics[task.best], vary
    scale = 100 if metric.percent else 1
    figure = new_figure(7, 4)
    axes, places = figure.subplots(), {value: place for place, value in enumerate(vary[first])}
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        lines.setdefault(_words({name: row[name] for name in rest}), []).append(row)
    for label, points in lines.items():
        axes.errorbar(
            [places[row[first]] for row in points], [scale * row["mean"] for row in points],
            [scale * (row["spread"] or 0.0) for row in points], marker="o", capsize=4,
            linestyle="-" if all(type(value) in (int, float) for value in places) else "",
            label=label.replace("$", r"\$") or None,
        )  # fmt: skip
    told = {(row["baseline"]["by"], row["baseline"]["value"]) for row in rows if row["baseline"] is not None}
    for by, value in sorted(told):
        axes.axhline(scale * value, color="grey", linestyle="--", label=by.replace("$", r"\$"))
    axes.set_xticks(range(len(places)), [plain(str(value)) for value in places])
    axes.set(xlabel=first.replace("_", " "), ylabel=task.best.replace("_", " ") + (" in %" if metric.percent else ""))
    axes.set_title(f"{task.name}, {len(rows[0]['values'])} seeds")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
    return to_png(figure)
