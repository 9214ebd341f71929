from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.train.samples import TEST, TRAIN, idx, strokes, write_idx, write_pictures
from tritoncnn.data import SOURCES, Dataset, load_data
from tritoncnn.data.define import hold_out
from tritoncnn.data.digits import COPIES
from tritoncnn.data.ink import read_ink
from tritoncnn.data.mnist import read_idx
from tritoncnn.data.warp import warp
from tritoncnn.errors import DataError


def load(name: str, folder: Path | None = None) -> Dataset:
    return load_data(name, folder, read_ink)


def test_digits_hold_out_a_fifth_of_each_class_and_repeat_themselves() -> None:
    data, again = load("digits"), load("digits")
    assert data.facts.classes == tuple("0123456789")
    assert len(data.test.y) + len(data.train.y) // (1 + COPIES) == 1797
    for digit in range(10):
        test, train = int((data.test.y == digit).sum()), int((data.train.y == digit).sum()) // (1 + COPIES)
        assert abs(test / (test + train) - 0.2) < 0.01
    assert data.fingerprint == again.fingerprint
    assert data.train.x.shape[1:] == data.test.x.shape[1:] == (1, 28, 28)
    assert data.train.x.dtype == torch.float32
    assert abs(float(data.train.x.mean())) < 1e-3  # the constants are rounded to 4 digits
    assert abs(float(data.train.x.std()) - 1) < 1e-3


def test_no_held_out_scan_is_in_training() -> None:
    data = load("digits")
    train = {x.tobytes() for x in data.train.x.numpy()}
    assert not any(x.tobytes() in train for x in data.test.x.numpy())


def test_hold_out_takes_at_least_one_of_each_class() -> None:
    labels = np.array([0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2])
    kept = hold_out(labels)
    assert [int(kept[labels == label].sum()) for label in range(3)] == [1, 1, 2]


