"""Dreams: the right layer is cut out, its gradient is torch's, the picture climbs, from a seed, on our kernels."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from torch import nn
from torch.nn import functional as F

from tests.computing import Computing
from tests.train.runs import options
from tests.train.samples import write_idx
from tritoncnn.commands import main
from tritoncnn.data import Facts
from tritoncnn.dreams import Dreaming, dream
from tritoncnn.dreams.ascent import Answers, Ascent, Climbed, Shown, Uphill
from tritoncnn.dreams.layers import cut_behind, find_channel, find_layer, layers_of
from tritoncnn.dreams.run import _as_read, dream_of_run
from tritoncnn.errors import InputError, UnsupportedError
from tritoncnn.tasks import TASKS, find_task
from tritoncnn.train import train
from tritoncnn.train.folder import Trained

FACTS = Facts(("a", "b"), (0.4, 0.5, 0.6), (0.2, 0.3, 0.25))
SIZES = (1, 3, 16, 16)


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(x + self.conv(self.relu(x)))  # one name, two places


class Net(nn.Module):
    """With a block, a module that is used twice, a result that is no map, and a full layer for 16 x 16 only."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 5, 3, stride=2)
        self.block = Block(5)
        self.features = nn.Sequential(nn.Conv2d(5, 4, 3), nn.Tanh())
        self.head = nn.Linear(100, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(self.block(self.stem(x))).flatten(1))


def new_net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def hooked(net: nn.Module, name: str, x: torch.Tensor) -> torch.Tensor:
    """What a part gives within the whole net, which may end at what comes behind: pictures may be of other sizes."""
    found: list[torch.Tensor] = []
    handle = net.get_submodule(name).register_forward_hook(lambda _m, _i, result: found.append(result))
    with contextlib.suppress(RuntimeError):
        net(x)
    handle.remove()
    (result,) = found
    return result


def test_layers_are_parts_that_give_one_map() -> None:
    layers = layers_of(new_net(), SIZES)
    wide = dict.fromkeys(("stem", "block.conv", "block"), (5, 7, 7))
    assert layers == {**wide, **dict.fromkeys(("features.0", "features.1", "features"), (4, 5, 5))}


def test_what_is_not_said_is_a_layer_with_a_map_and_its_middle_channel() -> None:
    layers = {"conv": (5, 8, 8), "features": (4, 4, 4), "pool": (4, 1, 1)}
    assert find_layer(None, layers) == "features"
    assert find_layer(None, {"conv": (5, 3, 3), "pool": (4, 1, 1)}) == "pool"
    answers = torch.tensor([0.5, 0.0, 2.0, 0.1])
    assert find_channel(None, "features", layers, lambda: answers) == 0  # of channels 3, 0 and 2
    assert find_channel("all", "features", layers, lambda: answers) is None
    assert find_channel("3", "features", layers, lambda: answers) == 3
    assert find_channel(None, "features", layers, lambda: 0 * answers) is None


@pytest.mark.parametrize("name", ["stem", "block.conv", "block", "features.0", "features"])
def test_a_net_is_cut_behind_the_layer_that_was_named(name: str) -> None:
    net, x = new_net(), torch.rand(SIZES)
    cut = cut_behind(net, name)
    torch.testing.assert_close(cut(x), hooked(net, name, x), rtol=0, atol=0)
    assert cut(torch.rand(1, 3, 37, 22)).shape[1] == layers_of(net, SIZES)[name][0]  # the full layer is not reached
    before = cut(x)
    with torch.no_grad():
        net.stem.weight.mul_(2)
    assert not torch.equal(cut(x), before)  # the net's own parameters


