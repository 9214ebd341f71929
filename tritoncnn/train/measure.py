"""The model of a run, measured on a data set: the task's metrics, and what becomes of each class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tritoncnn.data import Dataset, Examples, load_data
from tritoncnn.errors import CheckpointError, DataError
from tritoncnn.frozen import compile_kept
from tritoncnn.task import Task
from tritoncnn.train import folder
from tritoncnn.train.confusion import Confusion, Mistake, draw_mistakes, worst_mistakes
from tritoncnn.train.evaluate import BATCH, Evaluator
from tritoncnn.train.folder import Trained, make_folder, write_json

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
    part: str = "test",
    best: bool = False,
) -> Measured:
    """Measure the model of a run on a part (test or train) of its data set, or of one of the same kind in ``data_dir``.

    Writes report.json, confusion.png and mistakes.png into ``out``, by default RUN/eval. Raises InputError, CheckpointError,
    DataError, SaveError.
    """
    where = folder.open_run(run)
    config = folder.read_config(where)
    trained = folder.load_trained(where, task, best=best)
    data, examples = _examples(config, trained, data_dir, part)
    size = min(BATCH, len(examples))
    evaluator = Evaluator(lambda x: compile_kept(trained.module, x), examples.x, size)
    outputs = evaluator.outputs(examples.x)
    metrics = {name: metric.measure(outputs, examples.y) for name, metric in task.metrics.items()}
    shown = "  ".join(f"{name.replace('_', ' ')} {task.metrics[name].show(value)}" for name, value in metrics.items())
    note: dict[str, Any] = {
        "run": str(run), "weights": "best" if best else "last", "data": data.name, "part": part,
        "examples": len(examples), "metrics": metrics,
    }  # fmt: skip
    lines = [f"{part} part of {data.name}, {len(examples)} examples", shown]
    place = make_folder(out if out is not None else where.path / FOLDER)
    files = [place / "report.json"]
    if task.probabilities is not None:
        probabilities = task.probabilities(outputs)
        confusion = Confusion.of(trained.facts.classes, probabilities, examples.y)
        mistakes = worst_mistakes(trained.facts.classes, probabilities, examples.y)
        note |= _note(confusion, mistakes)
        lines += _table(confusion)
        files += [place / "confusion.png", place / "mistakes.png"]
        confusion.draw(files[1])
        draw_mistakes(files[2], mistakes, examples.x, trained.facts)
    write_json(files[0], note)
    return Measured(note, tuple(lines), tuple(files))


def _examples(config: dict[str, Any], trained: Trained, data_dir: Path | None, part: str) -> tuple[Dataset, Examples]:
    """The part of the data set, normalised as the run's own data were. Raises CheckpointError, DataError."""
    name, own = config.get("data"), config.get("data_dir")
    if not isinstance(name, str) or not isinstance(own, (str, type(None))):
        raise CheckpointError(f"config.json: data and data_dir must be names; got {name!r} and {own!r}")
    data = load_data(name, data_dir if data_dir is not None else Path(own) if own else None, trained.read)
    if data.facts.classes != trained.facts.classes:
        there, wanted = (", ".join(facts.classes) for facts in (data.facts, trained.facts))
        raise DataError(f"{data.name} must have the run's classes {wanted}; got {there}")
    examples = data.test if part == "test" else data.train
    if data.facts == trained.facts:
        return data, examples
    return data, Examples(trained.facts.normalise(data.facts.restore(examples.x)), examples.y)


def _note(confusion: Confusion, mistakes: list[Mistake]) -> dict[str, Any]:
    return {
        "classes": confusion.per_class(),
        "confusion": confusion.counts.tolist(),
        "mistakes": [vars(mistake) for mistake in mistakes],
    }


def _table(confusion: Confusion) -> list[str]:
    """A line per class, then which classes are taken for which."""
    wide = max(len("class"), *map(len, confusion.classes))
    lines = ["", f"{'class':{wide}}  pictures  precision   recall       F1"]
    for row in confusion.per_class():
        shares = ("-" if row[name] is None else f"{row[name]:.2%}" for name in ("precision", "recall", "f1"))
        precision, recall, f1 = shares
        lines.append(f"{row['class']:{wide}}  {row['pictures']:8}  {precision:>9}  {recall:>7}  {f1:>7}")
    mixed = confusion.mixed_up(5)
    if mixed:
        said = ", ".join(f"{a} taken for {b} ({count})" for a, b, count in mixed)
        lines += ["", f"most often mixed up: {said}"]
    return lines
