"""CIFAR in its two versions: files made here, byte by byte, as those of 2009 are; and broken and evil ones."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tritoncnn.data import Dataset, load_data
from tritoncnn.data.colour import ColourReader
from tritoncnn.data.ink import read_ink
from tritoncnn.data.pickled import as_bytes, read_pickled
from tritoncnn.errors import DataError

BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
EACH = 20  # pictures of a file
Bytes = NDArray[np.uint8]


def records(seed: int, classes: int = 10, count: int = EACH) -> tuple[list[int], Bytes]:
    random = np.random.RandomState(seed)
    return (random.permutation(count) % classes).tolist(), random.randint(0, 256, (count, 3072)).astype(np.uint8)


def text(word: str) -> bytes:
    return b"U" + bytes([len(word)]) + word.encode()


def python2(labels: list[int], values: Bytes, key: str = "labels", columns_first: bool = False) -> bytes:
    """What cPickle of Python 2 wrote with protocol 2."""
    data = values.tobytes(order="F" if columns_first else "C")
    shape = b"".join(b"J" + size.to_bytes(4, "little") for size in values.shape)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x06cnumpy\nndarray\nq\x07K\x00\x85q\x08U\x01bq\x09\x87q\x0aRq\x0b(K\x01"
        + shape + b"\x86q\x0ccnumpy\ndtype\nq\x0dU\x02u1q\x0eK\x00K\x01\x87q\x0fRq\x10(K\x03U\x01|q\x11NNNJ\xff\xff\xff\xff"
        + b"J\xff\xff\xff\xffK\x00tq\x12b" + (b"\x88" if columns_first else b"\x89")
        + b"T" + len(data).to_bytes(4, "little") + data + b"q\x13tq\x14b"
    )  # fmt: skip
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    return (
        b"\x80\x02}q\x01(" + text("batch_label") + b"q\x02" + text("training batch 1 of 5") + b"q\x03"
        + text(key) + b"q\x04]q\x05(" + numbers + b"e" + text("data") + b"q\x15" + array + b"u."
    )  # fmt: skip


def names2(key: str, names: list[str]) -> bytes:
    return b"\x80\x02}q\x01" + text(key) + b"q\x02]q\x03(" + b"".join(text(name) for name in names) + b"es."


def write_python(folder: Path, **how: bool) -> Path:
    folder.mkdir(parents=True)
    for seed, name in enumerate(BATCHES):
        (folder / name).write_bytes(python2(*records(seed), **how))
    (folder / "batches.meta").write_bytes(names2("label_names", [f"class {label}" for label in range(10)]))
    return folder


def write_binary(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for seed, name in enumerate(BATCHES):
        labels, values = records(seed)
        rows = [bytes([label]) + row.tobytes() for label, row in zip(labels, values, strict=True)]
        (folder / f"{name}.bin").write_bytes(b"".join(rows))
    (folder / "batches.meta.txt").write_text("".join(f"class {label}\n" for label in range(10)) + "\n")
    return folder


def write_100(folder: Path, binary: bool) -> Path:
    folder.mkdir(parents=True)
    names = [f"fine {label}" for label in range(100)]
    for seed, name in enumerate(("train", "test")):
        labels, values = records(seed, 100, 200)
        if binary:
            rows = [bytes([label // 5, label]) + row.tobytes() for label, row in zip(labels, values, strict=True)]
            (folder / f"{name}.bin").write_bytes(b"".join(rows))
        else:
            (folder / name).write_bytes(python2(labels, values, "fine_labels"))
    if binary:
        (folder / "fine_label_names.txt").write_text("\n".join(names))
    else:
        (folder / "meta").write_bytes(names2("fine_label_names", names))
    return folder


def load(folder: Path, name: str = "cifar10", size: int = 32) -> Dataset:
    return load_data(name, folder, ColourReader(size))


def pictures(data: Dataset) -> Bytes:
    """The training pictures as they were, u8[N,3,32,32]."""
    mean, std = (np.array(values)[:, None, None] for values in (data.facts.mean, data.facts.std))
    return np.round((data.train.x.numpy().astype(np.float64) * std + mean) * 255).astype(np.uint8)


@pytest.mark.parametrize("columns_first", [False, True])
@pytest.mark.parametrize("above", [False, True])
def test_both_versions_give_the_same_pictures(tmp_path: Path, above: bool, columns_first: bool) -> None:
    binary = write_binary(tmp_path / "a" / "cifar-10-batches-bin")
    python = write_python(tmp_path / "b" / "cifar-10-batches-py", columns_first=columns_first)
    one, other = (load(folder.parent if above else folder) for folder in (binary, python))
    assert one.fingerprint == other.fingerprint
    assert one.facts.classes == tuple(f"class {label}" for label in range(10))
    labels, values = (np.concatenate(parts) for parts in zip(*map(records, range(5)), strict=True))
    assert one.train.y.tolist() == labels.tolist()
    np.testing.assert_array_equal(pictures(one), values.reshape(-1, 3, 32, 32))
    assert len(one.test) == EACH


@pytest.mark.parametrize("binary", [False, True])
def test_cifar_100_has_its_fine_labels(tmp_path: Path, binary: bool) -> None:
    data = load(write_100(tmp_path / "c", binary), "cifar100")
    assert data.facts.classes[99] == "fine 99"
    labels, values = records(0, 100, 200)
    assert data.train.y.tolist() == labels
    np.testing.assert_array_equal(pictures(data), values.reshape(-1, 3, 32, 32))


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickles_of_python_3_are_read(tmp_path: Path, protocol: int) -> None:
    folder = write_python(tmp_path / "c")
    for seed, name in enumerate(BATCHES):
        labels, values = records(seed)
        (folder / name).write_bytes(pickle.dumps({"labels": labels, "data": values}, protocol))
    (folder / "batches.meta").unlink()
    data = load(folder)
    assert data.facts.classes == tuple("0123456789")
    np.testing.assert_array_equal(pictures(data)[:EACH], records(0)[1].reshape(-1, 3, 32, 32))


def test_pictures_are_scaled_to_the_size_that_is_asked_for(tmp_path: Path) -> None:
    data = load(write_binary(tmp_path / "c"), size=64)
    first = Image.fromarray(records(0)[1][0].reshape(3, 32, 32).transpose(1, 2, 0))
    wanted = np.asarray(first.resize((64, 64), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    np.testing.assert_array_equal(pictures(data)[0], wanted)


class Evil:
    """Makes a pickle that calls a function when it is loaded as pickles are."""

    def __init__(self, function: object, *words: object) -> None:
        self.function, self.words = function, words

    def __reduce__(self) -> tuple[object, ...]:
        return self.function, self.words


def test_nothing_that_a_pickle_names_is_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "evil", tmp_path / "trace"
    for protocol in range(5):
        for function, words in (
            (os.mkdir, (str(trace),)),
            (exec, (f"open({str(trace)!r}, 'w')",)),
            (np.zeros, ((9, 9),)),
        ):
            path.write_bytes(pickle.dumps({"data": Evil(function, *words)}, protocol))
            with pytest.raises(
                DataError, match=r"evil is no data file that can be read: it (names|has the operation) "
            ):
                read_pickled(path, 1 << 20)
    assert not trace.exists()


def test_a_pickle_cannot_ask_for_memory_that_its_size_does_not_need(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(b"\x80\x02}r\xff\xff\xff\x7f.")
    with pytest.raises(DataError, match=r"bomb is no data file that can be read: it keeps value number 2147483647$"):
        read_pickled(path, 1 << 20)
    path.write_bytes(python2([0], np.zeros((1, 3072), np.uint8)).replace(b"J\x01\x00\x00\x00", b"J\xff\xff\xff\x7f", 1))
    assert as_bytes(read_pickled(path, 1 << 20)["data"]) is None


def test_arrays_of_other_kinds_are_none(tmp_path: Path) -> None:
    path = tmp_path / "other"
    for value in (
        np.zeros((2, 3072), np.float32),
        np.array([None, {}]),
        np.zeros((2, 3072), np.int8),
        [1],
        "words",
        None,
    ):
        path.write_bytes(pickle.dumps({"data": value}, 2))
        assert as_bytes(read_pickled(path, 1 << 20)["data"]) is None


def test_every_broken_pickle_is_one_error(tmp_path: Path) -> None:
    whole = python2(*records(0, count=1))
    path = tmp_path / "broken"
    random = np.random.RandomState(0)
    for _ in range(300):
        at = random.randint(260 if random.randint(2) else len(whole))
        broken = whole[:at] if random.randint(2) else whole[:at] + bytes([random.randint(256)]) + whole[at + 1 :]
        path.write_bytes(broken)
        try:
            found = read_pickled(path, 1 << 20)
        except DataError as error:
            assert str(error).startswith(f"{path} is no data file that can be read: ")
        else:
            array = as_bytes(found.get("data"))
            assert array is None or array.size <= len(whole)
    with pytest.raises(DataError, match=r"broken has 3.3 kB; wanted at most 10 bytes"):
        read_pickled(path, 10)


def pickled(labels: object, data: object) -> bytes:
    return pickle.dumps({"labels": labels, "data": data}, 2)


ROWS = np.zeros((3, 3072), np.uint8)
BROKEN = {
    "no array": (pickled([0, 1, 2], [1, 2]), r"must hold 'data', an array of bytes \[N, 3072\] with N at least 1"),
    "shape": (pickled([0, 1, 2], ROWS[:, 1:].copy()), r"must hold 'data', an array of bytes \[N, 3072\]"),
    "none": (
        pickle.dumps({"labels": [], "data": ROWS[:0]}, 3),
        r"must hold 'data', an array of bytes \[N, 3072\] with N at least 1",
    ),
    "labels": (pickled("012", ROWS), "must hold 'labels', a list of whole numbers"),
    "no number": (pickled([0, 1, True], ROWS), "must hold 'labels', a list of whole numbers"),
    "huge": (pickled([0, 1, 1 << 70], ROWS), "must hold 'labels', a list of whole numbers"),
    "count": (pickled([0, 1], ROWS), "holds 3 pictures but 2 labels"),
    "range": (pickled([0, 10, 1], ROWS), "label 10 of picture 1 is out of range; wanted 0 to 9"),
    "negative": (pickled([0, 1, -1], ROWS), "label -1 of picture 2 is out of range; wanted 0 to 9"),
    "list": (pickle.dumps([1], 2), "is no data file that can be read: wanted a dictionary; got list"),
    "empty": (b"", "is no data file that can be read"),
    "text": (b"<html>404</html>", "is no data file that can be read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_for_python_are_named(tmp_path: Path, name: str) -> None:
    folder = write_python(tmp_path / "c")
    content, sentence = BROKEN[name]
    (folder / "data_batch_3").write_bytes(content)
    with pytest.raises(DataError, match=rf"^\S*data_batch_3:? {sentence}"):
        load(folder)


def test_broken_binary_files_are_named(tmp_path: Path) -> None:
    folder = write_binary(tmp_path / "c")
    path = folder / "data_batch_2.bin"
    whole = path.read_bytes()
    for content in (b"", whole[:-1], whole + b"\0", whole[:3072]):
        path.write_bytes(content)
        with pytest.raises(
            DataError, match=rf"data_batch_2.bin is truncated or no CIFAR file: .* got {len(content)} bytes$"
        ):
            load(folder)
    path.write_bytes(b"\xff" + whole[1:])
    with pytest.raises(DataError, match=r"data_batch_2.bin: label 255 of picture 0 is out of range; wanted 0 to 9$"):
        load(folder)
    path.unlink()
    with pytest.raises(DataError, match=r"^cifar10: .* lacks the file data_batch_2.bin$"):
        load(folder)


def test_folders_without_its_files_and_wrong_names_are_told(tmp_path: Path) -> None:
    folder = write_binary(tmp_path / "c")
    with pytest.raises(
        DataError, match=r"^cifar100: \S* holds none of its files, such as train.bin \(cifar-100-binary\) or"
    ):
        load(folder, "cifar100")
    with pytest.raises(DataError, match="data set 'cifar10' needs --data-dir, the folder of CIFAR-10's files"):
        load_data("cifar10", None, ColourReader())
    with pytest.raises(DataError, match="data set 'cifar10' holds colour pictures"):
        load_data("cifar10", folder, read_ink)
    for names in ("a\nb\n", "same\n" * 10):
        (folder / "batches.meta.txt").write_text(names)
        with pytest.raises(DataError, match=r"batches.meta.txt must hold 10 names of classes, no two alike; got \d+$"):
            load(folder)


def test_what_does_not_fit_into_memory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_binary(tmp_path / "c")
    monkeypatch.setattr("tritoncnn.data.files.memory_left", lambda: 1000)
    with pytest.raises(DataError, match=r"holds 100 pictures, which would need 3.7 MB of memory; 1.0 kB are left"):
        load(folder)
