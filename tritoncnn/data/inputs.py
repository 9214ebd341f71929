"""What a person hands in to be looked at -> picture files: files, folders, patterns, standard input."""

from __future__ import annotations

import glob
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tritoncnn.data.files import look, reason
from tritoncnn.data.folder import files_in
from tritoncnn.data.pictures import MAX_BYTES, SUFFIXES
from tritoncnn.errors import DataError, InputError
from tritoncnn.memory import in_words

STDIN = "-"


class Picture(NamedTuple):
    """A name for people, and the file; or why there is none."""

    name: str
    file: Path | DataError

    def told(self, error: DataError) -> DataError:
        """An error of standard input without the name of the file that it was kept in."""
        kept = self.name == STDIN and isinstance(self.file, Path)
        return DataError(str(error).replace(str(self.file), "on standard input")) if kept else error


class Kind(NamedTuple):
    """What is handed in: the word for one of them, and how the names of such files end."""

    word: str
    suffixes: tuple[str, ...]


PICTURES = Kind("picture", SUFFIXES)


def find_pictures(words: Sequence[str], place: Path, kind: Kind = PICTURES, out: Path | None = None) -> list[Picture]:
    """The pictures, or files of another kind, that ``words`` name, in their order; ``place`` is a folder for what comes from
    standard input.

    A folder stands for all pictures in it and its folders; a word with * or ? that is no file for all that match it, in the
    order of their names; - for one picture on standard input. Of a folder or a pattern above ``out``, where answers are
    written, what is in that is left out: it was written by an earlier call. Raises InputError where - is said twice.
    """
    if list(words).count(STDIN) > 1:
        raise InputError(f"standard input (-) holds one {kind.word}; say it once")
    found: list[Picture] = []
    for word in words:
        if word == STDIN:
            found.append(Picture(STDIN, _stdin(place / "stdin", kind)))
            continue
        if not word:
            found.append(
                Picture(word, DataError(f"a {kind.word} is named by an empty word, as of a variable that is not set"))
            )
            continue
        try:
            found += _of(Path(word), kind, out)
        except DataError as error:
            found.append(Picture(word, error))
        except InputError as error:
            found.append(Picture(word, DataError(f"{kind.word} {error}")))
    return found


def _of(path: Path, kind: Kind, out: Path | None) -> list[Picture]:
    there = look(path)
    if there == "folder":
        files = [
            file for file in files_in(path) if file.suffix.lower() in kind.suffixes and not _written(file, path, out)
        ]
        if not files:
            raise DataError(f"folder {path} holds no {kind.word} ({', '.join(kind.suffixes)})")
        return [Picture(str(file), file) for file in files]
    if there == "none" and glob.has_magic(str(path)):
        above = next(folder for folder in path.parents if not glob.has_magic(str(folder)))
        matches = sorted(
            match for match in glob.glob(str(path), recursive=True) if not _written(Path(match), above, out)
        )
        if not matches:
            raise DataError(f"no {kind.word} matches {path}")
        return [picture for match in matches for picture in _matched(Path(match), kind, out)]
    return [Picture(str(path), path)]


def _written(file: Path, named: Path, out: Path | None) -> bool:
    """Whether a file is in ``out``, or ``out`` itself, and that is within the folder which was named."""
    if out is None:
        return False
    out = out.resolve()
    return named.resolve() in out.parents and out in (file.resolve(), *file.resolve().parents)


def check_apart(handed: Sequence[Picture], out: Path | None, end: str) -> None:
    """Raise InputError where what is written into ``out`` of a picture, NAME-``end``, is one of the pictures."""
    if out is None:
        return
    place = out.resolve()
    written = {place / f"{Path(picture.name).stem}-{end}" for picture in handed}
    for picture in handed:
        if isinstance(picture.file, Path) and picture.file.resolve() in written:
            raise InputError(
                f"--out {out} holds {picture.name}, which is handed in and would be written over: it may be of an earlier call; "
                "name another folder, or one within it"
            )


def _matched(path: Path, kind: Kind, out: Path | None) -> list[Picture]:
    """A folder that matches stands for its pictures; a link that leads nowhere is told when it is read."""
    return _of(path, kind, out) if look(path) == "folder" else [Picture(str(path), path)]


def _stdin(path: Path, kind: Kind) -> Path | DataError:
    """Keep what comes on standard input in a file."""
    try:
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        return DataError(f"standard input cannot be read: {reason(error)}")
    if not data:
        return DataError(f"standard input is empty; wanted a {kind.word} on it")
    if len(data) > MAX_BYTES:
        return DataError(f"standard input has over {in_words(MAX_BYTES)}; wanted one {kind.word}")
    path.write_bytes(data)
    return path
