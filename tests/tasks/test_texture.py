from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tritoncnn
from tests.computing import Computing
from tests.train.runs import go_the_whole_road
from tritoncnn import train as library
from tritoncnn.data import Facts, load_data, patterns
from tritoncnn.data.define import BlankError
from tritoncnn.data.texture import SIZE, even, read_texture
from tritoncnn.models.texture import GAIN, made_filters
from tritoncnn.tasks import find_task
from tritoncnn.train import Options

TASK = find_task("texture")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "PATTERNS", {"train": 8, "test": 4})


@pytest.mark.usefixtures("few")
def test_filters_are_learned_and_without_a_non_linearity_nothing_is(tmp_path: Path) -> None:
    """The lecture's point: where means agree, a linear net sees nothing."""
    found = {}
    for activation in ("relu", "none"):
        outcome = library.train(Options.of(TASK, activation=activation, epochs=12), tmp_path / activation)
        found[activation] = outcome.summary["metrics"]["accuracy"]
    assert found["relu"] >= 0.95
    assert abs(found["none"] - 0.5) < 0.15


@pytest.mark.usefixtures("few")
def test_patterns_are_the_same_each_time_and_their_means_and_contrasts_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "STEPS", 300)
    first, again = (load_data("patterns", None, TASK.read) for _ in range(2))
    assert first.fingerprint == again.fingerprint
    assert first.facts.classes == ("spots", "stripes")
    assert "made by a Gray-Scott reaction" in first.remarks[0]
    for part, count in ((first.train, 8 * 16), (first.test, 4 * 10)):
        assert part.y.bincount().tolist() == [count, count]
        assert part.x.mean((1, 2, 3)).abs().max() < 1e-4
        assert (part.x.std((1, 2, 3)) - 1).abs().max() < 1e-2


@pytest.mark.usefixtures("few")
def test_no_pattern_is_in_both_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    def numbered(feed: np.ndarray, *rest: object) -> np.ndarray:
        return np.arange(len(feed))[:, None, None] + np.random.RandomState(0).rand(len(feed), 64, 64) / 2

    monkeypatch.setattr(patterns, "grow", numbered)
    monkeypatch.setattr(patterns, "even", lambda patch: np.floor(patch).astype(np.float32)[None])
    data = load_data("patterns", None, TASK.read)
    mean, std = data.facts.mean[0], data.facts.std[0]
    used = [set((part.x * std + mean).round().unique().tolist()) for part in (data.train, data.test)]
    assert len(used[0]) == 16
    assert len(used[1]) == 8
    assert not used[0] & used[1]


def test_photographs_are_parted_in_the_middle() -> None:
    data = load_data("textures", None, TASK.read)
    assert data.facts.classes == ("brick", "grass", "gravel")
    assert data.train.x.shape == (3 * 256, 1, SIZE, SIZE)
    assert data.test.x.mean((1, 2, 3)).abs().max() < 1e-4


def test_a_reaction_keeps_to_its_equations() -> None:
    """One step, written out for one pixel."""
    random = np.random.RandomState(1)
    feed, kill = np.array([0.04]), np.array([0.06])
    begin = patterns.grow(feed, kill, 8, 0, np.random.RandomState(1))[0].astype(np.float64)
    after = patterns.grow(feed, kill, 8, 1, random)[0]
    u, v = 1 - 1.5 * begin, begin
    y, x = np.unravel_index(v.argmax(), v.shape)
    around = sum(v[(y + dy) % 8, (x + dx) % 8] for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)))
    wanted = v[y, x] + 0.1 * (around - 4 * v[y, x]) + u[y, x] * v[y, x] ** 2 - 0.1 * v[y, x]
    assert v.max() > 0
    assert after[y, x] == pytest.approx(wanted, abs=1e-6)


def test_filters_made_by_hand_are_blind_to_an_even_ground_and_stay_as_they_are() -> None:
    taps = made_filters()
    assert taps.sum((1, 2)).abs().max() < 1e-4
    torch.testing.assert_close(taps.flatten(1).norm(dim=1), torch.full((16,), GAIN))
    assert len({tuple(filter.flatten().tolist()) for filter in taps}) == 16
    net = TASK.models["texture"](Facts(("a", "b"), (0.0,), (1.0,)), filters="hand-made")
    x, y = torch.randn(8, 1, SIZE, SIZE), torch.arange(8) % 2
    step = tritoncnn.compile_step(net, TASK.loss, tritoncnn.Adam(lr=0.1), (x, y))
    before = step.state_dict()
    with Computing() as mode:
        step(x, y)
    assert set(mode.seen) <= {"aten::aminmax", "aten::_local_scalar_dense"}  # labels are looked at, not computed with
    changed = {name for name, tensor in step.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"fc.weight", "fc.bias"}


def test_files_become_evened_patches(tmp_path: Path) -> None:
    values = np.random.RandomState(0).randint(0, 256, (96, 130)).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    middle = values[:, 17 : 17 + 96].reshape(48, 2, 48, 2).mean((1, 3))
    np.testing.assert_allclose(read_texture(tmp_path / "a.png"), even(middle), atol=1e-4)
    Image.new("L", (60, 60), 7).save(tmp_path / "blank.png")
    with pytest.raises(BlankError, match=r"blank\.png is blank: its middle square has one value"):
        read_texture(tmp_path / "blank.png")


def test_the_whole_road_of_a_folder_of_two_textures(tmp_path: Path) -> None:
    random, across = np.random.RandomState(0), np.arange(96)[None] // 6 % 2
    for name, pattern in {"lines": np.repeat(across, 96, 0), "checks": across ^ across.T}.items():
        for folder, count in (("data", 6), ("unseen", 1)):
            (tmp_path / folder / name).mkdir(parents=True)
            for number in range(count):
                values = 60 * pattern + random.randint(0, 90, pattern.shape)
                Image.fromarray(values.astype(np.uint8)).save(tmp_path / folder / name / f"{number}.png")
    given = Options.of(
        TASK, data="folder", data_dir=str(tmp_path / "data"), batch_size=2, epochs=12, lr=0.01, save_every=0.0
    )
    answers = go_the_whole_road(given, tmp_path, tmp_path / "unseen")
    assert [Path(answer["picture"]).parent.name for answer in answers] == [a["top"][0]["class"] for a in answers]