def test_warp_stays_near_its_picture_and_depends_on_the_generator_only() -> None:
    picture = np.zeros((28, 28), np.float32)
    picture[6:22, 12:16] = 1
    one, same = (warp(picture, np.random.RandomState(1)) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    other = warp(picture, np.random.RandomState(2))
    assert np.abs(other - one).max() > 0.1
    for result in (one, other):
        assert result.min() >= 0
        assert result.max() <= 1
        assert np.abs(result - picture).mean() < 0.08


@pytest.mark.parametrize("compressed", [False, True])
def test_mnist_files_are_read_plain_and_gzipped(tmp_path: Path, compressed: bool) -> None:
    data = load("mnist", write_idx(tmp_path, compressed))
    pictures, labels = strokes(TRAIN, 0)
    assert data.train.y.tolist() == labels.tolist()
    assert data.test.x.shape == (TEST, 1, 28, 28)
    back = data.train.x[:, 0] * data.facts.std[0] + data.facts.mean[0]
    torch.testing.assert_close(back, torch.from_numpy(pictures / np.float32(255)), rtol=0, atol=1e-6)


def test_mnist_files_named_with_a_dot_are_found(tmp_path: Path) -> None:
    write_idx(tmp_path)
    for path in tmp_path.iterdir():
        path.rename(tmp_path / path.name.replace("-idx", ".idx"))
    assert len(load("mnist", tmp_path).train.y) == TRAIN


def cut(data: bytes) -> bytes:
    return data[:-1]


IMAGES, LABELS = idx(strokes(TRAIN, 0)[0]), idx(strokes(TRAIN, 0)[1])
WRONG_LABEL = LABELS[:13] + b"\x0a" + LABELS[14:]
DAMAGED = {
    "magic": ("train-images-idx3-ubyte", LABELS, "has the wrong magic number 0x00000801; wanted 0x00000803"),
    "label magic": ("train-labels-idx1-ubyte", IMAGES, "has the wrong magic number 0x00000803; wanted 0x00000801"),
    "truncated": (
        "train-images-idx3-ubyte",
        IMAGES[:-1],
        "is truncated: its header tells of 54880 bytes; it cannot hold more than 54879",
    ),
    "header": ("train-images-idx3-ubyte", IMAGES[:10], "is truncated: wanted a header of 16 bytes; got 10"),
    "empty file": ("train-images-idx3-ubyte", b"", "is truncated: wanted a header of 16 bytes; got 0"),
    "longer": ("train-images-idx3-ubyte", IMAGES + b"x", "is longer than its header says: wanted 54880 bytes after it"),
    "count": ("train-labels-idx1-ubyte", idx(strokes(69, 0)[1]), "holds 70 pictures but .* holds 69 labels"),
    "label": ("train-labels-idx1-ubyte", WRONG_LABEL, "label 10 of picture 5 is out of range; wanted 0 to 9"),
    "size": (
        "train-images-idx3-ubyte",
        idx(np.zeros((70, 32, 28), np.uint8)),
        "holds pictures of 32 x 28; wanted 28 x 28",
    ),
    "none": ("t10k-images-idx3-ubyte", idx(np.zeros((0, 28, 28), np.uint8)), "holds 0 pictures but .* holds 20 labels"),
    "giant": (
        "train-images-idx3-ubyte",
        b"\0\0\x08\x03" + b"\xff" * 12,
        r"is truncated: its header tells of \d{29} bytes; it cannot hold more than 0",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_mnist_files_are_named(tmp_path: Path, name: str) -> None:
    file, data, sentence = DAMAGED[name]
    (write_idx(tmp_path) / file).write_bytes(data)
    with pytest.raises(DataError, match=sentence):
        load("mnist", tmp_path)


def test_damaged_gzip_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    whole = gzip.compress(IMAGES)
    for data in (b"no gzip", whole[: len(whole) // 2], whole[:100] + b"\0\0\0\0" + whole[104:]):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"x.gz (cannot be read: |is longer|is truncated)"):
            read_idx(path, 3)


def test_a_missing_mnist_file_is_named(tmp_path: Path) -> None:
    (write_idx(tmp_path) / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"holds no file t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz$"):
        load("mnist", tmp_path)


def test_an_empty_test_part_is_refused(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(np.zeros((0, 28, 28), np.uint8)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(0, np.uint8)))
    with pytest.raises(DataError, match="mnist: there are no test pictures"):
        load("mnist", tmp_path)


def test_blank_training_pictures_are_refused(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((TRAIN, 28, 28), np.uint8)))
    with pytest.raises(DataError, match="mnist: the training pictures are all blank"):
        load("mnist", tmp_path)


def test_a_folder_of_classes_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    write_pictures(tmp_path, ("zeta", "Alpha", "mid"), each=10)
    (tmp_path / "README.txt").write_text("passed over")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "mid" / "notes.txt").write_text("passed over")
    (tmp_path / "mid" / ".9.png").write_text("passed over")
    data = load("folder", tmp_path)
    assert data.facts.classes == ("Alpha", "mid", "zeta")
    assert data.train.y.bincount().tolist() == [8, 8, 8]
    assert data.test.y.bincount().tolist() == [2, 2, 2]
    assert data.fingerprint == load("folder", tmp_path).fingerprint


def test_folders_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must hold at least 2 folders of pictures, one per class; got 0$"):
        load("folder", tmp_path)
    write_pictures(tmp_path, ("a", "b"))
    (tmp_path / "c").mkdir()
    with pytest.raises(DataError, match=r"class folder .*c is empty: it holds no picture \(.png, .jpg"):
        load("folder", tmp_path)
    Image.new("L", (9, 9)).save(tmp_path / "c" / "blank.png")
    with pytest.raises(
        DataError, match=r"class folder .*c holds 1 picture, 1 of them blank; wanted 2 or more that are not"
    ):
        load("folder", tmp_path)
    shutil.copy(tmp_path / "a" / "1.png", tmp_path / "c" / "one.png")
    with pytest.raises(
        DataError, match=r"class folder .*c holds 2 pictures, 1 of them blank; wanted 2 or more that are not"
    ):
        load("folder", tmp_path)
    (tmp_path / "c" / "two.png").write_text("no picture")
    with pytest.raises(DataError, match=r"picture .*two.png cannot be read"):
        load("folder", tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    write_pictures(tmp_path, ("a", "b"))
    (tmp_path / "a").chmod(0)
    try:
        with pytest.raises(DataError, match="a cannot be read: Permission denied"):
            load("folder", tmp_path)
    finally:
        (tmp_path / "a").chmod(0o700)


def test_wrong_names_and_folders_of_data_sets(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"unknown data set 'mist'; known: {', '.join(sorted(SOURCES))}"):
        load("mist")
    with pytest.raises(
        DataError, match="data set 'mnist' needs --data-dir, the folder of the four IDX files, plain or .gz"
    ):
        load("mnist")
    with pytest.raises(
        DataError,
        match="data set 'digits' takes no --data-dir: it is scikit-learn's 1,797 scanned digits",
    ):
        load("digits", tmp_path)
    with pytest.raises(DataError, match=r"--data-dir .*gone does not exist"):
        load("mnist", tmp_path / "gone")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"--data-dir .*file is not a folder"):
        load("folder", tmp_path / "file")
