"""Photographs of handwriting become what they would be in even light; clean pictures stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits

from tritoncnn.data.define import BlankError
from tritoncnn.data.ink import adapt, is_blank, read_ink
from tritoncnn.data.light import box_blur, clean, noise_of
from tritoncnn.data.pictures import Grey

SIZE = 160
Y, X = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE


def grain(scale: float, shape: tuple[int, ...], centre: float = 0.0) -> Grey:
    """The same numbers whichever tests have run before."""
    return np.random.RandomState(0).normal(centre, scale, shape).astype(np.float32)


def page(digit: str, ink: int = 40, ground: int = 230) -> Grey:
    picture = Image.new("L", (SIZE, SIZE), ground)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(110)
    box = draw.textbbox((0, 0), digit, font=font)
    draw.text(((SIZE - box[2] - box[0]) / 2, (SIZE - box[3] - box[1]) / 2), digit, font=font, fill=ink)
    return np.asarray(picture, np.float32)


def spot(x: float, y: float) -> Grey:
    return np.exp(-((X - x) ** 2 + (Y - y) ** 2) / 0.3).astype(np.float32)


LIGHT: dict[str, Callable[[Grey], Grey]] = {
    "from one corner": lambda a: a * (1 - 0.55 * (X + Y) / 2),
    "from the other": lambda a: a * (1 - 0.55 * (2 - X - Y) / 2),
    "from the left": lambda a: a * (1 - 0.7 * X),
    "from above": lambda a: a * (1 - 0.6 * Y),
    "dark corners": lambda a: a * (1 - 0.6 * ((X - 0.5) ** 2 + (Y - 0.5) ** 2) * 2),
    "a lamp": lambda a: a * (0.3 + 0.7 * spot(0.3, 0.25)),
    "fog": lambda a: 0.6 * a + 90 * (X + Y) / 2,
    "light ink": lambda a: 255 - a,
    "light ink under a lamp": lambda a: (255 - a) * 0.5 + 90 * spot(0.3, 0.25),
    "noise": lambda a: a + grain(12, a.shape),
    "noise in uneven light": lambda a: a * (1 - 0.5 * X) + grain(6, a.shape),
    "a dark edge": lambda a: np.where((X < 0.03) | (Y > 0.96), 20, a),
    "a dark frame": lambda a: np.where((X < 0.03) | (Y > 0.96) | (X > 0.97) | (Y < 0.04), 20, a),
}


@pytest.mark.parametrize("digit", "147")
@pytest.mark.parametrize("name", LIGHT)
def test_a_photographed_digit_looks_as_in_even_light(name: str, digit: str) -> None:
    photographed = np.clip(LIGHT[name](page(digit)), 0, 255).round().astype(np.float32)
    wanted = adapt(page(digit))
    assert (
        np.abs(adapt(clean(photographed)) - wanted).mean() < 0.055
    )  # of 1; another digit differs by twice as much and more
    if name not in ("light ink",):
        assert np.abs(adapt(photographed) - wanted).mean() > 0.055  # so it was worth mending


def test_digits_differ_by_more_than_the_tolerance_above() -> None:
    shapes = [adapt(page(digit)) for digit in "147"]
    assert min(np.abs(a - b).mean() for i, a in enumerate(shapes) for b in shapes[:i]) > 0.11


@pytest.mark.parametrize("ink", [0, 40, 200, 255])
def test_clean_pictures_stay_as_they_are(ink: int) -> None:
    for digit in "0123456789":
        picture = page(digit, ink, 120)
        assert clean(picture) is picture or np.array_equal(clean(picture), picture)
    small = np.random.RandomState(0).rand(31, 90).astype(np.float32)
    assert clean(small) is small


def test_ink_that_reaches_the_edge_stays() -> None:
    picture = np.full((100, 80), 240, np.float32)
    picture[:, 10:30] = 20  # a bar from edge to edge
    picture[40:60, 10:] = 20
    np.testing.assert_array_equal(clean(picture), picture)


@pytest.mark.parametrize("digit", "0123456789")
@pytest.mark.parametrize("margin", [0, 1, 4])
@pytest.mark.parametrize("light", [False, True])
def test_tightly_cut_digits_stay(digit: str, margin: int, light: bool) -> None:
    whole = page(digit)
    rows, columns = np.flatnonzero((whole < 200).any(1)), np.flatnonzero((whole < 200).any(0))
    cut = whole[rows[0] - margin : rows[-1] + 1 + margin, columns[0] - margin : columns[-1] + 1 + margin]
    cut = 255 - cut if light else cut
    if margin or digit != "6":  # its belly lies along the edge as a lid does
        np.testing.assert_array_equal(clean(cut), cut)
    else:
        assert np.abs(adapt(clean(cut)) - adapt(cut)).mean() < 0.05


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.full((90, 70), 255.0),
        lambda: np.zeros((28, 28)),
        lambda: np.random.RandomState(0).randint(240, 256, (100, 100)),
        lambda: grain(15, (200, 200), 200),
        lambda: np.random.RandomState(0).randint(0, 256, (28, 28)),
        lambda: 250 - 150 * X,
        lambda: 250 * (1 - 0.5 * (X + Y) / 2) + grain(4, X.shape),
        lambda: 60 + 150 * spot(0.5, 0.5),
        lambda: np.full((1, 1), 7.0),
    ],
)
def test_a_blank_page_gets_no_class(make: Callable[[], np.ndarray], tmp_path: Path) -> None:
    Image.fromarray(np.clip(make(), 0, 255).astype(np.uint8)).save(tmp_path / "p.png")
    with pytest.raises(BlankError, match=r"p.png is blank: "):
        read_ink(tmp_path / "p.png")


def test_faint_ink_is_ink(tmp_path: Path) -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[10:50, 28:32] = 1  # a picture of 0 and 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert read_ink(tmp_path / "mask.png").max() == 1
    Image.fromarray(page("3", 110, 120).astype(np.uint8)).save(tmp_path / "faint.png")
    assert np.abs(read_ink(tmp_path / "faint.png")[0] - adapt(page("3"))).mean() < 0.01


def test_noise_is_measured_and_strokes_are_not() -> None:
    assert noise_of(page("8")) == 0
    noise = grain(10, (200, 200))
    assert noise_of(page("8") + noise[:SIZE, :SIZE]) == pytest.approx(10, rel=0.1)


def test_box_blur_is_the_mean_of_the_neighbours() -> None:
    x = np.random.RandomState(0).rand(7, 5).astype(np.float32)
    wide = np.pad(x, 2, "edge")
    wanted = np.array([[wide[i : i + 5, j : j + 5].mean() for j in range(5)] for i in range(7)])
    np.testing.assert_allclose(box_blur(x, 2), wanted, atol=1e-6)


def test_scans_of_8_x_8_are_ink_and_noise_of_that_size_is_blank() -> None:
    assert not any(is_blank(values * scan.astype(np.float32)) for scan in load_digits().images for values in (1, -15))
    random = np.random.RandomState(0)
    assert sum(is_blank(200 + 5 * random.randn(8, 8).astype(np.float32)) for _ in range(200)) > 190
    assert is_blank(np.full((8, 8), 7, np.float32))
