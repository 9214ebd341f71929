"""tritoncnn filter: the whole road, from a picture to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tritoncnn.commands import main
from tritoncnn.data.values import read_values
from tritoncnn.filters import BORDERS

LEVELS = np.random.RandomState(0).randint(0, 256, (16, 20)).astype(np.uint8)


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(LEVELS).save("photo.png")
    return Path("photo.png")


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["filter", *map(str, words)])


def test_a_picture_is_filtered_and_shown(picture: Path) -> None:
    result = call("box", picture)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("box (3 x 3 taps) on photo.png, grey, 16 x 20: values from ")
    assert "written: photo-box.png (black is 0, white 1)\n" in result.stdout
    grey = np.asarray(Image.open("photo-box.png"), np.float64)
    assert grey[4, 7] == round(LEVELS[3:6, 6:9].mean())
    exact = call("own", picture, "--taps", "-1 0 1", "--out", "slope.npy")
    assert exact.exit_code == 0, exact.output
    x = LEVELS / 255
    np.testing.assert_allclose(np.load("slope.npy")[:, 1:-1], x[:, 2:] - x[:, :-2], atol=1e-6)
    call("own", picture, "--taps", "-1 0 1", "--out", "slope.png")
    grey = np.asarray(Image.open("slope.png"), np.float64)
    assert (
        abs(grey[x.shape[0] // 2, 0] - 127.5 - 127.5 * (x[8, 1] - x[8, 0]) / np.abs(np.load("slope.npy")).max()) <= 0.51
    )


def test_a_pyramid_has_a_file_for_each_level_and_one_for_all(picture: Path) -> None:
    result = call("sobel", picture, "--pyramid", 3)
    assert result.exit_code == 0, result.output
    sizes = {path.name: Image.open(path).size for path in Path().glob("photo-sobel*.png")}
    assert sizes == {
        "photo-sobel.png": (20 + 4 + 10, 16), "photo-sobel-0.png": (20, 16), "photo-sobel-1.png": (10, 8),
        "photo-sobel-2.png": (5, 4),
    }  # fmt: skip
    assert call("sobel", picture, "--pyramid", 2, "--out", "edges.npy").exit_code == 0
    assert sorted(path.name for path in Path().glob("*.npy")) == ["edges-0.npy", "edges-1.npy"]
    assert read_values(Path("edges-1.npy")).shape == (1, 8, 10)


WRONG: list[tuple[list[str], str]] = [
    (["blur", "photo.png"], "unknown filter 'blur'; known: box, "),
    (["own", "photo.png"], "filter own and --taps belong together; got it without them"),
    (["box", "photo.png", "--taps", "1 2 1"], "got --taps with filter 'box'"),
    (["own", "photo.png", "--taps", "1 2 1", "--size", "3"], "--taps says it all"),
    (["box", "nowhere.png"], "picture nowhere.png does not exist"),
    (["box", "."], "picture . cannot be read: Is a directory"),
    (["box", "photo.png", "--out", "photo.png"], "--out photo.png is the picture itself"),
    (["box", "photo.png", "--out", "a.xyz"], "--out a.xyz must end in one of .png, "),
    (["box", "photo.png", "--out", "gone/a.png"], "gone/a.png could not be written"),
    (["box", "photo.png", "--pyramid", "9"], "--pyramid must be from 1 to 4 for a picture of 16 x 20; got 9"),
    (["gaussian", "photo.png", "--sigma", "-1"], "--sigma must be above 0"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG)
def test_a_mistake_is_one_sentence_and_leaves_nothing_behind(words: list[str], sentence: str, picture: Path) -> None:
    result = call(*words)
    assert result.exit_code == (1 if "could not be written" in sentence else 2), result.output
    assert result.stderr.startswith("tritoncnn: error: ")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["photo.png"]
    np.testing.assert_array_equal(np.asarray(Image.open("photo.png")), LEVELS)


def test_help_tells_every_filter_and_border() -> None:
    text = call("--help").stdout
    for word in ("box", "gaussian", "derivative", "sobel", "laplacian", "sharpen", "own", *BORDERS):
        assert f"\n  {word} " in text
