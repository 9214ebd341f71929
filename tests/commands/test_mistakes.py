"""Mistakes of a person at the command line: one clear message, exit code 1 or 2, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.data.test_paired import two_folders
from tritoncnn.commands import main
from tritoncnn.data.sounds import SILENCE, WINDOW, make_sounds
from tritoncnn.errors import DataError, InputError
from tritoncnn.train import list_runs


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command line in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words])


def assert_refused(result: Result, said: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.count("tritoncnn: error: ") == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert list(Path().iterdir()) == []


def picture(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


WORDS = {  # options that make no sense together, and names that are none: each task's own
    "train stack --residual": "--residual needs --pairs of 1 or more",
    "train wavenet --context 3": "at least the 511 samples that a net of --layers 8 and --stacks 2 hears; got 3",
    "train stylenet --style-weight 0 --content-weight 0": "--style-weight and --content-weight are both 0",
    "train videostyle --style-weight 0 --content-weight 0": "--style-weight and --content-weight are both 0",
    "train lenet --data-dir .": "1,797 scanned digits; did you mean --data mnist or --data folder?",
    "train trunk --data-dir .": "ray-cast rooms in grey, with parts, depth and colour; leave it out",
    "style gone.png strokes": "picture gone.png does not exist; wanted a file, or one of strokes, brick, cat",
    "train stylenet --style gone.png": "wanted a file, or one of strokes, brick, cat",
    "list runs --runs gone": "--runs gone does not exist",
}  # fmt: skip


@pytest.mark.parametrize("words", WORDS)
def test_it_is_told_in_one_sentence(words: str, call: Callable[..., Result]) -> None:
    assert_refused(call(*words.split()), WORDS[words])


@pytest.mark.parametrize(("text", "said"), [("", "got nothing"), ("- a", "got a list"), ("word", "got 'word'")])
def test_a_config_that_has_no_lines(text: str, said: str, tmp_path: Path, call: Callable[..., Result]) -> None:
    (tmp_path / "flags.yaml").write_text(text)
    assert_refused(call("train", "lenet", "--config", tmp_path / "flags.yaml"), said)


def test_folders_of_blank_and_of_empty_files(tmp_path: Path, call: Callable[..., Result]) -> None:
    for name in "ab":
        for number in range(3):
            picture(tmp_path / "blank" / name / f"{number}.png", np.zeros((30, 30)))
    said = "class folder {} holds 3 pictures, 3 of them blank; wanted 2 or more that are not"
    words = ("train", "lenet", "--data", "folder", "--data-dir", tmp_path / "blank")
    assert_refused(call(*words), said.format(tmp_path / "blank" / "a"))
    (tmp_path / "blank" / "a" / "0.png").write_bytes(b"")
    assert_refused(call(*words), f"picture {tmp_path / 'blank' / 'a' / '0.png'} cannot be read: it is empty")
    words = ("train", "denoising", "--data", "noisy-folder", "--data-dir", tmp_path / "here")
    assert_refused(call(*words), f"folder {tmp_path / 'here'} must hold at least 2 pictures")


def test_lists_that_have_a_name_in_common(tmp_path: Path, call: Callable[..., Result]) -> None:
    two_folders(tmp_path / "masks")
    (tmp_path / "masks" / "train.txt").write_text("p1\np2\n")
    (tmp_path / "masks" / "val.txt").write_text("p2\np3\n")
    words = ("train", "segmentation", "--data", "masks", "--data-dir", tmp_path / "masks", "--size", 16)
    assert_refused(call(*words), "val.txt must have no name in common; both have 'p2'")


def test_a_comparison_all_of_whose_runs_fail_leaves_nothing(call: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    words = ("compare", "lenet", "--vary", "lr=0.1,0.2", "--data", "folder", "--data-dir", tmp_path / "empty")
    assert_refused(call(*words, "--seeds", 1), "must hold at least 2 folders of pictures")
    kept = tmp_path / "here" / "runs"
    kept.mkdir()  # one that was there already stays
    assert call(*words, "--seeds", 1).exit_code == 2
    assert list(Path().iterdir()) == [Path("runs")]


def test_a_window_longer_than_all_sounds() -> None:
    sounds = [np.full(WINDOW + 1, SILENCE, np.float32) / 255] * 2
    with pytest.raises(
        DataError, match=f"^tones: --window 100000000 is longer than all sounds; the longest has {WINDOW + 1}"
    ):
        make_sounds("tones", sounds, sounds, 511, 10**8)


def test_the_usual_folder_of_runs_need_not_be_there(call: Callable[..., Result]) -> None:
    assert list_runs(Path("runs")) == []
    with pytest.raises(InputError, match="does not exist"):
        list_runs(Path("others"))
