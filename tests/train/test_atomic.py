from __future__ import annotations

import builtins
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tritoncnn.errors import SaveError
from tritoncnn.train.atomic import write_file


def full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullFile:
    """A file whose disk fills up after the first bytes."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, data: bytes) -> None:
        self.file.write(data[:3])
        full_disk()

    def __enter__(self) -> FullFile:
        return self

    def __exit__(self, *_: Any) -> None:
        self.file.close()


def fail_write(monkeypatch: pytest.MonkeyPatch) -> None:
    true_open = builtins.open
    monkeypatch.setattr("builtins.open", lambda path, mode="r": FullFile(true_open(path, mode)))


@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    path = tmp_path / "file"
    write_file(path, b"old")
    with monkeypatch.context() as patch:
        if where == "write":
            fail_write(patch)
        else:
            patch.setattr(os, where, full_disk)
        sentence = r"file could not be written \(No space left on device\); what was there before is intact$"
        with pytest.raises(SaveError, match=sentence) as caught:
            write_file(path, b"new and longer")
    assert caught.value.exit_code == 1
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
    write_file(path, b"new and longer")
    assert path.read_bytes() == b"new and longer"


def test_nothing_half_written_stays_where_there_was_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(SaveError, match="nothing was left behind"):
        write_file(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == []


def test_the_data_is_on_the_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    true_fsync, true_replace = os.fsync, os.replace

    def fsync(handle: int) -> None:
        done.append("sync folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "sync file")
        true_fsync(handle)

    def replace(source: Path, target: Path) -> None:
        done.append("rename")
        true_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_file(tmp_path / "file", b"data")
    assert done == ["sync file", "rename", "sync folder"]


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_FSIZE")
def test_a_limit_of_the_system_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"old")
    code = f"""
import resource
from pathlib import Path
from tritoncnn.train.atomic import write_file
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_file(Path({str(path)!r}), bytes(5000))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "SaveError" in done.stderr
    assert "could not be written (File too large); what was there before is intact" in done.stderr
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"could not be written \(No such file or directory\); nothing was left behind"):
        write_file(tmp_path / "gone" / "file", b"data")
