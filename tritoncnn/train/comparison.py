"""How a comparison is shown: as aligned text and as a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tritoncnn.errors import InputError
from tritoncnn.figure import new_figure, to_png
from tritoncnn.flags import known
from tritoncnn.task import Task
from tritoncnn.train.baseline import tell_baseline
from tritoncnn.train.ways import Way, names_in, words_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TableRow = Mapping[str, Any]
NOTHING = "-"
MOST = 60  # letters of a label


class Column(NamedTuple):
    """A number of each run, and how people read it."""

    name: str
    show: Callable[[float], str]
    percent: bool

    @property
    def words(self) -> str:
        return self.name.replace("_", " ")


def columns_of(task: Task, metrics: Sequence[str], further: Sequence[str]) -> list[Column]:
    """Of the task's metrics that were asked for, by default its best, and of ``further`` shares. Raises InputError."""
    for name in metrics:
        known("metric", name, task.metrics, f" of task {task.name!r}")
    if len(set(metrics)) < len(metrics):
        raise InputError(f"--metric must name each metric once; got {', '.join(metrics)}")
    found = [Column(name, task.metrics[name].show, task.metrics[name].percent) for name in metrics or (task.best,)]
    return [*found, *(Column(name, "{:.2%}".format, True) for name in further)]


def tell_table(task: Task, names: Sequence[str], rows: Sequence[TableRow], columns: Sequence[Column]) -> list[str]:
    """A line for each way: values of the flags ``names``, mean and deviation of each column, seconds, the baseline."""
    failed = any(row["failed"] for row in rows)
    best = any(column.name == task.best for column in columns)
    table = [[*names, *(column.words for column in columns), "seconds", *(["failed"] if failed else [])]]
    table[0] += ["against"] if best else []
    for row in rows:
        cells = [NOTHING if row[name] is None else str(row[name]) for name in names]
        cells += [_cell(column, row["metrics"].get(column.name)) for column in columns]
        cells.append(NOTHING if row["seconds"] is None else f"{row['seconds']:.1f}")
        cells += [str(row["failed"] or "")] if failed else []
        if best:
            cells.append(tell_baseline(task, row["baseline"]) if row["baseline"] is not None else NOTHING)
        table.append(cells)
    wide = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(line, wide, strict=True)).rstrip() for line in table]


def _cell(column: Column, found: Mapping[str, Any] | None) -> str:
    if found is None:
        return NOTHING
    return column.show(found["mean"]) + ("" if found["spread"] is None else f" ± {column.show(found['spread'])}")


def draw_table(task: Task, ways: Sequence[Way], rows: Sequence[TableRow], columns: Sequence[Column]) -> bytes:
    """A PNG with a part for each column that any way has.

    Where the ways are all combinations of some flags' values: over the values of the first, a colour for each combination
    of the rest. Otherwise a line for each way.
    """
    columns = [column for column in columns if any(column.name in row["metrics"] for row in rows)]
    crossed = _is_crossed(ways)
    figure = new_figure(7 if crossed else 6 + 0.07 * max(len(words_of(way)) for way in ways), 4 * len(columns))
    for axes, column in zip(figure.subplots(len(columns), squeeze=False)[:, 0], columns, strict=True):
        (_draw_crossed if crossed else _draw_ways)(axes, ways, rows, column)
        told = {(row["baseline"]["by"], row["baseline"]["value"]) for row in rows if row["baseline"] is not None}
        line = axes.axhline if crossed else axes.axvline
        for by, value in sorted(told) if column.name == task.best else ():
            line((100 if column.percent else 1) * value, color="grey", linestyle="--", label=_plain(by))
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    seeds = max(len(row["values"]) for row in rows)
    figure.suptitle(f"{task.name}, " + ("1 seed" if seeds == 1 else f"mean and standard deviation of {seeds} seeds"))
    return to_png(figure)


def _is_crossed(ways: Sequence[Way]) -> bool:
    names = names_in(ways)
    values = [{way.get(name) for way in ways} for name in names]
    size = 1
    for some in values:
        size *= len(some)
    return all(set(way) == set(names) for way in ways) and size == len(ways)


def _draw_crossed(axes: Axes, ways: Sequence[Way], rows: Sequence[TableRow], column: Column) -> None:
    first, *rest = names_in(ways)
    places = {value: place for place, value in enumerate(dict.fromkeys(way[first] for way in ways))}
    lines: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for way, row in zip(ways, rows, strict=True):
        if (found := row["metrics"].get(column.name)) is not None:
            label = words_of({name: way[name] for name in rest})
            lines.setdefault(label, []).append((places[way[first]], found))
    numbers = all(type(value) in (int, float) for value in places)
    for label, points in lines.items():
        means, spreads = _scaled(column, [found for _, found in points])
        axes.errorbar(
            [place for place, _ in points], means, spreads, marker="o", capsize=4,
            linestyle="-" if numbers else "", label=_plain(label) or None,
        )  # fmt: skip
    axes.set_xticks(range(len(places)), [_plain(str(value)) for value in places])
    axes.set(xlabel=first.replace("_", " "), ylabel=_title(column))


def _draw_ways(axes: Axes, ways: Sequence[Way], rows: Sequence[TableRow], column: Column) -> None:
    drawn = [(place, row["metrics"][column.name]) for place, row in enumerate(rows) if column.name in row["metrics"]]
    means, spreads = _scaled(column, [found for _, found in drawn])
    axes.errorbar(means, [place for place, _ in drawn], xerr=spreads, marker="o", capsize=4, linestyle="")
    axes.set_yticks(range(len(ways)), [_plain(words_of(way)) for way in ways])
    axes.set(xlabel=_title(column), ylim=(len(ways) - 0.5, -0.5))


def _scaled(column: Column, found: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    scale = 100 if column.percent else 1
    return [scale * one["mean"] for one in found], [scale * (one["spread"] or 0.0) for one in found]


def _title(column: Column) -> str:
    return _plain(column.words) + (" in %" if column.percent else "")


def _plain(words: str) -> str:
    """As matplotlib shows it, cut to MOST letters: $ would begin a formula."""
    return (words if len(words) <= MOST else words[: MOST - 1] + "…").replace("$", r"\$")
