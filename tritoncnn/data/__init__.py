"""Data sets and readers of files, one file each. The room finds its own modules: a file that defines a Source adds one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tritoncnn.data.define import IGNORED, Dataset, Examples, Facts, Reader, Source, Targets
from tritoncnn.data.files import look
from tritoncnn.errors import DataError
from tritoncnn.rooms import find_all

SOURCES: dict[str, Source] = dict(sorted(find_all(__name__, __path__, Source).items()))


def load_data(name: str, folder: Path | None, read: Reader, own: Mapping[str, Any] | None = None) -> Dataset:
    """Load the data set called ``name``; ``read`` is how the task wants its pictures; ``own`` has values of its own options,
    where they are not the usual ones. Raises DataError.
    """
    if name not in SOURCES:
        raise DataError(f"unknown data set {name!r}; known: {', '.join(SOURCES)}")
    source = SOURCES[name]
    if not source.folder:
        if folder is not None:
            others = " or ".join(f"--data {other.name}" for other in SOURCES.values() if other.folder)
            raise DataError(f"data set {name!r} takes no --data-dir: it is {source.about}; did you mean {others}?")
    elif folder is None:
        raise DataError(f"data set {name!r} needs --data-dir, {source.folder}")
    elif (found := look(folder)) != "folder":
        raise DataError(f"--data-dir {folder} {'does not exist' if found == 'none' else 'is not a folder'}")
    return source.load(folder, read, **{row.name: (own or {}).get(row.name, row.default) for row in source.options})


__all__ = ["IGNORED", "SOURCES", "Dataset", "Examples", "Facts", "Reader", "Source", "Targets", "load_data"]
