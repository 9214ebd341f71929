"""The model of a run, measured on a data set: the task's metrics, its baseline, its report and its pictures."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tritoncnn.atomic import write_file
from tritoncnn.data import SOURCES, Dataset, Examples, load_data
from tritoncnn.data.files import look
from tritoncnn.data.stream import joined, renormalised, without_blanks
from tritoncnn.errors import CheckpointError, DataError, InputError
from tritoncnn.flags import known, missing_rows, read_rows
from tritoncnn.frozen import compile_kept
from tritoncnn.task import Task
from tritoncnn.train import folder
from tritoncnn.train.baseline import baseline_of, tell_baseline, tell_rivals
from tritoncnn.train.evaluate import BATCH, Evaluator
from tritoncnn.train.folder import RunFolder, Trained, make_folder, write_json
from tritoncnn.train.tensorfile import read_note

FOLDER = "eval"  # in the run folder, unless another one is named


@dataclass(frozen=True)
class Measured:
    """note for machines (JSON); lines for people; files that were written."""

    note: dict[str, Any]
    lines: tuple[str, ...]
    files: tuple[Path, ...]


def measure(
    task: Task,
    run: Path,
    data_dir: Path | None = None,
    out: Path | None = None,
    *,
    part: str | None = None,
    best: bool = False,
    data: str | None = None,
) -> Measured:
    """Measure the model of a run on a part (test, train or all) of its data set, or of one of the same kind in ``data_dir``, or
    of another of the task's data sets, ``data``.

    Where no part is said it is the test part; of other data than the run's, of which none came as a test part, all.

    The baseline learns from the training part of that data set; where it has none, or where that is measured too, from the run's
    own, as far as this is still there.
    Writes report.json and the task's pictures into ``out``, by default RUN/eval. Raises InputError, CheckpointError,
    DataError, SaveError.
    """
    where = folder.open_run(run)
    config = folder.read_config(where)
    trained = folder.load_trained(where, task, best=best)
    other = {}
    if data is not None:
        known("data set", data, task.data, f" of task {task.name}")
        other = {"data": data, "data_dir": None}
    found, parts = parts_of(task, config | other, trained, data_dir)
    whole = part is None and (data_dir is not None or data is not None) and found.held_out and not _known(where, found)
    part = part or ("all" if whole else "test")
    examples, remarks = joined(parts["train"], parts["test"]) if part == "all" else parts[part], [*found.remarks]
    if part != "test":  # of that a data set has left them out
        seen = without_blanks(examples)
        remarks += (
            [f"{count} blank or broken pictures were passed over"] if (count := len(examples) - len(seen)) else []
        )
        examples = seen
    if not len(examples):
        raise DataError(f"{found.name} has no {part} part")
    learned = None if part == "all" else parts["train"]
    if not learned:
        with contextlib.suppress(DataError):  # it may be gone by now
            learned = parts_of(task, config, trained, None)[1]["train"]
    size = min(BATCH, len(examples))
    evaluator = Evaluator(lambda x: compile_kept(trained.module, x), examples.x, size)
    outputs = evaluator.outputs(examples.x)
    own = missing_rows(task.own_rows().values(), config) | config
    told = task.told(own)
    metrics = {name: metric.measure(outputs, examples.y) for name, metric in told.items()}
    shown = "  ".join(f"{name.replace('_', ' ')} {task.metrics[name].show(value)}" for name, value in metrics.items())
    note: dict[str, Any] = {
        "run": str(run), "weights": "best" if best else "last", "data": found.name, "part": part,
        "examples": len(examples), "remarks": remarks, "metrics": metrics,
        "baseline": baseline_of(task, trained.facts, learned, examples, own) if learned else None,
    }  # fmt: skip
    said = f"all of {found.name}" if part == "all" else f"{part} part of {found.name}"
    none = ", which has no test part of its own" if whole else ""
    lines = [f"{said}, {len(examples)} examples{none}", *remarks, shown]
    place = make_folder(out if out is not None else where.path / FOLDER)
    if note["baseline"] is not None:
        lines.append(f"for comparison: {task.best.replace('_', ' ')} {tell_baseline(task, note['baseline'])}")
        lines += tell_rivals(task, note["baseline"])
    if task.report is not None:
        report = task.report(outputs, examples, trained.facts)
        note |= report.note
        lines += report.lines
    for name, picture in task.draw(outputs, examples, trained.facts, trained.module.state_dict()).items():
        write_file(place / name, picture)
    write_json(place / "report.json", note)
    return Measured(note, tuple(lines), tuple(place / name for name in ("report.json", *task.files)))


def _known(run: RunFolder, data: Dataset) -> bool:
    """Whether a run was, or may have been, trained on this data set: its checkpoint, which tells, may be gone."""
    return look(run.checkpoint) == "none" or read_note(run.checkpoint).get("data") == data.fingerprint


def parts_of(
    task: Task, config: dict[str, Any], trained: Trained, data_dir: Path | None
) -> tuple[Dataset, dict[str, Examples]]:
    """The data set and its parts, normalised as the run's own data were. Raises CheckpointError, DataError."""
    name, own = config.get("data"), config.get("data_dir")
    if not isinstance(name, str) or not isinstance(own, (str, type(None))):
        raise CheckpointError(f"config.json: data and data_dir must be names; got {name!r} and {own!r}")
    place = data_dir if data_dir is not None else Path(own) if own else None
    try:
        known("data set", name, SOURCES)
        rows = SOURCES[name].options
        options = read_rows(rows, missing_rows(rows, config) | config)
    except InputError as error:
        raise CheckpointError(f"config.json: {error}") from error
    data = load_data(name, place, trained.read, options, task.data)
    if data.facts.classes != trained.facts.classes:
        there, wanted = (", ".join(facts.classes) for facts in (data.facts, trained.facts))
        raise DataError(f"{data.name} must have the run's classes {wanted}; got {there}")
    parts = {"train": data.train, "test": data.test}
    if data.facts == trained.facts:
        return data, parts
    return data, {name: renormalised(part, data.facts, trained.facts) for name, part in parts.items()}
