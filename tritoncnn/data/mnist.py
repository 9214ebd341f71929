"""MNIST in its original IDX files, plain or gzipped.

Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section "File formats". A file is a magic
number 0x00000800 + its number of dimensions, these sizes, big endian 32 bit, then one byte per value.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from tritoncnn.data.define import Dataset, Part, Reader, Source, make_labelled
from tritoncnn.data.files import check_memory, look, open_file, reason
from tritoncnn.data.ink import SIZE
from tritoncnn.errors import DataError
from tritoncnn.memory import in_words

CLASSES = 10
BYTES_EACH = 10  # of memory for a byte of the file: as it is, in [0, 1], normalised
DEFLATE = 1032  # no gzip file unpacks to more times its size. Source: zlib's technical notes


def load_mnist(folder: Path | None, read: Reader) -> Dataset:
    """Read the four files train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-... in ``folder``. Raises DataError."""
    assert folder is not None, "load_data asks for one"
    classes = [str(digit) for digit in range(CLASSES)]
    return make_labelled("mnist", classes, _read_part(folder, "train"), _read_part(folder, "t10k"))


def _read_part(folder: Path, name: str) -> Part:
    picture_file, label_file = _find(folder, f"{name}-images", 3), _find(folder, f"{name}-labels", 1)
    (count, *size), (labelled,) = read_sizes(picture_file, 3), read_sizes(label_file, 1)
    if size != [SIZE, SIZE]:
        raise DataError(f"{picture_file} holds pictures of {size[0]} x {size[1]}; wanted 28 x 28")
    if count != labelled:
        raise DataError(f"{picture_file} holds {count} pictures but {label_file} holds {labelled} labels")
    pictures, labels = read_idx(picture_file, 3), read_idx(label_file, 1)
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
        if look(folder / name) != "none":
            return folder / name
    raise DataError(f"{folder} holds no file {names[0]} or {names[1]}")


def read_sizes(path: Path, dimensions: int) -> list[int]:
    """What the header of an IDX file says of its sizes. Raises DataError."""
    with _reading(path, dimensions) as (file, most):
        return _sizes(path, file.read(4 + 4 * dimensions), dimensions, most)


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The bytes of one IDX file, shaped. Raises DataError: wrong magic number, truncated, too long, not gzip."""
    with _reading(path, dimensions) as (file, most):
        sizes = _sizes(path, file.read(4 + 4 * dimensions), dimensions, most)
        count = math.prod(sizes)
        data = file.read(count)
        more = len(file.read(1)) > 0
    if len(data) < count:
        raise DataError(f"{path} is truncated: wanted {count} bytes after its header; got {len(data)}")
    if more:
        raise DataError(f"{path} is longer than its header says: wanted {count} bytes after it")
    return np.frombuffer(data, np.uint8).reshape(sizes)


@contextlib.contextmanager
def _reading(path: Path, dimensions: int) -> Iterator[tuple[IO[bytes], int]]:
    """(the file, unpacked; how many bytes it can hold at most)"""
    with open_file(path, "") as plain:
        size = os.fstat(plain.fileno()).st_size
        packed = path.suffix == ".gz"
        try:
            with gzip.open(plain, "rb") if packed else plain as file:
                yield cast("IO[bytes]", file), size * DEFLATE if packed else size - 4 - 4 * dimensions
        except (OSError, EOFError, zlib.error, MemoryError) as error:
            raise DataError(f"{path} cannot be read: {reason(error)}") from error


def _sizes(path: Path, head: bytes, dimensions: int, most: int) -> list[int]:
    magic = 0x800 + dimensions
    found = int.from_bytes(head[:4], "big")
    if len(head) >= 4 and found != magic:
        raise DataError(f"{path} has the wrong magic number 0x{found:08x}; wanted 0x{magic:08x}")
    if len(head) < 4 + 4 * dimensions:
        raise DataError(f"{path} is truncated: wanted a header of {4 + 4 * dimensions} bytes; got {len(head)}")
    sizes = [int.from_bytes(head[i : i + 4], "big") for i in range(4, len(head), 4)]
    count = math.prod(sizes)
    if count > most:
        raise DataError(f"{path} is truncated: its header tells of {count} bytes; it cannot hold more than {most}")
    check_memory(count * BYTES_EACH, f"{path} holds {in_words(count)}, which")
    return sizes


mnist = Source("mnist", "MNIST in its four IDX files", "the folder of the four IDX files, plain or .gz", load_mnist)
