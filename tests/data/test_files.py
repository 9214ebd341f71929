"""Files that are no files, too long names, too many bytes: each is told in one sentence, and nothing waits."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from tests.train.samples import idx, strokes, write_idx
from tritoncnn.data import load_data
from tritoncnn.data.files import look, open_file, read_file
from tritoncnn.data.ink import read_ink
from tritoncnn.errors import CheckpointError, DataError, InputError
from tritoncnn.memory import in_words, left_in_group, memory_left, peak_memory


def test_what_a_path_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken").symlink_to(tmp_path / "gone")
    found = {name: look(tmp_path / name) for name in (".", "file", "pipe", "gone", "broken", "file/below")}
    assert found == {
        ".": "folder", "file": "file", "pipe": "other", "gone": "none", "broken": "none", "file/below": "none",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "said"),
    [("n" * 300, "File name too long"), ("a\0b", "embedded null byte"), ("loop", "Too many levels of symbolic links")],
)
def test_a_path_of_which_nothing_can_be_told(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InputError, match=f"cannot be used: .*{said}"):
        look(tmp_path / name)
    with pytest.raises(DataError, match=f"picture .* cannot be read: .*{said}"):
        read_ink(tmp_path / name)


def test_pipes_devices_and_folders_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        with pytest.raises(DataError, match="cannot be read: it is a pipe or a device, not a file"):
            read_ink(path)
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        open_file(tmp_path, "", CheckpointError)


def test_a_file_of_too_many_bytes_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "big", "wb") as file:
        file.truncate(40 << 30)  # sparse
    with pytest.raises(CheckpointError, match=r"^/.*big has 42.9 GB; wanted at most 1.0 kB$"):
        read_file(tmp_path / "big", "", 1000, CheckpointError)
    with pytest.raises(DataError, match=r"picture .*big has 42.9 GB; wanted at most 1.0 GB$"):
        read_ink(tmp_path / "big")


def test_bytes_in_words() -> None:
    assert [in_words(n) for n in (0, 999, 1000, 54_880, 2**31, 10**13)] == [
        "0 bytes", "999 bytes", "1.0 kB", "54.9 kB", "2.1 GB", "10.0 TB",
    ]  # fmt: skip


def test_some_memory_is_left() -> None:
    assert 1 << 20 < memory_left() < 1 << 62 or not Path("/proc/meminfo").exists()


def test_a_groups_files_that_are_held_in_memory_count_as_free(tmp_path: Path) -> None:
    for name, text in {
        "memory.max": "1000\n",
        "memory.current": "900\n",
        "memory.stat": "anon 300\nactive_file 200\ninactive_file 400\n",
    }.items():
        (tmp_path / name).write_text(text)
    assert left_in_group(tmp_path) == 700
    (tmp_path / "memory.max").write_text("max\n")
    with pytest.raises(ValueError, match="max"):
        left_in_group(tmp_path)  # no limit: passed over


def header(count: int) -> bytes:
    return (0x803).to_bytes(4, "big") + b"".join(size.to_bytes(4, "big") for size in (count, 28, 28))


def labels_of(count: int) -> bytes:
    return (0x801).to_bytes(4, "big") + count.to_bytes(4, "big")


def test_a_gzip_file_that_tells_of_more_than_it_can_hold_is_not_unpacked(tmp_path: Path) -> None:
    write_idx(tmp_path)
    for name, data in (("train-images-idx3-ubyte", header(2**21)), ("train-labels-idx1-ubyte", labels_of(2**21))):
        (tmp_path / name).unlink()
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data))
    with pytest.raises(
        DataError, match=r"images.*gz is truncated: its header tells of 1644167168 bytes; it cannot hold"
    ):
        load_data("mnist", tmp_path, read_ink)


def test_pictures_that_do_not_fit_into_the_memory_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tritoncnn.data.files.memory_left", lambda: 500_000)
    with pytest.raises(DataError, match="holds 54.9 kB, which would need 548.8 kB of memory; 500.0 kB are left"):
        load_data("mnist", write_idx(tmp_path), read_ink)


def test_pictures_and_labels_are_counted_before_either_is_unpacked(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    bomb = gzip.compress(labels_of(2**31 - 1) + bytes(1 << 22))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(bomb)
    with pytest.raises(DataError, match=r"labels.*gz is truncated: its header tells of 2147483647 bytes"):
        load_data("mnist", tmp_path, read_ink)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels_of(71) + bytes(71)))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(header(70) + bytes(3))
    with pytest.raises(DataError, match="is truncated"):
        load_data("mnist", tmp_path, read_ink)


def test_a_set_of_one_class_is_refused(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.full(len(strokes(70, 0)[1]), 3, np.uint8)))
    with pytest.raises(
        DataError, match="mnist: all training pictures are of one class, '3'; wanted at least 2 classes"
    ):
        load_data("mnist", tmp_path, read_ink)


def test_peak_memory_is_what_this_process_has_had_and_never_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    before, block = peak_memory(), np.ones(50_000_000, np.uint8)
    now = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    after = peak_memory()
    assert after >= max(before, 0.95 * now)
    assert now > block.nbytes
    del block
    assert peak_memory() >= 0.99 * after  # Linux adds pages up in batches, one a core: some 16 may not be counted yet
    monkeypatch.setattr(Path, "read_text", lambda _: (_ for _ in ()).throw(OSError()))
    assert peak_memory() >= 0.95 * after, "getrusage says about the same, or more, in bytes"
