"""Data sets and readers of files, one file each. The room finds its own modules: a file that defines a Source adds one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tritoncnn.data.define import IGNORED, Dataset, Examples, Facts, Reader, Source, Targets
from tritoncnn.data.files import look
from tritoncnn.errors import DataError
from tritoncnn.rooms import find_all

SOURCES: dict[str, Source] = dict(sorted(find_all(__name__, __path__, Source).items()))


def load_data(
    name: str, folder: Path | None, read: Reader, own: Mapping[str, Any] | None = None, among: Iterable[str] = SOURCES
) -> Dataset:
    """Load the data set called ``name``; ``read`` is how the task wants its pictures; ``own`` has values of its own options,
    where they are not the usual ones; ``among`` are the sets that the task learns from. Raises DataError.
    """
    if name not in SOURCES:
        raise DataError(f"unknown data set {name!r}; known: {', '.join(SOURCES)}")
    source = SOURCES[name]
    if not source.folder:
        if folder is not None:
            others = " or ".join(f"--data {other}" for other in among if SOURCES[other].folder)
            more = f"did you mean {others}?" if others else "leave it out"
            raise DataError(f"data set {name!r} takes no --data-dir: it is {source.about}; {more}")
    elif folder is None:
        raise DataError(f"data set {name!r} needs --data-dir, {source.folder}")
    elif (found := look(folder)) != "folder":
        raise DataError(f"--data-dir {folder} {'does not exist' if found == 'none' else 'is not a folder'}")
    return source.load(
        folder, source.reader(read), **{row.name: (own or {}).get(row.name, row.default) for row in source.options}
    )


__all__ = ["IGNORED", "SOURCES", "Dataset", "Examples", "Facts", "Reader", "Source", "Targets", "load_data"]
