"""Lidar scans as a model wants them: so many points (x ahead, y left, z up, in metres; reflectance) within a box of space."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tritoncnn.data.define import Array, Reader
from tritoncnn.data.files import read_file
from tritoncnn.errors import DataError

SUFFIXES = (".bin", ".npy")
MAX_BYTES = 256 << 20
NUMPY = b"\x93NUMPY"  # how a .npy file begins, of files without a suffix
POINT = 16  # bytes of a point in a .bin file: four f32, little-endian
SEED = 0  # of which points stay where there are too many


@dataclass(frozen=True)
class ScanReader:
    """A path -> f32[points,4]. Raises DataError.

    lower, upper  corners of the space that is kept, in metres: lower <= x, y, z < upper
    points        of a scan with more in that space so many are drawn, always the same; with fewer they are repeated in their
                  order, which the largest over a pillar's points does not see
    """

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]
    points: int

    def __call__(self, path: Path) -> Array:
        return self.fit(read_scan(path), f"scan {path}")

    def fit(self, scan: Array, name: str) -> Array:
        """Points f32[N,4] -> f32[points,4]. Raises DataError where none is in the space."""
        kept = scan[self.holds(scan)]
        if not len(kept):
            space = ", ".join(
                f"{a} in [{low:g}, {high:g})" for a, low, high in zip("xyz", self.lower, self.upper, strict=True)
            )
            raise DataError(f"{name} has no point in the space that is looked at: {space} m; got {len(scan)} elsewhere")
        if len(kept) > self.points:
            kept = kept[np.sort(np.random.RandomState(SEED).permutation(len(kept))[: self.points])]
        return np.ascontiguousarray(np.resize(kept, (self.points, 4)))

    def holds(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which points [N,3 or more] are in the space: bool[N]."""
        return np.all((points[:, :3] >= self.lower) & (points[:, :3] < self.upper), axis=1)


def read_scan(path: Path) -> Array:
    """Read f32[N,4], N > 0, from a .bin file as KITTI has them, or a .npy file of [N,4] floats, or [N,3] without reflectance.

    What has no suffix, as standard input, is looked into. Raises DataError: another suffix, unreadable, empty, half a point,
    numbers that are not finite.
    """
    if path.suffix.lower() not in (*SUFFIXES, ""):
        raise DataError(f"scan {path} must end in {' or '.join(SUFFIXES)}")
    data = read_file(path, "scan", MAX_BYTES)
    is_array = path.suffix.lower() == ".npy" or (not path.suffix and data.startswith(NUMPY))
    scan = _array(path, data) if is_array else _points(path, data)
    if not len(scan):
        raise DataError(f"scan {path} is empty: it has no point")
    wrong = ~np.isfinite(scan).all(1)
    if wrong.any():
        raise DataError(
            f"scan {path} must hold finite numbers; {wrong.sum()} of {len(scan)} points are not, the first is point "
            f"{wrong.argmax()}: {', '.join(f'{value:g}' for value in scan[wrong.argmax()])}"
        )
    return scan


def _points(path: Path, data: bytes) -> Array:
    if len(data) % POINT:
        raise DataError(
            f"scan {path} must have {POINT} bytes for each point (x, y, z, reflectance); got {len(data)} bytes, "
            f"{len(data) % POINT} too many"
        )
    return np.frombuffer(data, "<f4").reshape(-1, 4).astype(np.float32)


def _array(path: Path, data: bytes) -> Array:
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # NumPy raises nearly anything on a malformed header
        raise DataError(f"scan {path} cannot be read: it is no .npy file of numbers") from error
    if (
        not isinstance(values, np.ndarray)
        or values.dtype.kind != "f"
        or values.ndim != 2
        or values.shape[1] not in (3, 4)
    ):
        got = f"{values.dtype} {list(values.shape)}" if isinstance(values, np.ndarray) else "an archive"
        raise DataError(f"scan {path} must hold floats [N,4], or [N,3] without reflectance; got {got}")
    with np.errstate(over="ignore"):  # what f32 cannot hold becomes infinite, and is refused
        scan = values.astype(np.float32)
    return scan if scan.shape[1] == 4 else np.pad(scan, ((0, 0), (0, 1)))


def check_scans(name: str, read: Reader) -> ScanReader:
    """``read`` as a reader of scans, for data set ``name``. Raises DataError where the task wants something else."""
    if not isinstance(read, ScanReader):
        raise DataError(f"data set {name!r} holds lidar scans; the task reads pictures")
    return read
