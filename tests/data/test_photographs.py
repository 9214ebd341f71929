"""Patches of photographs: where they are from, that they repeat themselves, and pictures of other people in their place."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tritoncnn.data import Dataset, load_data
from tritoncnn.data import photographs as room
from tritoncnn.data.colour import ColourReader
from tritoncnn.data.ink import read_ink
from tritoncnn.data.photographs import FILES, TEST, TRAIN, find
from tritoncnn.data.pictures import read_colour
from tritoncnn.errors import DataError
from tritoncnn.tasks import find_task


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_data("photographs", None, ColourReader())


def test_every_photograph_gives_as_many_patches_and_none_is_blank(data: Dataset) -> None:
    assert data.facts.classes == tuple(FILES)
    assert data.train.x.shape == (TRAIN * len(FILES), 3, 32, 32)
    assert np.bincount(data.train.y.numpy()).tolist() == [TRAIN] * len(FILES)
    assert np.bincount(data.test.y.numpy()).tolist() == [TEST] * len(FILES)
    std = np.array(data.facts.std)[:, None, None]
    for part in (data.train, data.test):
        spread = (part.x.numpy() * std).std((2, 3)).max(1)
        assert spread.min() >= room.LEAST * 0.99


def test_patches_repeat_themselves(data: Dataset) -> None:
    assert load_data("photographs", None, ColourReader()).fingerprint == data.fingerprint


def test_no_pixel_is_in_both_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    for name in ("a", "b"):
        values = random.randint(0, 100, (101, 201, 3))
        values[:, 100:] += 155  # dark on the left, light on the right
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / f"{name}.png")
    monkeypatch.setattr(room, "FILES", {"a": "a.png", "b": "b.png"})
    monkeypatch.setattr(room, "find", lambda name: tmp_path / f"{name}.png")
    data = load_data("photographs", None, ColourReader())
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (data.facts.mean, data.facts.std))
    assert (data.train.x.numpy() * std + mean).max() <= 0.4
    assert (data.test.x.numpy() * std + mean).min() >= 0.6


def test_colour_alone_does_not_do_it(data: Dataset) -> None:
    found = find_task("resnet").baseline
    assert found is not None
    baseline = found(data.facts, data.train, data.test, {})
    assert baseline is not None
    assert baseline.words == "the nearest mean colour"
    assert 0.3 < baseline.value < 0.7


def test_a_photograph_that_is_not_there_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FILES, "brick", "skimage/data/no_such.png")
    with pytest.raises(
        DataError, match=r"^photograph 'brick' is not there: it is data/no_such.png of the package "
    ) as e:
        find("brick")
    assert str(e.value).endswith("package scikit-image; pip install --force-reinstall scikit-image")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        DataError, match=r"it is data/chelsea.png of the package scikit-image; pip install scikit-image$"
    ):
        find("cat")
    with pytest.raises(DataError, match=r"datasets/images/flower.jpg of the package scikit-learn; pip install scikit-"):
        find("flower")


def test_photographs_are_for_tasks_that_read_colour() -> None:
    with pytest.raises(
        DataError, match=r"^data set 'photographs' holds colour pictures; the task reads its pictures in"
    ):
        load_data("photographs", None, read_ink)


@pytest.mark.parametrize("size", [8, 64])
def test_patches_have_the_size_that_is_asked_for(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in {"TRAIN": 3, "TEST": 2}.items():
        monkeypatch.setattr(room, name, count)
    data = load_data("photographs", None, ColourReader(size))
    assert data.train.x.shape == (3 * len(FILES), 3, size, size)
    assert data.test.x.shape == (2 * len(FILES), 3, size, size)


def saved(path: Path, picture: Image.Image, **words: object) -> Path:
    picture.save(path, **words)
    return path


def test_the_middle_square_of_a_picture_is_scaled_to_a_patch(tmp_path: Path) -> None:
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste((0, 255, 0), (100, 0, 200, 100))
    patch = ColourReader().fit(read_colour(saved(tmp_path / "wide.png", wide)))
    assert patch.shape == (3, 32, 32)
    assert patch.dtype == np.float32
    np.testing.assert_array_equal(patch, np.broadcast_to(np.float32([0, 1, 0])[:, None, None], patch.shape))


def test_grey_deep_and_transparent_pictures_become_colours(tmp_path: Path) -> None:
    ramp = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
    deep = np.asarray(read_colour(saved(tmp_path / "deep.png", Image.fromarray(ramp))))
    assert deep.min() == 0
    assert deep.max() == 255
    assert (deep[..., 0] == deep[..., 2]).all()
    grey = np.asarray(read_colour(saved(tmp_path / "grey.png", Image.new("L", (40, 40), 77))))
    assert (grey == 77).all()
    clear = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    clear.paste((10, 20, 30, 255), (0, 0, 20, 40))
    laid = np.asarray(read_colour(saved(tmp_path / "clear.png", clear)))
    assert laid[0, 0].tolist() == [10, 20, 30]
    assert laid[0, 39].tolist() == [255, 255, 255]


def test_colours_stand_upright(tmp_path: Path) -> None:
    lying = Image.new("RGB", (60, 40), "blue")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    assert read_colour(saved(tmp_path / "lying.jpg", lying, exif=exif)).size == (40, 60)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n broken"])
def test_a_broken_file_is_told_by_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.png cannot be read"):
        ColourReader()(path)


def test_a_picture_with_nan_is_refused(tmp_path: Path) -> None:
    values = np.ones((40, 40), np.float32)
    values[3, 4] = np.nan
    with pytest.raises(DataError, match="not finite"):
        ColourReader()(saved(tmp_path / "nan.tif", Image.fromarray(values)))
