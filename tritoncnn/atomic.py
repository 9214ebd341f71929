"""Files that are either the old one or the new one, whole, also after a power cut or on a full disk."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from tritoncnn.errors import SaveError

_ASIDE = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}\.tmp")


def write_file(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``: written beside it, flushed to the disk, then renamed over it.

    The name beside it cannot be foretold and must not exist, so nobody can plant a link there. Raises SaveError; ``path``
    is then as it was before.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        try:
            with open(os.open(beside, flags, 0o666), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except (OSError, ValueError) as error:
        kept = "what was there before is intact" if os.path.exists(path) else "nothing of it was left behind"
        said = getattr(error, "strerror", None) or error
        raise SaveError(f"{path} could not be written ({said}); {kept}") from error


def check_writable(path: Path) -> None:
    """Find out now whether ``path`` can be written later, by a file that is taken away again. Raises SaveError."""
    if os.path.isdir(path):
        raise SaveError(f"{path} could not be written (Is a directory); what was there before is intact")
    probe = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        probe.unlink()
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise SaveError(f"{path} could not be written ({said})") from error


def check_folder(path: Path) -> None:
    """Find out now whether files can be written into ``path`` later, a folder that is there or will be made. Raises SaveError."""
    there = path.absolute()
    while not os.path.lexists(there):
        there = there.parent
    try:
        check_writable(there / f"{path.name}.probe")
    except SaveError as error:
        said = getattr(error.__cause__, "strerror", None) or error
        raise SaveError(f"folder {path} could not be written ({said})") from error


def unfinished(folder: Path, names: Collection[str]) -> list[Path]:
    """What killed processes left in ``folder`` while they wrote one of ``names``."""
    found = ((entry, _ASIDE.fullmatch(entry.name)) for entry in folder.iterdir())
    return [entry for entry, match in found if match is not None and match["name"] in names]


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where folders can be opened (not on Windows)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
