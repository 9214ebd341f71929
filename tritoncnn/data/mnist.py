"""MNIST in its original IDX files, plain or gzipped.

Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section "File formats". A file is a magic
number 0x00000800 + its number of dimensions, these sizes, big endian 32 bit, then one byte per value.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from tritoncnn.data.define import Dataset, Part, Reader, Source, make_labelled
from tritoncnn.data.ink import SIZE
from tritoncnn.errors import DataError

CLASSES = 10
MAX_BYTES = 2 << 30  # a damaged header must not fill the memory; MNIST itself is 47 MB


def load_mnist(folder: Path | None, read: Reader) -> Dataset:
    """Read the four files train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-... in ``folder``. Raises DataError."""
    assert folder is not None, "load_data asks for one"
    classes = [str(digit) for digit in range(CLASSES)]
    return make_labelled("mnist", classes, _read_part(folder, "train"), _read_part(folder, "t10k"))


def _read_part(folder: Path, name: str) -> Part:
    picture_file, label_file = _find(folder, f"{name}-images", 3), _find(folder, f"{name}-labels", 1)
    pictures, labels = read_idx(picture_file, 3), read_idx(label_file, 1)
    if pictures.shape[1:] != (SIZE, SIZE):
        raise DataError(f"{picture_file} holds pictures of {pictures.shape[1]} x {pictures.shape[2]}; wanted 28 x 28")
    if len(pictures) != len(labels):
        raise DataError(f"{picture_file} holds {len(pictures)} pictures but {label_file} holds {len(labels)} labels")
    wrong = np.flatnonzero(labels >= CLASSES)
    if len(wrong):
        first = int(wrong[0])
        raise DataError(
            f"{label_file}: label {labels[first]} of picture {first} is out of range; wanted 0 to {CLASSES - 1}"
        )
    return Part(pictures[:, None].astype(np.float32) / np.float32(255), labels.astype(np.int64))


def _find(folder: Path, stem: str, dimensions: int) -> Path:
    names = [f"{stem}{dot}idx{dimensions}-ubyte{end}" for dot in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} holds no file {names[0]} or {names[1]}")


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The bytes of one IDX file, shaped. Raises DataError: wrong magic number, truncated, too long, not gzip."""
    try:
        with _open(path) as file:
            head = file.read(4 + 4 * dimensions)
            sizes = _sizes(path, head, dimensions)
            count = math.prod(sizes)
            data = file.read(count)
            more = len(file.read(1)) > 0
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if len(data) < count:
        raise DataError(f"{path} is truncated: wanted {count} bytes after its header; got {len(data)}")
    if more:
        raise DataError(f"{path} is longer than its header says: wanted {count} bytes after it")
    return np.frombuffer(data, np.uint8).reshape(sizes)


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix == ".gz" else open(path, "rb")


def _sizes(path: Path, head: bytes, dimensions: int) -> list[int]:
    magic = 0x800 + dimensions
    found = int.from_bytes(head[:4], "big")
    if len(head) >= 4 and found != magic:
        raise DataError(f"{path} has the wrong magic number 0x{found:08x}; wanted 0x{magic:08x}")
    if len(head) < 4 + 4 * dimensions:
        raise DataError(f"{path} is truncated: wanted a header of {4 + 4 * dimensions} bytes; got {len(head)}")
    sizes = [int.from_bytes(head[i : i + 4], "big") for i in range(4, len(head), 4)]
    if math.prod(sizes) > MAX_BYTES:
        raise DataError(f"{path} says it holds {' x '.join(map(str, sizes))} values; that is no MNIST file")
    return sizes


mnist = Source("mnist", "MNIST in its four IDX files", "the folder of the four IDX files, plain or .gz", load_mnist)
