"""Style transfer: losses and the picture's gradient are those of torch in fp64, written anew; the picture gains the style."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import save_file

from tests.computing import Computing, assert_as_near_as_torch
from tests.style import by_hand
from tritoncnn.commands import main
from tritoncnn.errors import CheckpointError, InputError
from tritoncnn.models.perceptual import RandomFilters, VGGMaps, content_loss, gram, style_loss, total_variation
from tritoncnn.models.vgg import E, features_of
from tritoncnn.style import Painting, load_vgg
from tritoncnn.style.paint import Easel

SIZE = (1, 3, 32, 40)


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.rand(SIZE), torch.rand(SIZE) * torch.tensor([1.0, 0.4, 0.2]).reshape(3, 1, 1)


def test_losses_are_what_their_formulas_say() -> None:
    a, b = torch.rand(2, 4, 3, 5, dtype=torch.float64), torch.rand(2, 4, 3, 5, dtype=torch.float64)
    wanted = torch.zeros(2, 4, 4, dtype=torch.float64)
    for n, k, l in np.ndindex(2, 4, 4):
        wanted[n, k, l] = sum(a[n, k, p, q] * a[n, l, p, q] for p in range(3) for q in range(5)) / 15
    torch.testing.assert_close(gram(a), wanted)
    ga, gb = gram(a), gram(b)
    torch.testing.assert_close(
        style_loss([ga, 2 * ga], [gb, 2 * gb]), ((ga - gb) ** 2).sum((1, 2)).mean() / (gb**2).sum((1, 2)).mean()
    )
    torch.testing.assert_close(content_loss([a], [b]), ((a - b) ** 2).sum() / (b**2).sum())
    steps = torch.arange(5, dtype=torch.float64).expand(1, 1, 4, 5)
    assert float(total_variation(steps)) == 1.0
    assert float(total_variation(3 * steps.transpose(2, 3))) == 9.0


def test_the_pictures_gradient_and_losses_are_torchs_and_only_kernels_compute() -> None:
    content, style = pictures()
    net = RandomFilters(6, 3)
    easel = Easel(net, content, style, Painting(content=2.0, style=7.0, variation=5.0, start="noise", seed=3))
    x = easel.canvas.picture.detach().clone().double().requires_grad_()
    losses = by_hand.losses(x, content, [by_hand.product(m) for m in by_hand.maps_of(style, net)], net)
    total = 2 * losses["content"] + 7 * losses["style"] + 5 * losses["variation"]
    (gradient,) = torch.autograd.grad(total, x)
    picture = x.detach().float().requires_grad_()
    maps, wanted = net(picture), net(content).content
    single = {
        "content": content_loss(maps.content, wanted),
        "style": style_loss([gram(m) for m in maps.style], [gram(m) for m in net(style).style]),
        "variation": total_variation(picture),
    }
    (torchs,) = torch.autograd.grad(2 * single["content"] + 7 * single["style"] + 5 * single["variation"], picture)
    found = easel.step()
    for name, value in losses.items():
        assert_as_near_as_torch(name, torch.tensor(found[name]), single[name].detach(), value.detach())
    assert_as_near_as_torch("gradient", easel.compiled.gradients()["canvas.picture"], torchs, gradient)
    with Computing() as computing:
        easel.step()
    assert set(computing.seen) == {"aten::_local_scalar_dense"}  # the losses as numbers


def test_large_patterns_reach_the_last_level_and_filters_follow_the_seed() -> None:
    assert [RandomFilters.levels_for(side) for side in (4, 7, 8, 32, 63, 64, 500)] == [1, 1, 2, 4, 4, 5, 5]
    x = torch.rand(1, 3, 64, 80)
    maps = RandomFilters(6, 5)(x)
    assert [tuple(m.shape[2:]) for m in maps.style] == [(64, 80), (32, 40), (16, 20), (8, 10), (4, 5)]
    assert len(maps.content) == 3
    again, other = RandomFilters(6, 5)(x), RandomFilters(6, 5, seed=1)(x)
    assert torch.equal(maps.style[2], again.style[2])
    assert not torch.equal(maps.style[2], other.style[2])
    light = RandomFilters(8, 1)(x + 0.1).style[0] - RandomFilters(8, 1)(x).style[0]
    assert [bool(row.abs().max() > 1e-3) for row in light[0]] == [n % 4 == 0 for n in range(8)]


@pytest.mark.parametrize("deep", [False, True])
def test_vgg_maps_are_those_behind_the_layers_that_the_paper_names(deep: bool) -> None:
    maps = VGGMaps(deep)
    assert maps.style == ([1, 6, 11, 18, 25] if not deep else [1, 6, 11, 20, 29])
    assert maps.content == (20 if not deep else 22)
    found = maps(torch.rand(1, 3, 32, 32))
    assert [m.shape[1] for m in found.style] == [64, 128, 256, 512, 512]
    assert not any(p.requires_grad for p in maps.parameters())


def test_weights_of_vgg_are_read_by_torchvisions_names_and_missing_ones_are_told(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = {f"features.{name}": tensor for name, tensor in features_of(E).state_dict().items()}
    save_file(whole | {"classifier.0.weight": torch.ones(2, 2)}, tmp_path / "vgg19.safetensors")
    maps = load_vgg(tmp_path / "vgg19.safetensors")
    assert maps.content == 22
    assert torch.equal(maps.features[28].weight, whole["features.28.weight"])
    lacking = {name: tensor for name, tensor in whole.items() if name != "features.5.bias"}
    save_file(lacking, tmp_path / "lacking.safetensors")
    with pytest.raises(CheckpointError, match="does not fit the model; it lacks: features.5.bias$"):
        load_vgg(tmp_path / "lacking.safetensors")
    save_file({"conv1.weight": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="must hold the weights of VGG-16 or VGG-19 under torchvision's names"):
        load_vgg(tmp_path / "other.safetensors")


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["style", *map(str, words)])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    random = np.random.RandomState(0)
    Image.fromarray(random.randint(0, 256, (32, 40, 3), np.uint8)).save(tmp_path / "content.png")
    Image.fromarray(random.randint(0, 90, (50, 50, 3), np.uint8)).save(tmp_path / "style.png")
    return tmp_path


def test_the_command_paints_and_tells_losses_that_fall(files: Path) -> None:
    out = files / "out" / "painted.png"
    result = call(files / "content.png", files / "style.png", "--size", 40, "--steps", 12, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    note = json.loads(result.stdout)
    assert note["after"]["total"] < note["before"]["total"] / 10
    assert note["after"]["style"] < note["before"]["style"] / 10
    assert note["features"] == "random"
    assert "untrained random filters" in result.stderr
    assert Image.open(out).size == (40, 32)
    assert Image.open(out.with_name("painted-strip.png")).size == (3 * 40 + 8, 32)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"content": -1.0}, "--content-weight must be a finite number from 0; got -1.0"),
    ({"style": float("nan")}, "--style-weight must be a finite number from 0; got nan"),
    ({"content": 0.0, "style": 0.0}, "--content-weight and --style-weight are both 0: there is nothing to paint"),
    ({"steps": 0}, "--steps must be at least 1; got 0"),
    ({"start": "style"}, "--start must be one of content, noise; got 'style'"),
    ({"optimizer": "sgd"}, "--optimizer must be one of lbfgs, adam; got 'sgd'"),
    ({"seed": -1}, "--seed must be from 0 to"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG)
def test_a_painting_that_makes_no_sense_is_told(words: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Painting(**words)


def test_mistakes_are_one_sentence_and_leave_nothing(files: Path) -> None:
    content, style, out = files / "content.png", files / "style.png", files / "out" / "painted.png"
    clear = files / "clear.png"
    Image.fromarray(np.full((40, 40, 4), 128, np.uint8)).save(clear)
    (files / "text.png").write_text("no picture")
    for words, sentence in (
        ([content, clear], "must be opaque; 100.0% of its pixels are transparent: lay it on a ground first"),
        ([content, files / "gone.png"], "gone.png does not exist"),
        ([files / "text.png", style], "cannot be read: it is not one of PNG"),
        ([content, style, "--size", 0], "--size must be from 1 to 2048; got 0"),
        ([content, style, "--size", 20], "must have at least 32 pixels along each side to be painted; it has 20 x 16"),
        ([content, style, "--out", files / "painted.xyz"], "painted.xyz must end in one of .png"),
        ([content, style, "--weights", files / "gone.safetensors"], "gone.safetensors does not exist"),
    ):
        result = call(*words, *([] if "--out" in words else ["--out", out]))
        assert result.exit_code == 2, result.output
        assert result.stderr.startswith("tritoncnn: error: ")
        assert result.stderr.count("\n") == 1
        assert sentence in result.stderr
    assert not out.parent.exists()


def test_an_opaque_alpha_channel_is_no_matter(files: Path) -> None:
    from tritoncnn.data.whole import open_style

    opaque = np.full((40, 40, 4), 128, np.uint8)
    opaque[..., 3] = 255
    Image.fromarray(opaque).save(files / "opaque.png")
    assert open_style(str(files / "opaque.png")).size == (40, 40)


def test_the_made_style_is_the_same_each_time() -> None:
    from tritoncnn.data.whole import open_named

    first, again = open_named("strokes"), open_named("strokes")
    assert first.tobytes() == again.tobytes()
    assert first.size == (256, 256)
