from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from scipy import ndimage

import tritoncnn
from tests.computing import Computing
from tritoncnn.commands import main
from tritoncnn.data.values import encode_levels, encode_numbers
from tritoncnn.errors import InputError
from tritoncnn.filters import apply_filter, learn_filter, named_filter, own_filter
from tritoncnn.filters.descent import loss
from tritoncnn.filters.equations import WORK, make_pair, solve
from tritoncnn.filters.learn import FILES

NAMES = ("a", "b")


def scene(channels: int, height: int, width: int, blur: float = 0.7) -> np.ndarray:
    """f32[C,H,W]: noise with less of the fine than of the coarse, as photographs have it."""
    noise = np.random.RandomState(height + width).rand(channels, height, width)
    return ndimage.gaussian_filter(noise, (0, blur, blur)).astype(np.float32)


def behind(x: np.ndarray, taps: np.ndarray, mode: str = "reflect") -> np.ndarray:
    return np.stack([ndimage.correlate(channel.astype(np.float64), taps, mode=mode) for channel in x]).astype(
        np.float32
    )


@pytest.mark.parametrize(("channels", "size"), [(1, 3), (3, 5)])
def test_hidden_filters_are_recovered_by_both_ways(channels: int, size: int) -> None:
    taps, x = np.random.RandomState(size).randn(size, size), scene(channels, 60, 70)
    for border in ("reflect", "wrap"):  # nothing is assumed of it
        found = learn_filter(x, behind(x, taps, border), size, steps=400 if border == "wrap" else 0)
        assert np.abs(found.solution.taps - taps).max() < 1e-6
        assert found.remarks == ()
    assert found.descent is not None
    assert np.abs(found.descent.taps - taps).max() < 1e-5
    assert found.difference < 1e-5
    assert found.descent.losses[-1] < 1e-10 < found.descent.losses[0]
    assert found.pair.equations == channels * (60 - size + 1) * (70 - size + 1)


def test_a_result_without_borders_counts_as_a_whole() -> None:
    taps, x = np.random.RandomState(1).randn(3, 3), scene(1, 30, 20)
    whole = behind(x, taps)[:, 1:-1, 1:-1]
    found = learn_filter(x, whole, 3, steps=0)
    assert found.pair.cut == (0, 0)
    assert np.abs(found.solution.taps - taps).max() < 1e-6


def test_an_offset_is_found_where_it_is_asked_for() -> None:
    taps, x = named_filter("derivative").taps[0], scene(1, 60, 40)
    y = behind(x, taps) + np.float32(0.5)
    found = learn_filter(x, y, 3, steps=200, offset=True)
    assert found.descent is not None
    for answer in (found.solution, found.descent):
        assert np.abs(answer.taps - taps).max() < 1e-5
        assert abs(answer.offset - 0.5) < 1e-5
    blind = learn_filter(x, y, 3, steps=0)
    assert "no filter of this size makes the second picture of the first picture" in blind.remarks[0]


def test_8_bits_tell_a_filter_as_well_as_is_said() -> None:
    taps, x = named_filter("gaussian", size=5).taps[0], scene(1, 120, 120)
    rounded = np.rint(behind(x, taps) * 255).astype(np.float32) / 255
    found = learn_filter(x, rounded, 5, steps=0)
    off = np.abs(found.solution.taps - taps).max()
    assert 0.5 * found.solution.error < off < 5 * found.solution.error


def test_the_closed_form_is_numpys() -> None:
    x = scene(2, 14, 17)
    y = np.random.RandomState(2).rand(2, 14, 17).astype(np.float32)  # no filter makes it: the residual is large
    pair = make_pair(x, y, (3, 5), NAMES)
    rows = [x[c, i : i + 3, j : j + 5].ravel() for c in range(2) for i in range(12) for j in range(13)]
    windows = np.c_[np.array(rows, np.float64), np.ones(len(rows))]
    wanted, squares, _, values = np.linalg.lstsq(windows, pair.behind.ravel(), rcond=None)
    found = solve(pair, offset=True)
    np.testing.assert_allclose(np.append(found.taps.ravel(), found.offset), wanted, atol=1e-9)
    assert found.condition == pytest.approx(values[0] / values[-1], rel=1e-6)
    covariance = np.linalg.inv(windows.T @ windows) * squares[0] / (len(rows) - 16)
    assert found.error == pytest.approx(np.sqrt(np.diag(covariance)[:15].max()), rel=1e-6)
    assert found.rank == found.unknowns == 16


def test_of_large_pictures_some_rows_count(monkeypatch: pytest.MonkeyPatch) -> None:
    taps, x = np.random.RandomState(3).randn(3, 3), scene(1, 80, 50)
    pair = make_pair(x, behind(x, taps), (3, 3), NAMES)
    monkeypatch.setattr("tritoncnn.filters.equations.WORK", pair.equations * 81 / 3)
    monkeypatch.setattr("tritoncnn.filters.equations.CHUNK", 1000)
    assert np.abs(solve(pair).taps - taps).max() < 1e-6
    assert WORK > 1e9


def test_of_filters_that_fit_equally_well_the_shortest_is_given_and_said() -> None:
    ramp = np.broadcast_to(np.arange(30, dtype=np.float32), (1, 20, 30)) / 30
    found = learn_filter(ramp, 2 * ramp, 3, steps=0)
    assert found.solution.rank == 2
    assert "ill-posed: the first picture tells only 2 of 9 unknowns" in found.remarks[0]
    np.testing.assert_allclose(behind(ramp, found.solution.taps)[0, 5, 5:25], 2 * ramp[0, 5, 5:25], atol=1e-5)
    rows = [ramp[0, i : i + 3, j : j + 3].ravel() for i in range(18) for j in range(28)]
    wanted = np.linalg.lstsq(
        np.array(rows, np.float64), 2 * ramp[0, 1:-1, 1:-1].ravel().astype(np.float64), rcond=1e-7
    )[0]
    np.testing.assert_allclose(found.solution.taps.ravel(), wanted, atol=1e-6)


