from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tritoncnn.data import pictures
from tritoncnn.data.ink import SIZE, adapt
from tritoncnn.data.pictures import is_dark_on_light, read_colour, read_grey
from tritoncnn.data.whole import WholeReader
from tritoncnn.errors import DataError


def ring(height: int, width: int, light: float = 255.0, dark: float = 0.0) -> np.ndarray:
    """A light ellipse line on a dark ground, with a margin."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    radius = np.hypot((y - height / 2) / (height * 0.3), (x - width / 2) / (width * 0.2))
    return np.where(np.abs(radius - 1) < 0.25, light, dark).astype(np.float32)


def test_a_picture_of_the_right_size_stays_where_it_is() -> None:
    grey = np.zeros((SIZE, SIZE), np.float32)
    grey[3:9, 20:22] = 255
    np.testing.assert_array_equal(adapt(grey), grey / 255)


def test_ink_is_scaled_to_the_box_and_centred_with_its_aspect_kept() -> None:
    grey = np.zeros((300, 200), np.float32)
    grey[10:110, 20:70] = 200  # 100 x 50 far off the middle
    result = adapt(grey)
    rows, columns = np.flatnonzero(result.any(1)), np.flatnonzero(result.any(0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (4, 23, 9, 18)
    assert result.max() == 1.0


def test_dark_on_light_and_light_on_dark_become_the_same() -> None:
    grey = ring(90, 70)
    np.testing.assert_allclose(adapt(255 - grey), adapt(grey), atol=2**-22)
    assert is_dark_on_light(255 - grey)
    assert not is_dark_on_light(grey)


def test_low_contrast_is_stretched() -> None:
    np.testing.assert_allclose(adapt(ring(90, 70, light=140, dark=100)), adapt(ring(90, 70)), atol=2**-20)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (8, 8), (29, 28), (3000, 20)])
def test_any_size_gives_28_x_28_in_the_unit_interval(shape: tuple[int, int]) -> None:
    result = adapt(np.random.RandomState(0).rand(*shape).astype(np.float32) * 255)
    assert result.shape == (SIZE, SIZE)
    assert result.dtype == np.float32
    assert result.min() >= 0
    assert result.max() <= 1


def test_a_blank_picture_gives_black() -> None:
    for shape in ((28, 28), (50, 40)):
        assert not adapt(np.full(shape, 255, np.float32)).any()


def test_the_same_drawing_reads_alike_in_all_formats_and_modes(tmp_path: Path) -> None:
    grey = ring(120, 100).astype(np.uint8)
    wanted = adapt(grey.astype(np.float32))
    plain = Image.fromarray(grey)
    alpha = Image.new("RGBA", plain.size, "black")
    alpha.putalpha(plain)  # black ink on nothing
    light_alpha = Image.new("RGBA", plain.size, "white")
    light_alpha.putalpha(plain)  # white ink on nothing
    files = {
        "l.png": plain,
        "rgb.png": plain.convert("RGB"),
        "p.png": plain.convert("P"),
        "one.png": plain.convert("1"),
        "cmyk.tif": plain.convert("CMYK"),
        "lab.tif": plain.convert("RGB").convert("LAB"),
        "i16.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "f.tif": Image.fromarray(grey.astype(np.float32)),
        "alpha.png": alpha,
        "light_alpha.png": light_alpha,
        "la.png": plain.convert("LA"),
        "web.webp": plain,
    }
    for name, picture in files.items():
        picture.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
        np.testing.assert_allclose(adapt(read_grey(tmp_path / name)), wanted, atol=0.02, err_msg=name)
    plain.save(tmp_path / "j.jpg", quality=95)
    assert np.abs(adapt(read_grey(tmp_path / "j.jpg")) - wanted).mean() < 0.02


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_of_16_bits_white_is_65535_and_floats_get_full_contrast(name: str, tmp_path: Path) -> None:
    """A dim picture stays as dim as it is in 8 bits, in grey as in colour."""
    dim = np.random.RandomState(0).randint(20, 90, (40, 30)).astype(np.uint8)
    Image.fromarray(dim.astype(np.uint16) * 257).save(tmp_path / name)
    np.testing.assert_array_equal(read_grey(tmp_path / name).round(), dim)
    np.testing.assert_array_equal(np.asarray(read_colour(tmp_path / name)), dim[:, :, None].repeat(3, 2))
    Image.fromarray(dim.astype(np.int32) * 70000).save(tmp_path / "wide.tif")
    Image.fromarray(dim.astype(np.float32)).save(tmp_path / "float.tif")
    for other in ("wide.tif", "float.tif"):
        assert (read_grey(tmp_path / other).min(), read_grey(tmp_path / other).max()) == (0, 255)


def test_exif_orientation_is_obeyed(tmp_path: Path) -> None:
    grey = np.zeros((60, 40), np.uint8)
    grey[:30] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    Image.fromarray(grey).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    read = read_grey(tmp_path / "turned.jpg")
    assert read[:25].max() < 30
    assert read[35:].min() > 225


def test_large_pictures_are_reduced_before_work(tmp_path: Path) -> None:
    Image.fromarray(ring(3000, 2400).astype(np.uint8)).save(tmp_path / "large.png")
    read = read_grey(tmp_path / "large.png")
    assert max(read.shape) <= 2 * pictures.WORK_SIDE
    assert np.abs(adapt(read) - adapt(ring(1500, 1200))).mean() < 0.01


@pytest.mark.parametrize("kind", ["png", "jpg", "16 bits", "alpha"])
def test_what_is_painted_is_read_in_its_own_pixels(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"wide.{kind if len(kind) == 3 else 'png'}"
    stripes = np.tile(np.array([0, 255], np.uint8), (24, 1100))  # of one pixel: a picture that is reduced is grey
    if kind == "16 bits":
        Image.fromarray(stripes.astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(stripes).convert("RGBA" if kind == "alpha" else "RGB").save(path, quality=100)
    assert max(read_colour(path).size) <= 2 * pictures.WORK_SIDE
    found = read_colour(path, whole=True)
    assert found.size == (2200, 24)
    assert np.abs(np.asarray(found.convert("L"), np.int64) - stripes).max() < 16
    assert WholeReader()(path).shape == (3, 22, 2048)


def test_over_50_megapixels_is_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (10_000, 5_001)).save(tmp_path / "huge.png")
    with pytest.raises(
        DataError, match=r"huge.png has 50 megapixels \(10000 x 5001\); wanted at most 50: make it smaller"
    ):
        read_grey(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000_000)  # Pillow's own limit raises from twice this on
    with pytest.raises(DataError, match="huge.png has over 50 megapixels; make it smaller first"):
        read_grey(tmp_path / "huge.png")


def test_unreadable_pictures_are_named(tmp_path: Path) -> None:
    good = tmp_path / "good.png"
    Image.fromarray(ring(50, 50).astype(np.uint8)).save(good)
    with pytest.raises(DataError, match=r"picture .*missing.png does not exist$"):
        read_grey(tmp_path / "missing.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match=r"picture .*text.png cannot be read: it is not one of PNG, JPEG"):
        read_grey(tmp_path / "text.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match=r"empty.png cannot be read"):
        read_grey(tmp_path / "empty.png")
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    with pytest.raises(DataError, match=r"cut.png cannot be read: .*truncated"):
        read_grey(tmp_path / "cut.png")
    with pytest.raises(DataError, match=r"cannot be read: Is a directory$"):
        read_grey(tmp_path)


def test_random_damage_ends_in_a_data_error_or_a_picture(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    for suffix in ("png", "jpg", "gif", "bmp", "tif", "webp"):
        good = tmp_path / f"good.{suffix}"
        Image.fromarray(ring(40, 40).astype(np.uint8)).convert("RGB").save(good)
        for _ in range(30):
            data = bytearray(good.read_bytes())
            for at in random.randint(0, len(data), 4):
                data[at] = random.randint(256)
            (tmp_path / f"bad.{suffix}").write_bytes(data)
            try:
                assert adapt(read_grey(tmp_path / f"bad.{suffix}")).shape == (SIZE, SIZE)
            except DataError as error:
                assert f"bad.{suffix}" in str(error)


def test_postscript_is_not_opened(tmp_path: Path) -> None:
    Image.fromarray(ring(40, 40).astype(np.uint8)).convert("RGB").save(tmp_path / "p.eps")
    with pytest.raises(DataError, match="is not one of"):
        read_grey(tmp_path / "p.eps")
