"""Files that are either the old one or the new one, whole, also after a power cut or on a full disk."""

from __future__ import annotations

import os
from pathlib import Path

from tritoncnn.errors import SaveError


def write_file(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``: written beside it, flushed to the disk, then renamed over it.

    The name beside it is always the same, so what a killed process left there is overwritten by the next one.
    Raises SaveError; ``path`` is then as it was before.
    """
    beside = path.with_name(f".{path.name}.tmp")
    try:
        try:
            with open(beside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        kept = "what was there before is intact" if path.exists() else "nothing was left behind"
        raise SaveError(f"{path} could not be written ({error.strerror or error}); {kept}") from error


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where folders can be opened (not on Windows)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
