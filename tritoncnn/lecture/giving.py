"""Give the lecture: run its rows one after another, whatever becomes of any of them, and write the page after each."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import tritoncnn
from tritoncnn.atomic import write_file
from tritoncnn.data.files import look, read_file
from tritoncnn.errors import InputError, TritonCNNError
from tritoncnn.flags import known
from tritoncnn.lecture.page import write_page
from tritoncnn.lecture.row import Result, Row
from tritoncnn.lecture.rows import ROWS
from tritoncnn.lecture.stage import MOST, Stage
from tritoncnn.train.folder import make_folder

RECORD = "row.json"  # in a row's folder, once it has run
MARK = "lecture.json"  # in the page's folder: all results


def give(
    out: Path, only: Sequence[str] = (), tell: Callable[[Result, bool], None] = lambda result, before: None
) -> list[Result]:
    """Run the rows named in ``only``, or all, and write ``index.html`` and ``lecture.json`` into ``out`` after each.

    A row that is there already, from this version and without an error, is kept: ``tell`` hears of each row, and whether it
    was there before. Raises InputError, SaveError; KeyboardInterrupt, after which the same call goes on.
    """
    for name in only:
        known("row", name, ROWS)
    _check(out)
    make_folder(out)
    if look(out / MARK) == "none":
        write_file(out / MARK, lines_of([]))
    lecture = Lecture(out.resolve())
    found = {
        name: kept for name in ROWS if (kept := lecture.kept(name)) is not None
    }  # the page shows these in any case
    chosen = [name for name in ROWS if not only or name in only]
    for name in chosen:
        before = name in found
        found[name] = found[name] if before else lecture.run(ROWS[name])
        shown = [found[name] for name in ROWS if name in found]
        write_file(out / MARK, lines_of(shown))
        write_page(out, shown)
        tell(found[name], before)
    return [found[name] for name in chosen]


def lines_of(results: Sequence[Result]) -> bytes:
    """The results as JSON, a list."""
    return (json.dumps([result.note() for result in results], indent=2, allow_nan=False) + "\n").encode()


def _check(out: Path) -> None:
    """Raises InputError where the page would lie among other people's files."""
    found = look(out)
    if found == "none":
        return
    if found != "folder":
        raise InputError(f"--out {out} is not a folder")
    if look(out / MARK) == "none" and any(out.iterdir()):
        raise InputError(f"--out {out} is not empty and holds no lecture; name a new or empty folder")


class Lecture:
    """The rows of one page."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def kept(self, name: str) -> Result | None:
        """What the row showed when it ran before; None where it did not, or failed, or another version ran it."""
        path = self.out / name / RECORD
        if look(path) == "none":
            return None
        try:
            note = json.loads(read_file(path, "", MOST))
            same = note.pop("version") == tritoncnn.__version__
            return Result.of_note(note) if same else None
        except (ValueError, TypeError, KeyError, AttributeError):  # damaged: it runs again
            return None

    def run(self, row: Row) -> Result:
        """Run a row into a folder of its own, which is emptied first. What it raises becomes its result."""
        stage = Stage(self.out, row.name, self.trained)
        _empty(stage.folder)
        begin = time.monotonic()
        try:
            result = Result.of(row, row.run(stage), stage, time.monotonic() - begin)
        except (TritonCNNError, OSError, KeyError, TypeError, ValueError) as error:
            said = str(error) if isinstance(error, TritonCNNError) else f"{type(error).__name__}: {error}"
            seconds = round(time.monotonic() - begin, 1)
            return Result(row.name, seconds=seconds, commands=tuple(stage.commands), error=said)
        note = {**result.note(), "version": tritoncnn.__version__}
        write_file(stage.folder / RECORD, (json.dumps(note, indent=2) + "\n").encode())
        return result

    def trained(self, name: str) -> Path:
        """The run folder of a row that trains; it runs now where it did not before. Raises InputError."""
        if self.kept(name) is None:
            result = self.run(ROWS[name])
            if result.error is not None:
                raise InputError(f"row {name}, whose net it needs, failed: {result.error}")
        return self.out / name / "run"


def _empty(folder: Path) -> None:
    """Make the folder, without what an earlier try left in it."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder} is in the way; take it away")
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
