"""What a row of the lecture is, and what it shows once it has run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tritoncnn.errors import CheckpointError
from tritoncnn.lecture.stage import Stage


@dataclass(frozen=True)
class Shown:
    """What a row found.

    metric    what was measured, in words
    value     and how much it is; ``baseline`` is that of what a sceptic would try, named in ``by``
    falls     less is better
    times     by which the value has to be better than the baseline
    percent   both are shares, shown in %
    files     path of a picture or sound -> the sentence below it
    launches  of one step, or of what the row runs again and again; None where nothing tells it
    fused     what the kernels of a step compute beside their own op -> in how many launches
    """

    metric: str
    value: float
    baseline: float
    by: str
    falls: bool = False
    times: float = 1.0
    percent: bool = False
    files: Mapping[Path, str] = field(default_factory=dict)
    launches: int | None = None
    fused: Mapping[str, int] = field(default_factory=dict)

    @property
    def better(self) -> bool:
        """As much as was asked for."""
        return self.value * self.times < self.baseline if self.falls else self.value > self.baseline * self.times


@dataclass(frozen=True)
class Row:
    """One system of the lecture.

    name   as ``--only`` has it, and the row's folder
    title  of its part of the page
    idea   one or two sentences
    more   the command to go on with, without ``tritoncnn``
    run    runs it in small, by commands on a Stage
    """

    name: str
    title: str
    idea: str
    more: str
    run: Callable[[Stage], Shown]


@dataclass(frozen=True)
class Result:
    """A row's part of the page: figures, or the ``error`` in which it ended. Paths are within the page's folder."""

    row: str
    metric: str | None = None
    value: float | None = None
    baseline: float | None = None
    by: str = ""
    better: bool = False
    falls: bool = False
    times: float = 1.0
    percent: bool = False
    seconds: float = 0.0
    megabytes: int = 0
    launches: int | None = None
    files: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    fused: Mapping[str, int] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    error: str | None = None

    @classmethod
    def of(cls, row: Row, shown: Shown, stage: Stage, seconds: float) -> Result:
        """Raises CheckpointError where a figure is no finite number."""
        for what, number in (("value", shown.value), ("baseline", shown.baseline)):
            if not math.isfinite(number):
                raise CheckpointError(f"row {row.name}: the {what} of {shown.metric} is {number}")
        return cls(
            row=row.name,
            metric=shown.metric,
            value=shown.value,
            baseline=shown.baseline,
            by=shown.by,
            better=shown.better,
            falls=shown.falls,
            times=shown.times,
            percent=shown.percent,
            seconds=round(seconds, 1),
            megabytes=stage.megabytes,
            launches=shown.launches,
            files=tuple(path.relative_to(stage.page).as_posix() for path in shown.files),
            captions=tuple(shown.files.values()),
            fused=dict(shown.fused),
            commands=tuple(stage.commands),
        )

    @classmethod
    def of_note(cls, note: Mapping[str, Any]) -> Result:
        """Read what ``note`` wrote. Raises TypeError."""
        lists = {name: tuple(note[name]) for name in ("files", "captions", "commands") if name in note}
        return cls(**{**note, **lists})

    def note(self) -> dict[str, Any]:
        return asdict(self)

    def show(self, number: float | None) -> str:
        """A figure for people."""
        if number is None:
            return "–"
        return f"{number:.1%}" if self.percent else f"{number:.4g}"
