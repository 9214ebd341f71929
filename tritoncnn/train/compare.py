"""The same task trained in several ways, each with several seeds: a table of what came out, and a picture."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tritoncnn.atomic import unfinished, write_file
from tritoncnn.data.files import look, read_file
from tritoncnn.errors import CheckpointError, InputError, Interrupted, SaveError, TritonCNNError
from tritoncnn.task import Task
from tritoncnn.train.answers import as_csv
from tritoncnn.train.comparison import columns_of, draw_table, tell_table
from tritoncnn.train.folder import MAX_CONFIG, check_out, make_folder, write_json
from tritoncnn.train.loop import resume, train
from tritoncnn.train.options import Options
from tritoncnn.train.progress import Silent
from tritoncnn.train.tensorfile import parse_json
from tritoncnn.train.ways import Way, folder_of, names_in, words_of

PLAN, FILES = "comparison.json", ("table.json", "table.csv", "comparison.png")
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Further:
    """What is taken of each finished run beside the task's metrics: shares by name, of which more is better."""

    names: tuple[str, ...]
    take: Callable[[Path], Mapping[str, float]]


@dataclass(frozen=True)
class Compared:
    """rows: one for each way, as table.json has them; lines for people; files that were written; runs that failed, by folder."""

    rows: list[dict[str, Any]]
    lines: tuple[str, ...]
    files: tuple[Path, ...]
    failed: Mapping[str, TritonCNNError]


def compare(
    task: Task,
    given: Mapping[str, Any],
    ways: Sequence[Way],
    out: Path,
    seeds: int = 3,
    progress: Silent | None = None,
    metrics: Sequence[str] = (),
    further: Further | None = None,
) -> Compared:
    """Train each way under the flags ``given``, with ``seeds`` seeds from the given one on.

    Each run has a folder of its own in ``out``. One that is there already is not trained again, one that was cut short goes
    on: the same call after a kill ends with the same table. Ways and seeds may be added later, other flags are refused.
    Where a run fails the others go on; ``metrics`` are those of the task that lines and picture tell, by default its best.
    Raises what ``train`` does before anything is trained, and where all runs failed; Interrupted on Ctrl-C.
    """
    if not 1 <= seeds <= MOST_SEEDS:
        raise InputError(f"--seeds must be from 1 to {MOST_SEEDS}; got {seeds}")
    progress, given = progress or Silent(), {name: value for name, value in given.items() if value is not None}
    columns = columns_of(task, metrics, further.names if further is not None else ())
    first = given.pop("seed", 0)
    options = _all_options(task, given, ways, range(first, first + seeds))
    made = _open(task, given, out)
    rows, failed = [], dict[str, TritonCNNError]()
    for number, way in enumerate(ways):
        found: dict[int, dict[str, Any]] = {}
        for seed in range(first, first + seeds):
            place = out / folder_of(way, seed)
            try:
                found[seed] = _run(task, options[number, seed], place, progress)
                if further is not None:
                    found[seed]["metrics"] |= further.take(place)
            except SaveError:
                raise  # nor could the others be written
            except TritonCNNError as error:
                failed[place.name] = error
                progress.say(f"{place.name.replace(',', '  ')}: failed")
        rows.append(_row(task, way, options[number, first], names_in(ways), found, seeds))
    if len(failed) == len(options):
        if made:
            _take_away(out, made)
        raise next(iter(failed.values()))
    write_json(out / FILES[0], {"task": task.name, "metric": task.best, "rows": rows})
    write_file(out / FILES[1], as_csv(rows).encode())
    write_file(out / FILES[2], draw_table(task, ways, rows, columns))
    lines = tell_table(task, names_in(ways), rows, columns)
    return Compared(rows, tuple(lines), tuple(out / name for name in FILES), failed)


