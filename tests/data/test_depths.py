from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.boxed import save
from tritoncnn.data import load_data, motorcycle
from tritoncnn.data.boxes import FittedReader
from tritoncnn.data.define import Dataset
from tritoncnn.data.depths import fit_depth, read_depth, write_depth
from tritoncnn.data.ink import read_ink
from tritoncnn.errors import DataError

SIZE = 16
WIDE = np.array([[1000, 2000, 65534, 0], [1, 256, 512, 3000]], np.uint16)


def load(folder: Path, scale: float = 1000.0) -> Dataset:
    return load_data("depths", folder, FittedReader(SIZE), {"depth_scale": scale})


def write_pairs(folder: Path, count: int = 6, scale: float = 1000.0) -> None:
    """Pictures of 20 x 10 pixels, each of one depth: number + 1 metres, with a hole in the middle."""
    random = np.random.RandomState(0)
    for number in range(count):
        depth = np.full((10, 20), (number + 1) * scale, np.uint16)
        depth[4:6, 8:12] = 0
        save(folder / "images" / f"{number}.png", random.randint(0, 255, (10, 20, 3)).astype(np.uint8))
        save(folder / "depth" / f"{number}.png", depth)


@pytest.mark.parametrize(("scale", "suffix"), [(1000, "png"), (256, "png"), (1000, "tiff"), (5000.0, "pgm")])
def test_sixteen_bits_are_metres_by_the_scale_and_nothing_is_not_known(
    tmp_path: Path, scale: float, suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    save(path, WIDE)
    found = read_depth(path, scale)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, WIDE / scale, rtol=1e-6)


def test_floats_are_metres_and_what_is_no_depth_is_not_known(tmp_path: Path) -> None:
    save(tmp_path / "a.tiff", np.array([[1.5, np.nan, -2, np.inf, 1e30, 0]], np.float32))
    np.testing.assert_array_equal(read_depth(tmp_path / "a.tiff"), np.array([[1.5, 0, 0, 0, 0, 0]], np.float32))


def test_the_largest_of_16_bits_is_that_far_or_farther_and_not_known(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.array([[65534, 65535]], np.uint16))
    np.testing.assert_allclose(read_depth(tmp_path / "a.png"), [[65.534, 0]], rtol=1e-6)


@pytest.mark.parametrize("name", ["disparity", "disp_occ_0", "a-disp"])
def test_disparities_are_not_taken_for_depths(tmp_path: Path, name: str) -> None:
    write_pairs(tmp_path)
    if name.startswith("d"):
        (tmp_path / "depth").rename(tmp_path / name)
    else:
        for file in (tmp_path / "depth").iterdir():
            file.rename(file.with_name(f"{file.stem}_disparity.png"))
    with pytest.raises(
        DataError, match=r"^depth map .* is called a disparity, which is large where depth is small; wanted"
    ):
        load(tmp_path)


def test_depths_that_are_hardly_metres_are_asked_about(tmp_path: Path) -> None:
    write_pairs(tmp_path, scale=10)
    assert any("middle depth of the training maps is 0.0" in remark for remark in load(tmp_path).remarks)
    assert not load(tmp_path, 10).remarks


WRONG = {
    "grey": (
        WIDE.astype(np.uint8),
        r"has 8 bits a pixel \(mode L\); wanted one channel of 16 bits, as NYU has it in millimetres",
    ),
    "colour": (np.zeros((2, 4, 3), np.uint8), r"has 3 channels of 8 bits \(mode RGB\); wanted one channel of 16 bits"),
    "switches": (WIDE > 5, r"has 8 bits a pixel \(mode 1\); wanted one channel of 16 bits"),
}


@pytest.mark.parametrize("name", WRONG)
def test_eight_bits_and_colours_are_refused_alone_and_in_a_folder(tmp_path: Path, name: str) -> None:
    values, words = WRONG[name]
    save(tmp_path / "a.png", values)
    with pytest.raises(DataError, match=rf"^depth map {tmp_path}/a.png {words}"):
        read_depth(tmp_path / "a.png")
    write_pairs(tmp_path)
    save(tmp_path / "depth" / "3.png", np.resize(values, (10, 20, *values.shape[2:])))
    with pytest.raises(DataError, match=rf"^depth map {tmp_path}/depth/3.png {words}"):
        load(tmp_path)


