"""What commands that use a run share: how options are declared, files gone through, and results told."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

import click

from tritoncnn.commands.ending import complain, say
from tritoncnn.commands.place import path
from tritoncnn.errors import DataError, InputError

if TYPE_CHECKING:
    from tritoncnn.data.inputs import Kind, Picture

NAMED = 4  # files that are written are named one by one up to so many


class Result(Protocol):
    """What became of one file: ``note`` for machines (JSON), ``lines`` for people."""

    @property
    def note(self) -> Mapping[str, Any]: ...

    @property
    def lines(self) -> tuple[str, ...]: ...


F = TypeVar("F", Path, None)
R = TypeVar("R", bound=Result)
Declared = Callable[[Callable[..., Any]], Callable[..., Any]]

best_option: Declared = click.option("--best", is_flag=True, help="The weights of the best epoch, not of the last.")
json_option: Declared = click.option("--json", "as_json", is_flag=True, help="JSON instead of lines, for machines.")


def form_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--json and --csv as ``form``: the last one that is said."""
    csv = click.option("--csv", "form", flag_value="csv", help="A table with a row for each result, for spreadsheets.")
    return click.option("--json", "form", flag_value="json", help="JSON instead of lines, for machines.")(csv(command))


def folder_option(help: str, default: Path | None = None) -> Declared:
    """--out DIR, refused before any work where it is something else than a folder."""
    return _out("DIR", help, check_folder, default)


def file_option(help: str, default: Path | None = None) -> Declared:
    """--out FILE, refused before any work where it is a folder, or something that holds no file's content."""
    return _out("FILE", help, check_file, default)


def _out(metavar: str, help: str, check: Callable[[Any], Any], default: Path | None) -> Declared:
    return click.option(
        "--out", type=path, metavar=metavar, help=help, default=default, show_default=default is not None,
        callback=lambda _, __, out: check(out),
    )  # fmt: skip


def check_folder(out: F) -> F:
    """``out`` itself. Raises InputError where something else than a folder is there."""
    from tritoncnn.data.files import look  # late: --help needs none of it

    if out is not None and look(out) not in ("none", "folder"):
        raise InputError(f"--out {out} is not a folder")
    return out


def check_file(out: F) -> F:
    """``out`` itself. Raises InputError where something else than a file is there."""
    from tritoncnn.data.files import look

    if out is not None and (found := look(out)) not in ("none", "file"):
        raise InputError(f"--out {out} is a {'folder' if found == 'folder' else 'pipe or a device'}; name a file")
    return out


def tell(note: Any, lines: Iterable[str], files: Sequence[Path], as_json: bool) -> None:
    """Print ``note`` as JSON; or the lines, and which files were written."""
    if as_json:
        click.echo(json.dumps(note, indent=2))
        return
    for line in lines:
        say(line)
    tell_written(files)


def tell_written(files: Sequence[Path]) -> None:
    if files:
        more = f", and {len(files) - NAMED} more in {files[-1].parent}" if len(files) > NAMED else ""
        say(f"written: {', '.join(map(str, files[:NAMED]))}{more}")


def print_rows(rows: Sequence[Mapping[str, Any]], form: str) -> None:
    """Print rows as JSON or CSV."""
    from tritoncnn.train.answers import as_csv

    text = json.dumps(rows, indent=2) if form == "json" else as_csv(rows).rstrip("\n")
    click.echo(text.encode(errors="backslashreplace"))


@dataclass(frozen=True)
class Gone(Generic[R]):
    """Files that were gone through, in the order in which they were handed in, each with its result or why there is none."""

    word: str  # what one of them is
    found: tuple[tuple[Picture, R | DataError], ...]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row for each, for machines."""
        return [
            {self.word: picture.name, **({"error": str(one)} if isinstance(one, DataError) else one.note)}
            for picture, one in self.found
        ]

    @property
    def done(self) -> list[tuple[str, Path, R]]:
        """(name, file, result) of those that could be read."""
        return [
            (picture.name, cast("Path", picture.file), one)
            for picture, one in self.found
            if not isinstance(one, DataError)
        ]

    @property
    def code(self) -> int:
        """The exit code: 1 where some could not be read, 2 where none could."""
        bad = len(self.found) - len(self.done)
        return 0 if not bad else 1 if self.done else 2

    def tell(self, form: str | None) -> None:
        """Print all results on stdout, as ``form`` says or in lines, and all errors on stderr."""
        if form is not None:
            print_rows(self.rows, form)
        for picture, one in self.found:
            if isinstance(one, DataError):
                complain(f"error: {one}")
            elif form is None:
                say(picture.name)
                for line in one.lines:
                    say(f"  {line}")


@contextlib.contextmanager
def go_through(
    words: Sequence[str],
    work: Callable[[list[Path]], Iterable[R | DataError]],
    kind: Kind | None = None,
    out: Path | None = None,
    end: str = "answer.png",
) -> Iterator[Gone[R]]:
    """Give the files that ``words`` name to ``work``, which returns a result for each, or why it cannot be read.

    Folders and patterns do not stand for what is in a folder ``out`` within them, where results are written as NAME-``end``.

    What cannot be read is passed over: at the end of the block the command ends with an exit code that says so. The only
    file that there is raises its DataError. Raises InputError where - is said twice, or a result would be written over one of the
    files, as where a folder holds what an earlier call wrote beside them; and what ``work`` raises.
    """
    from tritoncnn.data.inputs import PICTURES, check_apart, find_pictures

    kind = kind or PICTURES
    with tempfile.TemporaryDirectory() as place:  # for standard input
        handed = find_pictures(words, Path(place), kind, out)
        check_apart(handed, out, end)
        results = iter(work([one.file for one in handed if isinstance(one.file, Path)]))
        found = []
        for one in handed:
            result = one.file if isinstance(one.file, DataError) else next(results)
            found.append((one, one.told(result) if isinstance(result, DataError) else result))
        if len(found) == 1 and isinstance(found[0][1], DataError):
            raise found[0][1]
        gone = Gone(kind.word, tuple(found))
        yield gone
    if gone.code:
        raise SystemExit(gone.code)
