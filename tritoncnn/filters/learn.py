"""The filter between two pictures: least squares in closed form, and the same by descent; a folder that shows both."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tritoncnn import atomic
from tritoncnn.atomic import check_writable, write_file
from tritoncnn.data.define import Array
from tritoncnn.data.files import look
from tritoncnn.errors import InputError, SaveError
from tritoncnn.filters.descent import Descent, descend
from tritoncnn.filters.equations import Pair, Solution, make_pair, residual, solve
from tritoncnn.filters.taps import MOST, show_taps

if TYPE_CHECKING:
    from tritoncnn.filters.draw import Panel

FILES = ("filter.txt", "filter.png", "report.json")
UNSURE = 0.1  # of the largest tap: a standard error above this is told
UNEXPLAINED = 0.1  # of the spread of the picture behind: a residual above this is told
MOST_STEPS = 100_000


@dataclass(frozen=True)
class Learned:
    """residuals  root mean squares over all pixels that count: of the closed form, and of the descent where there was one
    spread     standard deviation of the picture behind: what the best even picture leaves
    """

    pair: Pair
    names: tuple[str, str]
    solution: Solution
    descent: Descent | None
    residuals: tuple[float, ...]
    spread: float

    @property
    def difference(self) -> float:
        """The largest of a tap between descent and closed form."""
        assert self.descent is not None, "steps were 0"
        return float(np.abs(self.descent.taps - self.solution.taps).max())

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences on what makes the answer doubtful."""
        found, solution = list(self.pair.remarks), self.solution
        largest = float(np.abs(solution.taps).max())
        if solution.rank < solution.unknowns:
            found.append(
                f"ill-posed: {self.names[0]} tells only {solution.rank} of {solution.unknowns} unknowns; of all filters that "
                "fit equally well the shortest is given"
            )
        elif solution.error > UNSURE * largest:
            found.append(
                f"ill-posed: with condition number {solution.condition:.3g} the residual leaves taps uncertain by up to "
                f"{solution.error:.2g}, the largest being {largest:.2g}; a smaller --size, or pictures of more bits, tell more"
            )
        if self.residuals[0] > UNEXPLAINED * self.spread:
            found.append(
                f"no filter of this size makes {self.names[1]} of {self.names[0]}: {self.residuals[0] / self.spread:.0%} of its "
                "variation is left; try another --size, --offset, or other pictures"
            )
        return tuple(found)


def learn_filter(
    before: Array,
    behind: Array,
    size: int,
    *,
    steps: int = 400,
    offset: bool = False,
    names: tuple[str, str] = ("the first picture", "the second picture"),
) -> Learned:
    """Find the filter of size x size taps that makes ``behind`` of ``before``, f32[C,H,W]; all channels share it.

    ``steps`` of descent at most, none with 0. ``offset``: also a number that is added everywhere. Raises InputError.
    """
    if not 1 <= size <= MOST or size % 2 == 0:
        raise InputError(f"--size must be an odd number from 1 to {MOST}; got {size}")
    if not 0 <= steps <= MOST_STEPS:
        raise InputError(f"--steps must be from 0 to {MOST_STEPS}; got {steps}")
    pair = make_pair(before, behind, (size, size), names)
    solution = solve(pair, offset)
    descent = descend(pair, steps, offset) if steps else None
    residuals = tuple(residual(pair, found.taps, found.offset) for found in (solution, descent) if found is not None)
    return Learned(pair, names, solution, descent, residuals, float(pair.behind.std()))


def check_folder(out: Path) -> None:
    """Whether the files can be written into folder ``out``, which may be there already. Raises InputError, SaveError."""
    found = look(out)
    if found not in ("none", "folder"):
        raise InputError(f"--out {out} is not a folder")
    if found == "folder":
        for name in FILES:
            check_writable(out / name)
        return
    atomic.check_folder(out)


def write_learned(out: Path, learned: Learned) -> None:
    """Write FILES into folder ``out``, made where it is not there. Raises SaveError."""
    contents = (_text(learned).encode(), _picture(learned), _report(learned))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(f"folder {out} could not be made: {error.strerror or error}") from error
    for name, content in zip(FILES, contents, strict=True):
        write_file(out / name, content)


def _text(learned: Learned) -> str:
    """What ``own_filter`` reads."""
    head = f"# the filter from {learned.names[0]} to {learned.names[1]} by least squares"
    if learned.solution.offset:
        head += f"; to be added everywhere: {learned.solution.offset!r}"
    return ascii(head)[1:-1] + "\n" + show_taps(learned.solution.taps)


def _picture(learned: Learned) -> bytes:
    from tritoncnn.filters.draw import draw_learned

    found: list[Panel] = [("least squares", learned.solution.taps, learned.residuals[0])]
    if learned.descent is None:
        return draw_learned(found, (), learned.spread)
    found.append((f"{len(learned.descent.losses)} steps of descent", learned.descent.taps, learned.residuals[1]))
    return draw_learned(found, learned.descent.losses, learned.spread)


def _report(learned: Learned) -> bytes:
    solution, descent = learned.solution, learned.descent
    report: dict[str, Any] = {
        "before": learned.names[0],
        "behind": learned.names[1],
        "equations": learned.pair.equations,
        "border_left_out": list(learned.pair.cut),
        "spread": learned.spread,
        "least_squares": {
            "taps": solution.taps.tolist(),
            "offset": solution.offset,
            "residual": learned.residuals[0],
            "rank": solution.rank,
            "unknowns": solution.unknowns,
            "condition": solution.condition,
            "standard_error": solution.error,
        },
        "remarks": list(learned.remarks),
    }
    if descent is not None:
        report["descent"] = {
            "taps": descent.taps.tolist(),
            "offset": descent.offset,
            "residual": learned.residuals[1],
            "steps": len(descent.losses),
            "launches_per_step": descent.launches,
            "largest_difference": learned.difference,
            "losses": list(descent.losses),
        }
    return (json.dumps(report, indent=2, allow_nan=False) + "\n").encode()
