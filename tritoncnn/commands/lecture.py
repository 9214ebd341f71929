"""tritoncnn lecture"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tritoncnn.commands.ending import complain, say
from tritoncnn.commands.place import path
from tritoncnn.commands.results import folder_option

if TYPE_CHECKING:
    from tritoncnn.lecture import Result


@click.command()
@click.argument("rows", nargs=-1, metavar="[ROW...]")
@folder_option("Folder of the page.", Path("lecture"))
@click.option("--only", multiple=True, metavar="ROW...", help="These rows alone; a wrong name lists all.")
@click.option("--json", "listed", type=path, metavar="FILE", help="Write the figures also there.")
def lecture(rows: tuple[str, ...], out: Path, only: tuple[str, ...], listed: Path | None) -> None:
    """Run every row of the lecture in small, and write one page that shows them all: DIR/index.html.

    Each row runs the commands that the page tells, on data that come with the package or are made, and is put beside a
    baseline. A row that fails is told, and the next one begins; the exit code is then 1. Rows that are there already are
    kept: after Ctrl-C the same command goes on.

    The figures are a list of {"row", "metric", "value", "baseline", "better", "seconds", "launches", "files"...} in
    DIR/lecture.json, with paths as seen from DIR.
    """
    from tritoncnn.atomic import check_writable, write_file
    from tritoncnn.lecture import give
    from tritoncnn.lecture.giving import lines_of

    names = [name for word in (*only, *rows) for name in word.split(",") if name or not word]
    if listed is not None:
        check_writable(listed)
    results = give(out, names, _tell)
    if listed is not None:
        write_file(listed, lines_of(results))
    say(f"written: {out / 'index.html'}")
    failed = [result.row for result in results if result.error is not None]
    if failed:
        complain(f"error: {len(failed)} of {len(results)} rows failed: {', '.join(failed)}")
        raise SystemExit(1)


def _tell(result: Result, before: bool) -> None:
    """One line of a row."""
    if result.error is not None:
        complain(f"{result.row}: {result.error}")
        return
    said = f"{result.metric} {result.show(result.value)}, against {result.show(result.baseline)} by {result.by}"
    after = "as before" if before else f"{result.seconds:.0f} s"
    say(f"{result.row}: {said}{'' if result.better else ' (not better)'}; {after}")
