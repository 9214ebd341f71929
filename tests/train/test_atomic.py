from __future__ import annotations

import builtins
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tritoncnn.atomic import check_folder, check_writable, unfinished, write_file
from tritoncnn.errors import SaveError


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
    with pytest.raises(SaveError, match="nothing of it was left behind"):
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
from tritoncnn.atomic import write_file
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_file(Path({str(path)!r}), bytes(5000))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "SaveError" in done.stderr
    assert "could not be written (File too large); what was there before is intact" in done.stderr
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        SaveError, match=r"could not be written \(No such file or directory\); nothing of it was left behind"
    ):
        write_file(tmp_path / "gone" / "file", b"data")


def test_a_planted_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    monkeypatch.setattr("secrets.token_hex", lambda count: "0" * 2 * count)  # an attacker who guessed it
    (tmp_path / ".file.0000000000000000.tmp").symlink_to(tmp_path / "victim")
    with pytest.raises(SaveError, match="File exists"):
        write_file(tmp_path / "file", b"data")
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_the_name_beside_it_cannot_be_foretold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    true_replace = os.replace

    def replace(source: Path, target: Path) -> None:
        names.append(Path(source).name)
        true_replace(source, target)

    monkeypatch.setattr(os, "replace", replace)
    for _ in range(3):
        write_file(tmp_path / "file", b"data")
    assert len(set(names)) == 3
    (tmp_path / "file.safetensors").touch()
    for name in names:
        (tmp_path / name).touch()
    assert {path.name for path in unfinished(tmp_path, {"file"})} == set(names)
    assert unfinished(tmp_path, {"other"}) == []


def test_files_get_the_rights_that_the_user_wants(tmp_path: Path) -> None:
    (tmp_path / "like").touch()
    write_file(tmp_path / "file", b"data")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "like").stat().st_mode


def test_what_cannot_be_written_is_known_before(tmp_path: Path) -> None:
    check_writable(tmp_path / "file")
    assert os.listdir(tmp_path) == []
    (tmp_path / "plain").touch()
    for path, said in {
        tmp_path: "Is a directory",
        tmp_path / "gone" / "file": "No such file or directory",
        tmp_path / "plain" / "file": "Not a directory",
        tmp_path / ("n" * 300): "File name too long",
        tmp_path / "zero\0byte": "embedded null byte",
    }.items():
        with pytest.raises(SaveError, match=said):
            check_writable(path)
        with pytest.raises(SaveError, match=said):
            write_file(path, b"data")


def test_a_folder_that_cannot_be_written_is_known_before(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "new", tmp_path / "new" / "and" / "deeper"):
        check_folder(folder)
        assert os.listdir(tmp_path) == []
    (tmp_path / "plain").touch()
    for path, said in {
        tmp_path / "plain": r"folder .*plain could not be written \(Not a directory\)",
        tmp_path / "plain" / "below": r"folder .*below could not be written \(Not a directory\)",
        tmp_path / ("n" * 300): "File name too long",
    }.items():
        with pytest.raises(SaveError, match=said):
            check_folder(path)
