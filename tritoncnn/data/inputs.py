"""What a person hands in to be looked at -> picture files: files, folders, patterns, standard input."""

from __future__ import annotations

import glob
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tritoncnn.data.files import in_words, look, reason
from tritoncnn.data.folder import files_in
from tritoncnn.data.pictures import MAX_BYTES, SUFFIXES
from tritoncnn.errors import DataError, InputError

STDIN = "-"


class Picture(NamedTuple):
    """A name for people, and the file; or why there is none."""

    name: str
    file: Path | DataError

    def told(self, error: DataError) -> DataError:
        """An error of standard input without the name of the file that it was kept in."""
        return DataError(str(error).replace(str(self.file), "on standard input")) if self.name == STDIN else error


def find_pictures(words: Sequence[str], place: Path) -> list[Picture]:
    """The pictures that ``words`` name, in their order; ``place`` is a folder for what comes from standard input.

    A folder stands for all pictures in it and its folders; a word with * or ? that is no file for all that match it, in the
    order of their names; - for one picture on standard input. Raises InputError where - is said twice.
    """
    if list(words).count(STDIN) > 1:
        raise InputError("standard input (-) holds one picture; say it once")
    found: list[Picture] = []
    for word in words:
        if word == STDIN:
            found.append(Picture(STDIN, _stdin(place / "stdin")))
            continue
        try:
            found += _of(Path(word))
        except DataError as error:
            found.append(Picture(word, error))
        except InputError as error:
            found.append(Picture(word, DataError(f"picture {error}")))
    return found


def _of(path: Path) -> list[Picture]:
    kind = look(path)
    if kind == "folder":
        files = [file for file in files_in(path) if file.suffix.lower() in SUFFIXES]
        if not files:
            raise DataError(f"folder {path} holds no picture ({', '.join(SUFFIXES)})")
        return [Picture(str(file), file) for file in files]
    if kind == "none" and glob.has_magic(str(path)):
        matches = sorted(glob.glob(str(path), recursive=True))
        if not matches:
            raise DataError(f"no picture matches {path}")
        return [picture for match in matches for picture in _matched(Path(match))]
    return [Picture(str(path), path)]


def _matched(path: Path) -> list[Picture]:
    """A folder that matches stands for its pictures; a link that leads nowhere is told when it is read."""
    return _of(path) if look(path) == "folder" else [Picture(str(path), path)]


def _stdin(path: Path) -> Path | DataError:
    """Keep what comes on standard input in a file."""
    try:
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        return DataError(f"standard input cannot be read: {reason(error)}")
    if not data:
        return DataError("standard input is empty; wanted a picture on it")
    if len(data) > MAX_BYTES:
        return DataError(f"standard input has over {in_words(MAX_BYTES)}; wanted one picture")
    path.write_bytes(data)
    return path
