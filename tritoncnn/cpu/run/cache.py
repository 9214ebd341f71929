"""Compiled kernels on disk, in a folder that only their owner can write to.

An entry is one file: MAGIC, the sha256 of what follows, the length of a JSON header, the header, object code. Nothing
is unpickled; an entry whose sum or header is wrong is a miss. Entries appear whole (written aside, renamed), so several
processes may share a folder and a killed one leaves no half entry. What a power cut leaves of one is told by its sum: nothing
waits for the disk.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import secrets
import stat
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from tritoncnn.errors import CacheError

MAGIC = b"tritoncnn object 1\n"
_OWN = "set TRITONCNN_CACHE to a folder of your own"
_warned = False


def _warn(folder: Path, error: OSError) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"cache folder {folder} cannot be used ({error.strerror}); kernels are compiled again in every process.",
            RuntimeWarning,
            stacklevel=2,
        )


def _check(folder: Path, descriptor: int) -> None:
    """Raise CacheError unless only we can write to an open folder: its code runs with our rights."""
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid():
        raise CacheError(f"cache folder {folder} belongs to user {status.st_uid}, not to you; {_OWN}")
    if status.st_mode & 0o022:
        mode = stat.S_IMODE(status.st_mode)
        raise CacheError(f"cache folder {folder} can be written to by others (mode {mode:o}); chmod go-w it or {_OWN}")


def _open_one(folder: Path, name: str | Path, parent: int | None) -> int:
    """Make (0700) and open a folder; the open descriptor, not the name, is what is checked and used from then on."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and os.path.islink(folder):
            raise CacheError(f"cache folder {folder} is a symbolic link; name the folder itself or {_OWN}") from error
        raise
    try:
        _check(folder, descriptor)
    except CacheError:
        os.close(descriptor)
        raise
    return descriptor


def open_folder(root: Path, name: str) -> int:
    """Descriptor of ``root/name``, made if need be. Raises CacheError when it is not safely ours, OSError otherwise."""
    with suppress(FileExistsError):
        root.parent.mkdir(parents=True)
    outer = _open_one(root, root, None)
    try:
        return _open_one(root / name, name, outer)
    finally:
        os.close(outer)


class DiskCache:
    """Entries of one kind under ``root/name``. Without a usable folder it warns once and holds nothing.

    limit  bytes that all entries may take; beyond it, those that were not read for longest go. None: any number
    """

    def __init__(self, root: Path, name: str = "cpu", limit: int | None = None) -> None:
        self.root, self.name, self.limit = root, name, limit
        self.folder = root / name

    def get(self, key: str) -> tuple[dict[str, Any], bytes] | None:
        """(header, object code), or None for a missing or damaged entry. Raises CacheError for an unsafe folder."""
        try:
            folder = open_folder(self.root, self.name)
        except OSError as error:
            _warn(self.folder, error)
            return None
        try:
            entry = _read(folder, key)
            if self.limit is not None:
                with suppress(OSError):  # a read-only disk
                    os.utime(key, dir_fd=folder, follow_symlinks=False)
            return _decode(entry, key)
        except OSError:
            return None
        finally:
            os.close(folder)

    def put(self, key: str, header: dict[str, Any], obj: bytes) -> None:
        """Write or replace an entry. Raises CacheError for an unsafe folder; a full or read-only disk only warns."""
        try:
            folder = open_folder(self.root, self.name)
            try:
                _write(folder, key, _encode(key, header, obj))
                if self.limit is not None:
                    _drop_oldest(folder, self.limit, keep=key)
            finally:
                os.close(folder)
        except OSError as error:
            _warn(self.folder, error)


def write_text(root: Path, name: str, file_name: str, text: str) -> None:
    """``root/name/file_name`` for people to read; a full or read-only disk only warns."""
    try:
        folder = open_folder(root, name)
        try:
            _write(folder, file_name, text.encode())
        finally:
            os.close(folder)
    except OSError as error:
        _warn(root / name, error)


def _encode(key: str, header: dict[str, Any], obj: bytes) -> bytes:
    words = json.dumps({**header, "key": key}).encode()
    payload = len(words).to_bytes(4, "little") + words + obj
    return MAGIC + hashlib.sha256(payload).digest() + payload


def _decode(entry: bytes, key: str) -> tuple[dict[str, Any], bytes] | None:
    start = len(MAGIC) + 32
    payload = entry[start:]
    if not entry.startswith(MAGIC) or hashlib.sha256(payload).digest() != entry[len(MAGIC) : start]:
        return None
    size = 4 + int.from_bytes(payload[:4], "little")
    try:
        header = json.loads(payload[4:size])
    except (ValueError, RecursionError):  # another program's, with a sum that is right
        return None
    return (header, payload[size:]) if isinstance(header, dict) and header.get("key") == key else None


def _read(folder: int, key: str) -> bytes:
    descriptor = os.open(key, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            return b""
        return file.read()


def _write(folder: int, key: str, entry: bytes) -> None:
    aside = f".{key}.{os.getpid()}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(aside, flags, 0o600, dir_fd=folder), "wb") as file:
            file.write(entry)
        os.replace(aside, key, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(aside, dir_fd=folder)
        raise


def _drop_oldest(folder: int, limit: int, keep: str) -> None:
    """Delete files of an open folder, the one that was not used for longest first, until they take ``limit`` bytes or only
    ``keep`` is left. Files that another process writes or deletes at the same time are no error."""
    found = []
    for name in os.listdir(folder):
        with suppress(OSError):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                found.append((status.st_mtime_ns, name, status.st_size))
    total = sum(size for _, _, size in found)
    for _, name, size in sorted(found):
        if total <= limit:
            return
        if name != keep:
            with suppress(OSError):
                os.unlink(name, dir_fd=folder)
            total -= size


@functools.lru_cache
def sources_hash() -> str:
    """sha256 of the backend's source: object code of another version of the backend is never taken from the cache."""
    digest = hashlib.sha256()
    room = Path(__file__).parent.parent
    for path in sorted(room.rglob("*.py")):
        digest.update(str(path.relative_to(room)).encode() + path.read_bytes())
    return digest.hexdigest()