@pytest.mark.parametrize("task", [name for name in TASKS if find_task(name).soft_loss is not None])
def test_every_layer_of_every_classifier_is_cut_rightly(task: str) -> None:
    found = find_task(task)
    size = found.sides[next(iter(found.models))].usual if found.sides else 0
    example = found.example_at(1, size)
    torch.manual_seed(0)
    module = next(iter(found.models.values()))(example.facts).eval()
    x = torch.rand(example.x.shape)
    layers = layers_of(module, x.shape)
    assert layers
    for name, (channels, _, _) in list(layers.items())[:: max(1, len(layers) // 6)]:
        cut = cut_behind(module, name)
        assert cut(x).shape[1] == channels
        torch.testing.assert_close(cut(x), hooked(module, name, x), rtol=0, atol=0)


@pytest.mark.parametrize(("name", "channel"), [("block.conv", 3), ("features", None)])
def test_gradient_and_step_are_torchs(name: str, channel: int | None) -> None:
    shown = Shown(cut_behind(new_net(), name), FACTS)
    x, step = torch.rand(1, 3, 20, 27), torch.tensor(0.01)
    ascent = Ascent(shown, channel, x)
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(Climbed(shown, channel)(leaf), leaf)
    maps = hooked(new_net(), name, (leaf - shown.mean) / shown.std)
    some = maps if channel is None else maps[:, channel]
    assert bool((some < 0).any())
    (by_hand,) = torch.autograd.grad(torch.where(some < 0, 0.1 * some, some).mean(), leaf)
    torch.testing.assert_close(g, by_hand)
    torch.testing.assert_close(Answers(shown)(x), maps.clamp(min=0).mean((0, 2, 3)))
    wanted = (x + 0.01 * g / g.abs().mean()).clamp(0, 1)
    torch.testing.assert_close(ascent.step(x, step), wanted, rtol=1e-4, atol=1e-5)
    with Computing() as computing:
        ascent.step(x, step)
    assert computing.seen == []
    tiny = Uphill()(x, g * 1e-20, step)
    torch.testing.assert_close(tiny, wanted, rtol=1e-4, atol=1e-5)
    assert torch.equal(Uphill()(x, torch.zeros_like(g), step), x)


@pytest.mark.parametrize("size", [(20, 31), (9, 40)])
def test_a_dream_answers_more_than_the_picture_and_noise(size: tuple[int, int]) -> None:
    picture = np.random.RandomState(0).rand(3, *size).astype(np.float32)
    how, told = Dreaming("features.0", "1", octaves=2, steps=4, step_size=0.02, jitter=2), list[str]()
    found = dream(new_net(), FACTS, SIZES, picture, how, told.append)
    note = found.note
    assert note["after"] > max(note["before"], note["noise"]) + 0.01
    assert note["octaves"][-1] == [size[1], size[0]]
    assert found.picture.shape == picture.shape
    assert np.array_equal(found.picture, np.rint(found.picture * 255) / np.float32(255))
    net = new_net()
    x = (torch.from_numpy(found.picture)[None] - torch.tensor(FACTS.mean)[:, None, None]) / torch.tensor(FACTS.std)[
        :, None, None
    ]
    whole = net.features[0](net.block(net.stem(x)))[:, 1].relu().mean()
    assert note["after"] == pytest.approx(float(whole.detach()), rel=1e-4)
    again, other = (dream(new_net(), FACTS, SIZES, picture, replace(how, seed=seed)) for seed in (0, 1))
    assert np.array_equal(again.picture, found.picture)
    assert not np.array_equal(other.picture, found.picture)


def test_octaves_that_are_too_small_are_left_out_and_a_picture_that_is_is_refused() -> None:
    how, told = Dreaming("features.0", octaves=6, steps=1), list[str]()
    found = dream(new_net(), FACTS, SIZES, np.full((3, 14, 14), 0.5, np.float32), how, told.append)
    assert found.note["octaves"] == [[7, 7], [10, 10], [14, 14]]
    assert told[0] == "3 of 6 octaves: smaller pictures are too small for layer 'features.0'"
    with pytest.raises(
        InputError, match="a picture of 4 x 5 pixels is too small for layer 'features.0'; --size makes it"
    ):
        dream(new_net(), FACTS, SIZES, np.full((3, 5, 4), 0.5, np.float32), how)


def test_a_net_that_adds_maps_of_two_sizes_tells_of_which_sides_pictures_must_be() -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool, self.last = nn.AvgPool2d(4), nn.Conv2d(3, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(x + F.interpolate(self.pool(x), scale_factor=4.0))

    with pytest.raises(
        InputError,
        match="'last' takes no picture of 18 x 13 pixels, but one whose sides are multiples of 4: cut it to 16 x 12",
    ):
        dream(Around().eval(), FACTS, SIZES, np.full((3, 13, 18), 0.5, np.float32), Dreaming("last", steps=1))


def test_a_way_that_depends_on_the_picture_is_refused() -> None:
    class Turning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x if x.mean() > 0 else -x)

    with pytest.raises(UnsupportedError, match="the net cannot be cut behind 'conv': torch.fx cannot follow it"):
        cut_behind(Turning(), "conv")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"octaves": 0}, "--octaves must be at least 1; got 0"),
    ({"steps": 0}, "--steps must be at least 1; got 0"),
    ({"jitter": -1}, "--jitter must be from 0 to 4096; got -1"),
    ({"jitter": 10**25}, "--jitter must be from 0 to 4096; got 10000000000000000000000000"),
    ({"step_size": 0.0}, "--step-size must be a finite number above 0; got 0.0"),
    ({"step_size": float("nan")}, "--step-size must be a finite number above 0; got nan"),
    ({"seed": -1}, "--seed must be from 0 to"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG)