def test_taps_that_rounding_leaves_open_are_told() -> None:
    x = scene(1, 40, 40, blur=4.0)
    y = np.rint(behind(x, named_filter("box").taps[0]) * 255).astype(np.float32) / 255
    found = learn_filter(x, y, 3, steps=0)
    assert found.remarks[0].startswith("ill-posed: with condition number ")
    assert found.solution.condition > 100


def test_a_grey_and_a_colour_picture_meet_in_grey() -> None:
    taps, x = np.random.RandomState(4).randn(3, 3), scene(3, 30, 30)
    luma = np.tensordot([0.299, 0.587, 0.114], x.astype(np.float64), 1)[None]
    found = learn_filter(x, behind(luma, taps), 3, steps=0)
    assert np.abs(found.solution.taps - taps).max() < 1e-5
    assert found.remarks == ("the first picture was made grey by luma, for the other picture is grey",)


WRONG: list[tuple[np.ndarray, np.ndarray, dict[str, Any], str]] = [
    (
        scene(1, 9, 9),
        scene(1, 9, 8),
        {"size": 3},
        "the second picture must be 9 x 9 pixels like the first picture, or 7 x 7",
    ),
    (scene(1, 20, 20), scene(1, 16, 16), {"size": 3}, "got 16 x 16; it would fit --size 5"),
    (scene(1, 20, 20), scene(1, 20, 20), {"size": 4}, "--size must be an odd number from 1 to 15; got 4"),
    (scene(1, 20, 20), scene(1, 20, 20), {"size": 17}, "got 17"),
    (
        scene(1, 4, 20),
        scene(1, 4, 20),
        {"size": 5},
        "the first picture is 4 x 20 pixels: too small for a filter of 5 x 5",
    ),
    (scene(1, 10, 10), scene(1, 10, 10), {"size": 7}, "49 taps, and only 16 pixels lie far enough from the border"),
    (
        np.full((1, 20, 20), 0.5, np.float32),
        scene(1, 20, 20),
        {"size": 3},
        "the first picture has the value 0.5 everywhere",
    ),
    (scene(1, 20, 20), np.zeros((1, 20, 20), np.float32), {"size": 3}, "the second picture has the value 0 everywhere"),
    (scene(1, 20, 20), scene(1, 20, 20), {"size": 3, "steps": -1}, "--steps must be from 0 to 100000; got -1"),
]


@pytest.mark.parametrize(("x", "y", "options", "sentence"), WRONG)
def test_what_cannot_be_asked_is_told(x: np.ndarray, y: np.ndarray, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        learn_filter(x, y, **options)
    assert sentence in str(error.value)


def test_a_step_of_descent_is_our_kernels_alone() -> None:
    x, conv = torch.rand(3, 1, 12, 12), torch.nn.Conv2d(1, 1, 3, bias=False)
    step = tritoncnn.compile_step(conv, loss, tritoncnn.LBFGS(history_size=2), (x, torch.rand(3, 1, 10, 10)))
    wanted = torch.rand(3, 1, 10, 10)
    step(x, wanted)
    with Computing() as mode:
        step(x, wanted)
    assert mode.seen == []


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["learn-filter", *map(str, words)])


def test_the_whole_road(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    levels = np.random.RandomState(5).randint(0, 256, (40, 50)).astype(np.uint8)
    Path("noise.png").write_bytes(encode_levels(levels, ".png"))
    chosen = named_filter("sharpen")
    Path("sharp.npy").write_bytes(encode_numbers(apply_filter((levels / 255).astype(np.float32)[None], chosen)[0]))
    result = call("noise.png", "sharp.npy", "--size", 3)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "3 x 3 taps from 1,824 equations; a border 1 wide is left out"
    assert [line.split() for line in lines[1:4]] == [["0", "-1", "0"], ["-1", "5", "-1"], ["0", "-1", "0"]]
    assert lines[-1] == "written: filter-noise-sharp"
    folder = Path("filter-noise-sharp")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert np.abs(own_filter(str(folder / "filter.txt")).taps[0] - chosen.taps[0]).max() < 1e-6
    report = json.loads((folder / "report.json").read_text())
    assert report["descent"]["largest_difference"] < 1e-5
    assert len(report["descent"]["losses"]) == report["descent"]["steps"]
    assert report["least_squares"]["rank"] == 9
    assert (folder / "filter.png").read_bytes().startswith(b"\x89PNG")
    assert call("noise.png", "sharp.npy", "--size", 3, "--steps", 0).exit_code == 0
    assert "descent" not in json.loads((folder / "report.json").read_text())


def test_mistakes_are_one_sentence_and_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(encode_levels(np.arange(100, dtype=np.uint8).reshape(10, 10), ".png"))
    Path("b.png").write_bytes(encode_levels(np.zeros((10, 10), np.uint8), ".png"))
    for words, sentence, code in (
        (("a.png", "gone.png"), "picture gone.png does not exist", 2),
        (("a.png", "b.png"), "b.png has the value 0 everywhere", 2),
        (("a.png", "a.png", "--size", 2), "--size must be an odd number", 2),
        (("a.png", "a.png", "--out", "a.png"), "--out a.png is not a folder", 2),
        (("a.png", "a.png", "--out", "a.png/x"), "could not be written", 1),
    ):
        result = call(*words)
        assert result.exit_code == code, result.output
        assert result.stderr.startswith("tritoncnn: error: ")
        assert sentence in result.stderr
        assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