def _all_options(
    task: Task, given: Mapping[str, Any], ways: Sequence[Way], seeds: range
) -> dict[tuple[int, int], Options]:
    """Options of each (number of the way, seed). Raises InputError: one makes no sense, or two are the same."""
    if both := [name for name in names_in(ways) if name in given]:
        raise InputError(f"{both[0]} is varied and given; leave one out")
    notes: list[dict[str, Any]] = []
    found = {}
    for number, way in enumerate(ways):
        for seed in seeds:
            try:
                found[number, seed] = Options.of(task, **{**given, **way}, seed=seed)
            except InputError as error:
                raise InputError(f"{words_of(way)}: {error}") from error
        note = found[number, seeds[0]].note()
        if note in notes:
            twin = words_of(ways[notes.index(note)])
            raise InputError(f"{words_of(way)} and {twin} train the same; leave one out")
        notes.append(note)
    return found


def _open(task: Task, given: Mapping[str, Any], out: Path) -> list[Path]:
    """Make the folder of a comparison, or take one up that began with the same flags: the folders for it, which were not there
    or are empty, the innermost first; none of one that was taken up. Raises InputError."""
    plan = {"task": task.name, "given": dict(given)}
    if look(out) == "folder":
        for entry in unfinished(out, {PLAN, *FILES}):  # of a comparison that was killed
            entry.unlink(missing_ok=True)
    if look(out / PLAN) == "none":
        if look(out / "checkpoint.safetensors") != "none":
            raise InputError(
                f"--out {out} holds a run, not a comparison; name a new or empty folder, for the runs of all ways"
            )
        check_out(out, task)
        made = [out, *(folder for folder in out.parents if look(folder) == "none")]
        make_folder(out)
        write_json(out / PLAN, plan)
        return made
    if (found := parse_json(out / PLAN, read_file(out / PLAN, "", MAX_CONFIG, CheckpointError), "JSON")) != plan:
        raise InputError(
            f"--out {out} holds a comparison of task {found.get('task')!r} with the flags {found.get('given')}; got task "
            f"{task.name!r} with {plan['given']}: name another folder"
        )
    return []


def _take_away(out: Path, made: Sequence[Path]) -> None:
    """Remove the folders of a comparison in which nothing was trained."""
    if [entry.name for entry in out.iterdir()] == [PLAN]:
        with contextlib.suppress(OSError):
            (out / PLAN).unlink()
            for folder in made:
                folder.rmdir()


def _run(task: Task, options: Options, place: Path, progress: Silent) -> dict[str, Any]:
    """The summary of a run: as it is there, of one that goes on, or of a new one."""
    summary = place / "summary.json"
    if look(summary) != "none":
        found = _read_summary(task, summary)
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


def _read_summary(task: Task, path: Path) -> dict[str, Any]:
    """Raises CheckpointError: unreadable, damaged, or of another task."""
    found = parse_json(path, read_file(path, "", MAX_CONFIG, CheckpointError), "JSON")
    metrics, seconds = found.get("metrics"), found.get("seconds")
    numbers = [*metrics.values(), seconds] if isinstance(metrics, dict) else [None]
    if found.get("task") != task.name or not all(type(value) in (int, float) for value in numbers):
        raise CheckpointError(
            f"{path} is no summary of a run of task {task.name!r}; remove its folder to train it again"
        )
    if task.best not in found["metrics"] or not isinstance(found.get("baseline"), dict | None):
        raise CheckpointError(f"{path} is damaged; remove its folder to train it again")
    return found


def _row(
    task: Task, way: Way, options: Options, names: Sequence[str], found: Mapping[int, Mapping[str, Any]], seeds: int
) -> dict[str, Any]:
    """What a way came to over the seeds that did not fail: of the best metric, and of each."""
    values = {name: options.value(name) if name in options.rows else None for name in names}
    summaries = list(found.values())
    metrics = {
        name: _spread([summary["metrics"][name] for summary in summaries])
        for name in (summaries[0]["metrics"] if summaries else ())
    }
    return {
        **values,
        **metrics.get(task.best, {"values": [], "mean": None, "spread": None}),
        "seconds": statistics.fmean(summary["seconds"] for summary in summaries) if summaries else None,
        "baseline": summaries[0]["baseline"] if summaries else None,
        "failed": seeds - len(summaries),
        "metrics": metrics,
    }


def _spread(values: list[float]) -> dict[str, Any]:
    """mean and spread (the sample's standard deviation; None of one seed)."""
    return {
        "values": values, "mean": statistics.fmean(values), "spread": statistics.stdev(values) if values[1:] else None,
    }  # fmt: skip
