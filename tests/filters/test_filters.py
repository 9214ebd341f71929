from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

import tritoncnn
from tests.computing import Computing
from tritoncnn.errors import InputError
from tritoncnn.filters import BORDERS, Filter, apply_filter, named_filter, own_filter
from tritoncnn.filters.apply import Pyramid
from tritoncnn.filters.taps import NAMES, show_taps

PICTURE = np.random.RandomState(0).rand(3, 29, 38).astype(np.float32)
MODES = {"symmetric": "reflect", "mirror": "mirror", "replicate": "nearest", "wrap": "wrap", "zeros": "constant"}


def correlate(picture: np.ndarray, filter: Filter, border: str) -> np.ndarray:
    """SciPy's answer in f64, f64[C,P,Q]."""
    results = []
    for channel in picture.astype(np.float64):
        found = [ndimage.correlate(channel, taps, mode=MODES.get(border, "constant")) for taps in filter.taps]
        results.append(found[0] if len(found) == 1 else np.hypot(*found))
    whole = np.stack(results)
    if border != "none":
        return whole
    r, s = (side // 2 for side in filter.size)
    return whole[:, r : whole.shape[1] - r, s : whole.shape[2] - s]


def assert_exact(found: np.ndarray, picture: np.ndarray, filter: Filter, border: str) -> None:
    wanted = correlate(picture, filter, border)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-6 * filter.gain * np.abs(picture).max()


@pytest.mark.parametrize("name", NAMES)
def test_named_filters_are_scipys(name: str) -> None:
    chosen = named_filter(name)
    assert_exact(apply_filter(PICTURE, chosen)[0], PICTURE, chosen, "symmetric")


def test_names_mean_what_scipy_means_by_them() -> None:
    x = PICTURE[0].astype(np.float64)
    wanted: dict[str, Any] = {
        "box": ndimage.uniform_filter(x, 3),
        "gaussian": ndimage.gaussian_filter(x, 1.0, radius=3),
        "laplacian": ndimage.laplace(x),
        "sharpen": x - ndimage.laplace(x),
        "sobel": np.hypot(ndimage.sobel(x, 0), ndimage.sobel(x, 1)),
    }
    for name, result in wanted.items():
        np.testing.assert_allclose(correlate(x[None], named_filter(name), "symmetric")[0], result, atol=1e-12)
    for axis, direction in enumerate("yx"):
        for name, result in (("sobel", ndimage.sobel(x, axis)), ("derivative", np.gradient(x, axis=axis))):
            found = correlate(x[None], named_filter(name, direction=direction), "symmetric")[0]
            np.testing.assert_allclose(found[1:-1, 1:-1], result[1:-1, 1:-1], atol=1e-12)


@pytest.mark.parametrize("border", BORDERS)
def test_borders_are_scipys_also_where_the_filter_is_larger_than_the_picture(border: str) -> None:
    taps = np.random.RandomState(1).randn(5, 15)
    wide = Filter("own", (taps,))
    assert_exact(apply_filter(PICTURE, wide, border)[0], PICTURE, wide, border)
    if border not in ("none", "mirror"):  # SciPy's mirror goes astray in a picture of one row
        small = PICTURE[:1, :1, :4]
        assert_exact(apply_filter(small, wide, border)[0], small, wide, border)


def test_each_level_of_a_pyramid_is_the_one_before_blurred_and_halved() -> None:
    chosen, picture = named_filter("laplacian"), PICTURE
    line = np.array([1, 4, 6, 4, 1]) / 16
    results = apply_filter(picture, chosen, "replicate", levels=4)
    for result in results:
        assert_exact(result, picture, chosen, "replicate")
        picture = correlate(picture, Filter("blur", (np.outer(line, line),)), "replicate")[:, ::2, ::2]
    assert [result.shape[1:] for result in results] == [(29, 38), (15, 19), (8, 10), (4, 5)]


def test_of_whole_numbers_the_result_is_exact() -> None:
    picture = np.random.RandomState(2).randint(0, 256, (1, 17, 33)).astype(np.float32)
    chosen = named_filter("sobel", direction="y")
    np.testing.assert_array_equal(apply_filter(picture, chosen)[0], correlate(picture, chosen, "symmetric"))


def test_our_kernels_compute_all_of_it() -> None:
    x = torch.from_numpy(PICTURE)[:, None]
    model = tritoncnn.compile(Pyramid(named_filter("sobel"), "mirror", 3, 29, 38).eval(), x)
    with Computing() as mode:
        results = model(x)
    assert mode.seen == []
    assert sum(call.node.op == "conv2d" for call in model.plan.calls) == 5  # three filters, two blurs
    assert len(results) == 3


def test_own_taps_are_read_from_words_and_files(tmp_path: Any) -> None:
    wanted = [[1, 0, -1], [2, 0, -2], [1, 0, -1]]
    np.save(tmp_path / "taps.npy", np.array(wanted, np.int32))
    (tmp_path / "taps.csv").write_text("\ufeff1,0,-1,\r\n2, 0, -2\r\n\r\n1,0,-1\r\n")
    (tmp_path / "taps.txt").write_text("# a sobel\n1 0 -1  # above\n2 0 -2\n1 0 -1\n")
    for words in ("1 0 -1; 2 0 -2; 1 0 -1", "1,0,-1;2,0,-2;1,0,-1;", *map(str, tmp_path.iterdir())):
        assert own_filter(words).taps[0].tolist() == wanted
    assert own_filter("1/9 1e-1 -.5").taps[0].tolist() == [[1 / 9, 0.1, -0.5]]
    odd = np.random.RandomState(3).randn(7, 5)
    assert own_filter(show_taps(odd).replace("\n", ";")).taps[0].tolist() == odd.tolist()


WRONG: list[tuple[str, str]] = [
    ("1 2; 3", "--taps: all rows must be of one length; got rows of 2, 1 numbers"),
    ("1 2; 3 4", "odd number of rows and columns, at most 15 x 15, so that it has a middle; got 2 x 2"),
    (" ".join("1" * 17), "got 1 x 17"),
    ("1 - 1", "--taps: '-' is not a number"),
    ("1/0 1 1", "--taps: '1/0' is not a number"),
    ("0 0 0", "--taps: all taps are 0"),
    ("1e39 0 0", "--taps: all taps must be finite"),
    ("", "--taps: there are no numbers"),
    (" ; ;", "--taps: there are no numbers"),
    ("nowhere.txt", "--taps 'nowhere.txt' is neither rows of numbers such as '1 0 -1; 2 0 -2; 1 0 -1' nor a file"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG)
def test_wrong_taps_are_told(words: str, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        own_filter(words)
    assert sentence in str(error.value)


def test_wrong_files_of_taps_are_told(tmp_path: Any) -> None:
    np.save(tmp_path / "words.npy", np.array([["a"]]))
    np.save(tmp_path / "deep.npy", np.zeros((3, 3, 3)))
    (tmp_path / "broken.npy").write_bytes(b"no")
    (tmp_path / "picture.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "nan.txt").write_text("1 nan 1")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    sentences = {
        "words.npy": "must hold numbers [rows, columns]; got <U1 [1, 1]", "deep.npy": "got float64 [3, 3, 3]",
        "broken.npy": "is no .npy file", "picture.txt": "is no text", "nan.txt": "all taps must be finite",
        "empty.txt": "there are no numbers",
    }  # fmt: skip
    for name, sentence in sentences.items():
        with pytest.raises(InputError) as error:
            own_filter(str(tmp_path / name))
        assert sentence in str(error.value)
        assert name in str(error.value)
    with pytest.raises(InputError, match="Is a directory"):
        own_filter(str(tmp_path))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"name": "blur"},
            "unknown filter 'blur'; known: box, gaussian, derivative, sobel, laplacian, sharpen, or own",
        ),
        ({"name": "box", "size": 4}, "--size must be an odd number from 3 to 15; got 4"),
        ({"name": "box", "size": 17}, "--size must be an odd number from 3 to 15; got 17"),
        ({"name": "sobel", "size": 5}, "--size is for box and gaussian; sobel has 3 x 3 taps"),
        ({"name": "box", "sigma": 1.0}, "--sigma is for gaussian; got it with box"),
        ({"name": "gaussian", "sigma": 0.0}, "--sigma must be above 0 and at most 2.33"),
        ({"name": "gaussian", "sigma": float("nan")}, "got nan"),
        ({"name": "gaussian", "sigma": 3.0}, "got 3; --pyramid blurs wider"),
        ({"name": "laplacian", "direction": "x"}, "--direction is for derivative and sobel"),
        ({"name": "sobel", "direction": "z"}, "--direction must be one of x, y, both; got 'z'"),
    ],
)
def test_wrong_options_of_filters_are_told(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        named_filter(**options)
    assert sentence in str(error.value)


def test_gaussians_sum_to_1_and_reach_3_sigma() -> None:
    for options, side in (
        ({}, 7),
        ({"sigma": 0.3}, 3),
        ({"sigma": 7 / 3}, 15),
        ({"size": 9}, 9),
        ({"size": 3, "sigma": 2}, 3),
    ):
        taps = named_filter("gaussian", **options).taps[0]  # type: ignore[arg-type]
        assert taps.shape == (side, side)
        assert taps.sum() == pytest.approx(1.0, abs=1e-15)


def test_levels_and_borders_that_leave_nothing_are_told() -> None:
    chosen = named_filter("box", size=15)
    for picture, border, levels, sentence in (
        (PICTURE, "symmetric", 6, "--pyramid must be from 1 to 5 for a picture of 29 x 38; got 6"),
        (PICTURE, "symmetric", 0, "got 0"),
        (PICTURE, "none", 3, "--border none leaves nothing: level 2, the last, is 8 x 10, the filter 15 x 15"),
        (PICTURE[:, :9], "none", 1, "--border none leaves nothing: the picture is 9 x 38"),
        (
            PICTURE,
            "reflect",
            1,
            "--border must be one of symmetric, mirror, replicate, wrap, zeros, none; got 'reflect'",
        ),
    ):
        with pytest.raises(InputError) as error:
            apply_filter(picture, chosen, border, levels)
        assert sentence in str(error.value)
