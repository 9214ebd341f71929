from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tritoncnn.data.scan import ScanReader, read_scan
from tritoncnn.errors import DataError

READ = ScanReader((0.0, -10.0, -2.0), (20.0, 10.0, 2.0), 64)


def points(count: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).uniform((0, -10, -2, 0), (20, 10, 2, 1), (count, 4)).astype(np.float32)


def test_scans_are_read_from_bin_and_npy_files(tmp_path: Path) -> None:
    scan = points(10)
    scan.tofile(tmp_path / "a.bin")
    np.save(tmp_path / "b.npy", scan)
    np.save(tmp_path / "c.npy", scan.astype(np.float64))
    np.save(tmp_path / "d.npy", scan[:, :3])
    np.save(tmp_path / "e.NPY", scan)  # NumPy adds .npy
    for name in ("a.bin", "b.npy", "c.npy", "e.NPY.npy"):
        np.testing.assert_array_equal(read_scan(tmp_path / name), scan)
    np.testing.assert_array_equal(read_scan(tmp_path / "d.npy"), np.pad(scan[:, :3], ((0, 0), (0, 1))))
    for name in ("a.bin", "b.npy"):
        (tmp_path / name).rename(tmp_path / "without")
        np.testing.assert_array_equal(read_scan(tmp_path / "without"), scan)


def test_a_scan_of_few_points_is_repeated_and_one_of_many_is_thinned(tmp_path: Path) -> None:
    few, many = points(20), points(500)
    np.testing.assert_array_equal(READ.fit(few, "few"), np.concatenate([few, few, few, few[:4]]))
    kept = READ.fit(many, "many")
    assert kept.shape == (64, 4)
    rows = [int((many == row).all(1).argmax()) for row in kept]
    assert rows == sorted(set(rows))  # each once, in their order
    assert max(rows) > 400  # from all over the scan
    np.testing.assert_array_equal(kept, READ.fit(many, "again"))
    exact = points(64)
    np.testing.assert_array_equal(READ.fit(exact, "exact"), exact)


def test_points_outside_the_space_are_left_out_and_its_lower_sides_belong_to_it() -> None:
    scan = points(8)
    scan[0, :3], scan[1, :3] = READ.lower, READ.upper
    scan[2, 0], scan[3, 1], scan[4, 2] = -0.01, 11, 3
    kept = READ.fit(scan, "scan")
    assert {tuple(row) for row in kept.tolist()} == {tuple(row) for row in scan[[0, 5, 6, 7]].tolist()}


def broken(folder: Path) -> dict[str, tuple[Path, str]]:
    scan = points(5)
    (folder / "half.bin").write_bytes(scan.tobytes()[:-3])
    (folder / "empty.bin").touch()
    np.save(folder / "empty.npy", scan[:0])
    for name, value in {"nan": np.nan, "infinite": np.inf}.items():
        wrong = scan.copy()
        wrong[2, 1], wrong[4, 3] = value, value
        wrong.tofile(folder / f"{name}.bin")
        np.save(folder / f"{name}.npy", wrong)
    np.save(folder / "huge.npy", np.full((3, 4), 1e300))
    np.save(folder / "whole.npy", np.ones((3, 4), np.int64))
    np.save(folder / "flat.npy", scan.ravel())
    np.save(folder / "five.npy", np.ones((3, 5), np.float32))
    np.save(folder / "objects.npy", np.array([[1.0, None, "x", 2]], object), allow_pickle=True)
    np.savez(folder / "archive.npz", scan)
    (folder / "archive.npz").rename(folder / "archive.npy")
    (folder / "words.npy").write_text("no numbers")
    (folder / "scan.pcd").touch()
    (folder / "folder.bin").mkdir()
    (points(5) + np.float32(100)).tofile(folder / "elsewhere.bin")
    sentences = {
        "half.bin": "must have 16 bytes for each point (x, y, z, reflectance); got 77 bytes, 13 too many",
        "empty.bin": "is empty: it has no point",
        "empty.npy": "is empty: it has no point",
        "nan.bin": "must hold finite numbers; 2 of 5 points are not, the first is point 2",
        "nan.npy": "must hold finite numbers; 2 of 5 points are not, the first is point 2",
        "infinite.bin": "must hold finite numbers; 2 of 5 points are not",
        "infinite.npy": "must hold finite numbers; 2 of 5 points are not",
        "huge.npy": "must hold finite numbers; 3 of 3 points are not",
        "whole.npy": "must hold floats [N,4], or [N,3] without reflectance; got int64 [3, 4]",
        "flat.npy": "must hold floats [N,4], or [N,3] without reflectance; got float32 [20]",
        "five.npy": "must hold floats [N,4], or [N,3] without reflectance; got float32 [3, 5]",
        "objects.npy": "cannot be read: it is no .npy file of numbers",
        "archive.npy": "must hold floats [N,4], or [N,3] without reflectance; got an archive",
        "words.npy": "cannot be read: it is no .npy file of numbers",
        "scan.pcd": "must end in .bin or .npy",
        "folder.bin": "cannot be read: Is a directory",
        "elsewhere.bin": "has no point in the space that is looked at: x in [0, 20), y in [-10, 10), z in [-2, 2) m; "
        "got 5 elsewhere",
        "gone.bin": "does not exist",
    }
    return {name: (folder / name, sentence) for name, sentence in sentences.items()}


def test_broken_scans_are_named(tmp_path: Path) -> None:
    for path, sentence in broken(tmp_path).values():
        with pytest.raises(DataError) as caught:
            READ(path)
        assert str(caught.value).startswith(f"scan {path} ")
        assert sentence in str(caught.value)