def test_what_is_written_is_read_again_to_a_millimetre(tmp_path: Path) -> None:
    depth = np.array([[0.0004, 1.2342, 65.534], [65.536, 0, 300]], np.float32)
    write_depth(depth).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode.startswith("I")
    np.testing.assert_allclose(read_depth(tmp_path / "a.png"), [[0, 1.234, 65.534], [0, 0, 0]], atol=6e-4)


def test_a_map_shrinks_by_the_mean_of_what_is_known_and_grows_by_the_nearest() -> None:
    depth = np.array([[1, 3, 0, 0], [0, 5, 0, 8]], np.float32)
    np.testing.assert_allclose(
        fit_depth(depth, 2), [[3, 8], [0, 0]]
    )  # half as wide, and below the map nothing is known
    grown = fit_depth(depth, 8)
    np.testing.assert_array_equal(grown, np.pad(np.kron(depth, np.ones((2, 2))), ((0, 4), (0, 0))))
    assert fit_depth(np.zeros((3, 3), np.float32), 2).max() == 0


@pytest.mark.parametrize("scale", [1000.0, 256.0])
def test_a_folder_becomes_pictures_with_their_depths(tmp_path: Path, scale: float) -> None:
    write_pairs(tmp_path, scale=scale)
    data = load(tmp_path, scale)
    assert len(data.train) + len(data.test) == 6
    y = torch.cat([data.train.y, data.test.y])
    for row in y:
        known = row[row > 0]
        assert len(known.unique()) == 1
        assert known.numel() < 8 * SIZE  # a hole, and nothing below the picture
        assert (row[8:] == 0).all()
    assert sorted(round(float(row.max())) for row in y) == [1, 2, 3, 4, 5, 6]
    assert data.fingerprint == load(tmp_path, scale).fingerprint
    assert "16 pixels" not in data.about
    assert "1.00 to" in data.about or "2.00 to" in data.about


def test_broken_folders_are_told_by_their_file(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    save(tmp_path / "depth" / "2.png", np.ones((9, 20), np.uint16))
    with pytest.raises(
        DataError, match=rf"^depth map {tmp_path}/depth/2.png is 20 x 9; its picture .*2.png is 20 x 10$"
    ):
        load(tmp_path)
    (tmp_path / "depth" / "2.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(DataError, match=r"depth/2.png cannot be read"):
        load(tmp_path)
    (tmp_path / "depth" / "2.png").unlink()
    with pytest.raises(DataError, match=r"images/2.png\) has no depth map beside it"):
        load(tmp_path)
    for number in range(6):
        save(tmp_path / "depth" / f"{number}.png", np.zeros((10, 20), np.uint16))
    with pytest.raises(DataError, match=r"^depths: no pixel of the training depth maps has a known depth \(above 0\)$"):
        load(tmp_path)
    with pytest.raises(DataError, match="the task reads its pictures in another way"):
        load_data("depths", tmp_path, read_ink)


def test_the_motorcycle_has_the_depth_of_its_disparity_and_nothing_to_train_on() -> None:
    data = motorcycle.motorcycle.load(None, FittedReader(64))
    assert len(data.train) == 0
    assert data.test.x.shape == (1, 3, 64, 64)
    known = data.test.y[data.test.y > 0]
    assert 1.5 < float(known.min()) < float(known.median()) < float(known.max()) < 6
    disparity = np.array([[10.0, np.nan, np.inf, -40.0]], np.float32)
    wanted = 994.978 * 0.193001 / (10 + 31.086)
    np.testing.assert_allclose(motorcycle.depth_of(disparity), [[wanted, 0, 0, 0]], rtol=1e-6)


def test_a_broken_disparity_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.npz"
    monkeypatch.setattr(motorcycle, "place_of", lambda file: broken)
    monkeypatch.setattr(motorcycle, "read_colour", lambda path: Image.new("RGB", (4, 2)))
    for write, words in (
        (lambda: broken.write_bytes(b"PK\x03\x04"), "cannot be read"),
        (lambda: np.savez(broken, np.array([{}], object)), "cannot be read"),
        (lambda: np.savez(broken), "cannot be read"),
        (lambda: np.savez(broken, np.zeros(3)), r"must hold numbers \[H,W\]; got float64 \[3\]"),
        (lambda: np.savez(broken, np.ones((3, 4), np.float32)), r"is \[3, 4\]; its picture is 4 x 2"),
    ):
        write()
        with pytest.raises(DataError, match=words):
            motorcycle.motorcycle.load(None, FittedReader(8))