def test_a_dream_that_makes_no_sense_is_told(words: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Dreaming("stem", **words)


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["dream", *map(str, words)])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("dream")
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (30, 44, 3), np.uint8)).save(place / "photo.png")
    return train(options(write_idx(place / "mnist"), epochs=1), place / "run").run


def test_the_command_writes_the_dream_and_its_figures(run: Path, tmp_path: Path) -> None:
    picture, out = run.parent / "photo.png", tmp_path / "out"
    result = call(run, picture, "--layer", "conv1", "--channel", 2, "--octaves", 2, "--steps", 3, "--out", out)
    assert result.exit_code == 0, result.output
    note = json.loads((out / "dream.json").read_text())
    assert note["after"] > note["before"]
    assert note["launches"] > 1
    assert Image.open(out / "dream.png").size == (44, 30)
    usual = call(run, picture, "--size", 30, "--octaves", 1, "--steps", 2, "--out", tmp_path / "usual", "--json")
    assert usual.exit_code == 0, usual.output
    note_of_usual = json.loads(usual.stdout)
    assert note_of_usual["layer"] == "conv2"
    assert note_of_usual["channel"] in range(16)
    assert f"channel 2 of conv1: {note['before']:.4g} before, {note['after']:.4g} after" in result.stdout


def test_a_run_that_evens_out_its_pictures_dreams_of_one_that_is_evened_out(tmp_path: Path) -> None:
    texture = find_task("texture")
    Image.fromarray(np.random.RandomState(0).randint(90, 110, (48, 48), np.uint8)).save(tmp_path / "faint.png")
    values = np.asarray(Image.open(tmp_path / "faint.png"), np.float32)[None] / 255
    for task, same in ((texture, False), (find_task("denoising"), True)):
        facts = task.example(1).facts
        found = _as_read(Trained(nn.Identity(), task.read, facts), tmp_path / "faint.png", values)
        assert (found == facts) == same
        if not same:
            np.testing.assert_allclose(
                found.normalise(values[None])[0], texture.read(tmp_path / "faint.png"), atol=2e-3
            )


@pytest.mark.parametrize("name", ["wavenet", "synthesis", "pillars", "videostyle"])
def test_a_run_that_is_shown_no_pictures_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = find_task(name)
    trained = Trained(nn.Identity(), task.read, task.example(1).facts)
    monkeypatch.setattr("tritoncnn.dreams.run.load_trained", lambda *words, **more: trained)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(
        InputError, match=f"is a run of task '{name}'; dream needs a classifier's, or one that tells of pictures$"
    ):
        dream_of_run(task, tmp_path, tmp_path / "a.png", Dreaming(), tmp_path / "out")


def test_mistakes_are_one_sentence_and_leave_nothing(run: Path, tmp_path: Path) -> None:
    picture, out = run.parent / "photo.png", tmp_path / "out"
    for words, sentence in (
        (
            ["--layer", "conv3"],
            "--layer must name a layer that gives maps; got 'conv3'; layers with their channels: conv1 (6), ",
        ),
        (["--layer", "fc1"], "got 'fc1'; layers with their channels: conv1 (6), conv2 (16)"),
        (["--layer", "conv1", "--channel", "6"], "--channel must be from 0 to 5, as layer 'conv1' has, or all; got 6"),
        (
            ["--layer", "conv1", "--channel", "-1"],
            "--channel must be from 0 to 5, as layer 'conv1' has, or all; got -1",
        ),
        (["--layer", "conv1", "--channel", "every"], "as layer 'conv1' has, or all; got every"),
        (["--layer", "conv1", "--size", "0"], "--size must be from 1 to 4096; got 0"),
        (["--layer", "conv2", "--size", "4"], "is too small for layer 'conv2'"),
        (["--layer", "conv1", "--steps", "0"], "--steps must be at least 1; got 0"),
    ):
        result = call(run, picture, *words, "--out", out)
        assert result.exit_code == 2, result.output
        assert result.stderr.startswith("tritoncnn: error: ")
        assert result.stderr.count("\n") == 1
        assert sentence in result.stderr
    assert "gone.png does not exist" in call(run, "gone.png", "--layer", "conv1", "--out", out).stderr
    assert "is not a folder" in call(run, picture, "--layer", "conv1", "--out", picture).stderr
    below = call(run, "gone.png", "--layer", "conv1", "--out", picture / "below")  # before the picture is looked at
    assert below.exit_code == 1
    assert "below could not be written (Not a directory)" in below.stderr
    assert not out.exists()
