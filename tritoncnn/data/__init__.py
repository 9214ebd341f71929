"""Data sets and readers of files, one file each. The room finds its own modules: a file that defines a Source adds one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tritoncnn.data.define import Dataset, Examples, Facts, Reader, Source
from tritoncnn.data.files import look
from tritoncnn.errors import DataError


def _find_sources() -> dict[str, Source]:
    found: dict[str, Source] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        for thing in vars(importlib.import_module(f"{__name__}.{module}")).values():
            if isinstance(thing, Source) and found.setdefault(thing.name, thing) is not thing:
                raise AssertionError(f"two data sets are named {thing.name}")
    return found


SOURCES: dict[str, Source] = _find_sources()


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


__all__ = ["SOURCES", "Dataset", "Examples", "Facts", "Reader", "Source", "load_data"]
