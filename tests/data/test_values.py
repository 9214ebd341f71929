from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tritoncnn.data.values import WRITTEN, encode_levels, encode_numbers, read_values
from tritoncnn.errors import DataError

RANDOM = np.random.RandomState(0)


def test_every_value_of_a_picture_is_kept(tmp_path: Path) -> None:
    grey, colour = (
        RANDOM.randint(0, 256, (2100, 7)).astype(np.uint8),
        RANDOM.randint(0, 256, (5, 4, 3)).astype(np.uint8),
    )
    for name, levels in (("grey.png", grey), ("colour.ppm", colour)):
        path = tmp_path / name
        path.write_bytes(encode_levels(levels, path.suffix))
        wanted = (levels / 255).astype(np.float32)
        np.testing.assert_array_equal(
            read_values(path), wanted[None] if levels.ndim == 2 else wanted.transpose(2, 0, 1)
        )


@pytest.mark.parametrize("suffix", WRITTEN)
def test_every_kind_of_picture_that_is_written_is_read(suffix: str, tmp_path: Path) -> None:
    for size, channels in (((6, 5), 1), ((6, 5, 3), 3)):
        path = tmp_path / f"picture{suffix}"
        path.write_bytes(encode_levels(np.full(size, 128, np.uint8), suffix))
        found = read_values(path)
        if suffix not in (".webp", ".ppm") or channels == 3:  # WebP has colours only
            assert found.shape == (channels, 6, 5)
        assert np.abs(found - 128 / 255).max() < 0.01


def test_16_bits_and_floats_are_kept_and_turned_upright(tmp_path: Path) -> None:
    deep = RANDOM.randint(0, 65536, (3, 4)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_values(tmp_path / "deep.png")[0], (deep / 65535).astype(np.float32))
    floats = RANDOM.randn(3, 4).astype(np.float32) * 100
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(floats).save(tmp_path / "float.tif", exif=exif)
    np.testing.assert_array_equal(read_values(tmp_path / "float.tif")[0], np.rot90(floats, -1))


@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 5, 7)])
def test_numbers_are_read_back_equal(shape: tuple[int, ...], tmp_path: Path) -> None:
    values = RANDOM.randn(*shape).astype(np.float32)
    (tmp_path / "a.npy").write_bytes(encode_numbers(values))
    np.testing.assert_array_equal(read_values(tmp_path / "a.npy"), values)


def test_transparent_parts_become_paper(tmp_path: Path) -> None:
    for mode, ink, channels in (("LA", (0, 255), 1), ("RGBA", (0, 0, 0, 255), 3)):
        picture = Image.new(mode, (4, 4), 0)
        picture.putpixel((1, 2), ink)
        picture.save(tmp_path / "clear.png")
        found = read_values(tmp_path / "clear.png")
        assert found.shape == (channels, 4, 4)
        assert (found[:, 2, 1] == 0).all()
        assert found.sum() == channels * 15


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.zeros(3), r"must hold \[H,W\] or \[H,W,C\] numbers with 1 or 3 channels; got \[3\]"),
        (np.zeros((2, 2, 4)), r"got \[2, 2, 4\]"),
        (np.zeros((0, 2)), "must have 1 to 50000000 pixels"),
        (np.full((2, 2), np.nan), "not finite"),
        (np.full((2, 2), 1e300), "not finite"),
        (np.full((2, 2), 70000), "whole numbers of 8 or 16 bits; got int64"),
        (np.full((2, 2), -1), "whole numbers of 8 or 16 bits"),
        (np.zeros((2, 2), complex), "got complex128"),
        (np.array([["a", "b"]]), "got <U1"),
    ],
)
def test_numbers_that_are_no_picture_are_told(values: np.ndarray, sentence: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(DataError, match=sentence):
        read_values(tmp_path / "a.npy")


def test_pickles_and_damage_are_told(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[None]]), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(b"\x93NUMPY\x01")
    for name in ("a.npy", "b.npy"):
        with pytest.raises(DataError, match=r"\.npy cannot be read: it is no \.npy file of numbers"):
            read_values(tmp_path / name)
    (tmp_path / "c.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"c\.png cannot be read"):
        read_values(tmp_path / "c.png")
