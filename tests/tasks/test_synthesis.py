"""Label map -> photograph: the step of both nets beside plain torch, distances by hand, and the whole road on a tiny size."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch.nn import functional as F

from tests.computing import assert_as_near_as_torch
from tests.train.runs import StopAt, assert_same_run, metrics
from tritoncnn.commands import main
from tritoncnn.data import Examples, Facts, load_data
from tritoncnn.data.colour import ColourReader
from tritoncnn.data.colour_maps import CLUSTERS, NAMES, PIECES, cluster, nearest
from tritoncnn.data.label_maps import MapReader
from tritoncnn.errors import DataError, InputError
from tritoncnn.models.label_map import twice
from tritoncnn.models.patchgan import PatchDiscriminator
from tritoncnn.models.pix2pix import Pix2Pix
from tritoncnn.models.spade import Spade, SpadeGenerator
from tritoncnn.task import Task
from tritoncnn.tasks import find_task
from tritoncnn.tasks.kinds.adversarial import ADVERSARIAL, losses_of
from tritoncnn.tasks.kinds.synthesis import (
    best_rival,
    frechet,
    mean_colours,
    mean_difference,
    nearest_maps,
    texture_distance,
    textures,
)  # fmt: skip
from tritoncnn.train import Interrupted, Options, measure, predict, resume, train
from tritoncnn.train.tensorfile import read_tensors
from tritoncnn.train.training_step import TrainingStep, build_beside

SYNTHESIS = find_task("synthesis")
LABELS, SIDE, BATCH = 4, 32, 4
FACTS = Facts(tuple(map(str, range(LABELS))), (), ())
WEIGHTS = {"pixel_weight": 10.0, "adversarial_weight": 0.2, "feature_weight": 2.0, "adversarial_loss": "hinge"}

# One tiny net and one shape for all that is compiled here: compiling is what takes time.
TINY = replace(
    SYNTHESIS,
    models={"pix2pix": lambda facts: Pix2Pix(len(facts.classes), 8, 2)},
    sides={"pix2pix": SYNTHESIS.sides["pix2pix"]},
    loss=replace(ADVERSARIAL, nets={"discriminator": lambda facts, values: PatchDiscriminator(len(facts.classes), 8)}),
)


def batch_of(count: int, seed: int = 0) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, LABELS, (count, SIDE // 8, SIDE // 8), generator=generator)
    x = coarse.repeat_interleave(8, 1).repeat_interleave(8, 2).float()
    return Examples(x, torch.rand(count, 3, SIDE, SIDE, generator=generator))


def write_scenes(folder: Path, count: int = 20) -> Path:
    """Palette maps, each beside a photograph, in a form of folder that the reader knows."""
    examples = batch_of(count)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for i in range(count):
        ids = Image.fromarray(examples.x[i].numpy().astype(np.uint8))
        ids.putpalette([value for n in range(256) for value in (n, 255 - n, n // 2)])
        ids.save(folder / "labels" / f"{i}.png")
        shade = examples.x[i].numpy() / LABELS * 200
        values = np.stack([shade, 200 - shade, shade], 2) + 20 * examples.y[i].permute(1, 2, 0).numpy()
        Image.fromarray(values.astype(np.uint8)).save(folder / "images" / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes") / "data")


@pytest.fixture(scope="module")
def tiny() -> Iterator[Task]:
    """The task with tiny nets, wherever it is asked for by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tritoncnn.tasks.find_task", lambda name: TINY)
        yield TINY


def options(scenes: Path, **more: object) -> Options:
    given = {"data": "label-maps", "data_dir": str(scenes), "size": SIDE, "batch_size": BATCH, "epochs": 2} | more
    return Options.of(TINY, **given)


def judged_by_hand(
    state: Mapping[str, torch.Tensor], x: torch.Tensor, picture: torch.Tensor, kept: dict[str, torch.Tensor]
) -> list[torch.Tensor]:
    """The discriminator's features and scores by Miyato et al. 2018, algorithm 1, in fp64; ``kept`` gets the new u and v."""
    h = torch.cat([F.one_hot(x.long(), LABELS).permute(0, 3, 1, 2), 2 * picture - 1], 1)
    found = []
    for name, stride in (("stages.0", 2), ("stages.1", 2), ("stages.2", 1), ("score", 1)):
        w = state[f"{name}.parametrizations.weight.original"]
        rows = w.flatten(1)
        with torch.no_grad():
            u = F.normalize(rows @ state[f"{name}.parametrizations.weight.0._v"], dim=0, eps=1e-12)
            v = F.normalize(rows.T @ u, dim=0, eps=1e-12)
        kept |= {f"{name}.parametrizations.weight.0._u": u, f"{name}.parametrizations.weight.0._v": v}
        h = F.conv2d(h, w / (u @ rows @ v), state[f"{name}.bias"], stride, 1)
        if name != "score":
            h = torch.where(h > 0, h, 0.2 * h)
        found.append(h)
    return found


def made_by_hand(state: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The tiny generator of two levels, without dropout, in fp64."""

    def norm(h: torch.Tensor, name: str) -> torch.Tensor:
        middle, spread = h.mean((2, 3), keepdim=True), h.var((2, 3), keepdim=True, correction=0)
        scale, shift = (state[f"{name}.{part}"][:, None, None] for part in ("weight", "bias"))
        return (h - middle) / (spread + 1e-5).sqrt() * scale + shift

    def twice(h: torch.Tensor) -> torch.Tensor:
        for dim in (2, 3):  # of each pixel two, a quarter of the way to its neighbours; the edge goes on
            places = torch.arange(h.shape[dim])
            near = [h.index_select(dim, (places + way).clamp(0, len(places) - 1)) for way in (-1, 1)]
            h = torch.stack([0.75 * h + 0.25 * other for other in near], dim + 1).flatten(dim, dim + 1)
        return h

    def conv(name: str, h: torch.Tensor, stride: int = 1) -> torch.Tensor:
        h = torch.cat([h[:, :, 1:2], h, h[:, :, -2:-1]], 2)  # edges are reflected
        h = torch.cat([h[:, :, :, 1:2], h, h[:, :, :, -2:-1]], 3)
        return F.conv2d(h, state[f"{name}.weight"], state[f"{name}.bias"], stride)

    maps = F.one_hot(x.long(), LABELS).permute(0, 3, 1, 2).double()
    outer = conv("down.0", maps, 2)
    inner = norm(conv("down.1", F.leaky_relu(outer, 0.2), 2), "down_norms.0")
    back = norm(conv("rise.0", twice(F.relu(inner))), "rise_norms.0")
    whole = F.relu(conv("rise.1", twice(F.relu(torch.cat([back, outer], 1)))))
    return (torch.tanh(conv("out", torch.cat([whole, maps], 1))) + 1) / 2


def test_one_step_has_the_losses_gradients_and_spectral_norms_of_plain_torch() -> None:
    chosen = Options.of(TINY, size=SIDE, batch_size=BATCH).fitted(20)
    model = chosen.build_model(FACTS)
    model.dropout.p = 0.0
    x, y, _ = vars(batch_of(BATCH)).values()
    step = TrainingStep(chosen, model, FACTS, x, y)
    begun = step.nets()
    nets = SimpleNamespace(model=model, discriminator=PatchDiscriminator(LABELS, 8))
    of, single = {}, copy.deepcopy(nets)
    for net in ("model", "discriminator"):
        state = {name.removeprefix(f"{net}."): t for name, t in begun.items() if name.startswith(f"{net}.")}
        vars(single)[net].load_state_dict(state)
        of[net] = {name: tensor.double().requires_grad_() for name, tensor in state.items()}
    told = step(x, y)
    in_torch = losses_of(WEIGHTS)(single, Examples(x, y))

    kept: dict[str, torch.Tensor] = {}
    made = made_by_hand(of["model"], x)
    *features, scores = judged_by_hand(of["discriminator"], torch.cat([x, x]), torch.cat([y, made]), kept)
    pixels, word = (made - y).abs().mean(), -scores[BATCH:].mean()
    matched = torch.stack([(h[BATCH:] - h[:BATCH]).abs().mean() for h in features]).mean()
    losses = {
        "loss": 10 * pixels + 0.2 * word + 2 * matched,
        "discriminator": (1 - scores[:BATCH]).clamp(min=0).mean() + (1 + scores[BATCH:]).clamp(min=0).mean(),
        "pixels": pixels, "adversarial": word, "features": matched,
    }  # fmt: skip
    assert told.keys() == losses.keys()
    for name, loss in losses.items():
        assert in_torch[name].item() == pytest.approx(loss.item(), abs=1e-5)  # one meaning
        assert_as_near_as_torch(name, torch.tensor(told[name]), in_torch[name].detach(), loss.detach())
    found = step.compiled.gradients()
    for net, loss in (("model", "loss"), ("discriminator", "discriminator")):
        leaves = {name: t for name, t in of[net].items() if not name.endswith(("_u", "_v"))}
        exact = torch.autograd.grad(losses[loss], list(leaves.values()), retain_graph=True)
        gradients = dict(zip(leaves, exact, strict=True))
        for name, parameter in vars(single)[net].named_parameters():
            (torchs,) = torch.autograd.grad(in_torch[loss], parameter, retain_graph=True)
            terms = None
            if float(gradients[name].norm()) < 1e-12:  # of a bias whose terms cancel; those of its filters do not
                terms = next(
                    g for other, g in gradients.items() if other.startswith(name.removesuffix("bias")) and other != name
                )
            assert_as_near_as_torch(f"{net}.{name}", found.pop(f"{net}.{name}"), torchs, gradients[name], terms)
    assert not found
    after = step.nets()
    for name, tensor in kept.items():
        buffer = single.discriminator.get_buffer(name)
        assert_as_near_as_torch(name, after[f"discriminator.{name}"], buffer, tensor)


@pytest.mark.parametrize("build", [Pix2Pix, SpadeGenerator])
def test_what_is_plain_is_painted_without_a_rim(build: type[torch.nn.Module]) -> None:
    """Of a map of one label every pixel is the same, whatever the weights: no convolution sees an edge."""
    torch.manual_seed(0)
    net = build(LABELS, 4).eval()
    for layer in net.modules():
        if isinstance(layer, torch.nn.InstanceNorm2d):
            layer.eps = 1.0  # or what is rounded off in a flat map would be multiplied by 300
    with torch.no_grad():
        made = net(torch.ones(1, SIDE, SIDE))
    torch.testing.assert_close(made, made[:, :, :1, :1].expand_as(made), rtol=0, atol=2.0**-16)


def test_maps_grow_smoothly_where_repeated_pixels_would_leave_a_weave() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    for along in (ramp, ramp.mT):
        assert set(twice(along).diff(dim=3 if along is ramp else 2)[:, :, 1:-1, 1:-1].unique().tolist()) == {0.5}


def test_least_squares_and_weights_are_what_they_say() -> None:
    x, y, _ = vars(batch_of(2)).values()
    nets = build_beside(ADVERSARIAL, WEIGHTS, FACTS, 0)
    nets = type("Nets", (), {"model": Pix2Pix(LABELS, 8, 2).eval(), "discriminator": nets["discriminator"].eval()})
    batch = Examples(x, y)
    with torch.no_grad():
        squares = losses_of(WEIGHTS | {"adversarial_loss": "least-squares"})(nets, batch)
        alone = losses_of(WEIGHTS | {"adversarial_weight": 0.0, "feature_weight": 0.0})(nets, batch)
        real, made = (nets.discriminator(x, picture)[-1] for picture in (y, nets.model(x)))
    torch.testing.assert_close(squares["discriminator"], ((real - 1) ** 2).mean() / 2 + (made**2).mean() / 2)
    torch.testing.assert_close(squares["adversarial"], ((made - 1) ** 2).mean())
    torch.testing.assert_close(alone["loss"], 10 * alone["pixels"])


def test_spade_scales_and_moves_each_place_by_what_the_map_says() -> None:
    layer, x = Spade(6, LABELS), torch.randn(2, 6, 8, 8)
    maps = F.one_hot(batch_of(2).x.long(), LABELS).permute(0, 3, 1, 2).float()
    h = F.relu(layer.shared(F.interpolate(maps, (8, 8), mode="nearest")))
    middle, spread = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, correction=0)
    wanted = (x - middle) / (spread + 1e-5).sqrt() * (1 + layer.gamma(h)) + layer.beta(h)
    torch.testing.assert_close(layer(x, maps), wanted)
    made = SpadeGenerator(LABELS, 4)(batch_of(2).x)
    assert made.shape == (2, 3, SIDE, SIDE)
    assert 0 <= float(made.detach().min()) < float(made.detach().max()) <= 1


def test_a_stopped_run_goes_on_to_the_same_bits_in_both_nets_and_makes_pictures(
    scenes: Path, tiny: Task, tmp_path: Path
) -> None:
    whole = train(options(scenes), tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(options(scenes), tmp_path / "run", StopAt(6))
    resume(tiny, tmp_path / "run", {})
    run = whole.run
    assert_same_run(tmp_path / "run", run)
    names = read_tensors(run / "checkpoint.safetensors")[0].keys()
    assert {"discriminator.score.bias", "discriminator.score.parametrizations.weight.0._u"} <= names
    assert "optimizer.exp_avg.discriminator.score.bias" in names
    losses = ["discriminator", "pixels", "adversarial", "features"]
    assert list(metrics(run)[0]) == ["epoch", "step", "loss", *losses, "L1", "texture"]
    assert metrics(run)[1]["pixels"] < metrics(run)[0]["pixels"]
    rivals = whole.summary["baseline"]["rivals"]
    assert {tuple(values) for values in rivals.values()} == {("L1", "texture")}
    found = measure(tiny, run)
    assert sum(line.startswith("  ") and "texture" in line for line in found.lines) == len(rivals) == 2
    for name in ("made.png", "map.png"):
        assert Image.open(run / name).size[0] >= SIDE
    (answer,) = predict(tiny, run, [run / "map.png"])
    assert answer.note == {"width": SIDE, "height": SIDE}
    told = CliRunner().invoke(main, ["infer", str(run), str(run / "map.png"), "--out", str(tmp_path / "out")])
    assert told.exit_code == 0, told.output
    assert f"made a picture of {SIDE} x {SIDE} pixels" in told.output
    assert Image.open(tmp_path / "out" / "map-made.png").size == (SIDE, SIDE)
    assert json.loads((tmp_path / "out" / "answers.json").read_text())[0]["width"] == SIDE

    ids = np.zeros((8, 8), np.uint8)
    ids[3, 5] = LABELS
    Image.fromarray(ids).save(tmp_path / "beyond.png")
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(tmp_path / "colours.png")
    Image.fromarray(ids).save(tmp_path / "lossy.jpg")
    beyond, colours, lossy = predict(tiny, run, [tmp_path / n for n in ("beyond.png", "colours.png", "lossy.jpg")])
    assert f"has the id {LABELS} at column 5, row 3; the run has the ids 0 to {LABELS - 1}" in str(beyond)
    assert "holds colours, of which no file tells the classes" in str(colours)
    assert "is a JPG, which changes values; wanted a PNG" in str(lossy)


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ({"adversarial": 0.1}, "--adversarial is for tasks with classes; task 'synthesis' has none"),
        ({"label_smoothing": 0.1}, "--label-smoothing is for tasks with classes; task 'synthesis' has none"),
        ({"pixel_weight": -1.0}, "--pixel-weight must be a finite number from 0; got -1.0"),
        ({"adversarial_loss": "wasserstein"}, "unknown adversarial loss 'wasserstein'"),
        ({"size": 40}, "--size must be a multiple of 16 for model 'pix2pix'; got 40"),
    ],
)
def test_what_makes_no_sense_is_refused(flag: dict[str, float], sentence: str) -> None:
    with pytest.raises(InputError, match=f"^{sentence}"):
        Options.of(SYNTHESIS, **flag)


def test_maps_are_not_changed_as_pictures_are(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--augment flip changes pictures; label-maps has none"):
        train(options(scenes, augment="flip"), tmp_path / "run")


def test_the_distance_is_that_of_scipys_root_and_sees_texture() -> None:
    from scipy.linalg import sqrtm

    random = np.random.RandomState(0)
    a, b = random.standard_normal((50, 5)) @ random.standard_normal((5, 5)), random.standard_normal((40, 5)) + 0.5
    one, other = (np.cov(rows, rowvar=False, bias=True) for rows in (a, b))
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(one + other - 2 * sqrtm(one @ other).real)
    assert frechet(a, b) == pytest.approx(wanted, rel=1e-9)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet(a[:2], b[:3]) >= 0  # covariances of less than full rank
    assert frechet(a, a + 2) == pytest.approx(4 * 5)
    flat, rough = torch.full((6, 3, 32, 32), 0.5), torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    other = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert textures(flat).shape == (6, 48)
    assert np.abs(textures(flat)).max() < 1e-12
    assert texture_distance(rough, other) < 0.05 * texture_distance(flat, other)
    assert mean_difference(flat, flat + 0.25) == pytest.approx(0.25)


def test_what_a_sceptic_would_make_of_maps() -> None:
    x = torch.tensor([[[0.0, 0.0], [1.0, -1.0]], [[1.0, 1.0], [1.0, 0.0]]])
    y = torch.zeros(2, 3, 2, 2)
    y[0, :, 0] = torch.tensor([0.2, 0.4])
    y[1] = 0.6
    train_part = Examples(x, y)
    test = Examples(torch.tensor([[[0.0, 1.0], [2.0, -1.0]]]), torch.zeros(1, 3, 2, 2))
    zero, one, all_ = (0.2 + 0.4 + 0.6) / 3, (0.0 + 3 * 0.6) / 4, (0.2 + 0.4 + 4 * 0.6) / 8
    wanted = torch.tensor([[zero, one], [all_, all_]]).expand(1, 3, 2, 2)
    torch.testing.assert_close(mean_colours(train_part, test, 3), wanted)
    assert torch.equal(nearest_maps(train_part, Examples(x[1:], y[1:])), y[1:])
    many, few = batch_of(8), batch_of(3, 1)
    found = best_rival(FACTS, many, few, {})
    assert found.value == found.rivals[found.words]["texture"]
    assert (
        found.rivals["each label's mean colour"]["L1"]
        < found.rivals["the photograph of the nearest training map"]["L1"]
    )


def test_colours_are_clustered_as_k_means_says_and_parts_share_no_label_map() -> None:
    random = np.random.RandomState(0)
    middles = np.array([[0.1, 0.1, 0.1], [0.5, 0.2, 0.1], [0.9, 0.8, 0.9]])
    colours = middles[random.randint(3, size=600)] + 0.02 * random.standard_normal((600, 3))
    found = cluster(colours, 3)
    np.testing.assert_allclose(found, middles, atol=0.01)
    own = nearest(colours, found)
    np.testing.assert_allclose(found, [colours[own == i].mean(0) for i in range(3)])
    assert np.isfinite(cluster(np.ones((9, 3)), 4)).all()  # all of one colour

    one, again = (load_data("colour-maps", None, MapReader(SIDE)) for _ in range(2))
    assert one.fingerprint == again.fingerprint
    assert (len(one.train), len(one.test)) == tuple(len(NAMES) * count for count in PIECES.values())
    assert one.facts.classes[: CLUSTERS + 1] == (*(f"cat {n + 1}" for n in range(CLUSTERS)), "coffee 1")
    assert "are made" in one.remarks[0]
    for part in (one.train, one.test):
        each = part.x.view(len(NAMES), -1) // CLUSTERS
        assert torch.equal(
            each, torch.arange(len(NAMES))[:, None].expand_as(each).float()
        )  # labels of their own photograph
        assert 0 <= float(part.y.min()) < float(part.y.max()) <= 1


def test_maps_of_digits_are_the_masks_of_mosaics_and_their_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tritoncnn.data.mosaics.PICTURES", {"train": 5, "test": 2})
    maps, mosaics = load_data("digit-maps", None, MapReader(SIDE)), load_data("mosaics", None, ColourReader(SIDE))
    assert maps.facts.classes == mosaics.facts.classes
    assert "are made" in maps.remarks[0]
    for part, other in ((maps.train, mosaics.train), (maps.test, mosaics.test)):
        assert torch.equal(part.x, other.y.float())
        np.testing.assert_allclose(part.y.numpy(), mosaics.facts.restore(other.x), atol=1e-6)


def test_facades_and_cityscapes_are_read(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    for number in range(5):
        ids = np.kron(random.randint(1, 13, (3, 5)), np.ones((8, 8))).astype(np.uint8)
        ids[0] = [*range(1, 13)] * 3 + [255] * 4
        Image.fromarray(ids).save(tmp_path / f"cmp_b000{number}.png")
        Image.fromarray(np.repeat(ids[:, :, None] * 20, 3, 2)).save(tmp_path / f"cmp_b000{number}.jpg")
    found = load_data("label-maps", tmp_path, MapReader(SIDE))
    assert found.facts.classes == tuple(map(str, range(13)))
    assert (len(found.train), len(found.test)) == (4, 1)
    assert found.train.x.shape == (4, SIDE, SIDE)
    assert found.train.y.shape == (4, 3, SIDE, SIDE)
    known = found.train.x > 0
    shades = (found.train.y[:, 0] * 255 / 20).round()
    assert float((shades[known] == found.train.x[known]).float().mean()) > 0.5  # map and photograph are cut alike

    city = tmp_path / "city"
    for part, town in (("train", "aachen"), ("val", "ulm")):
        for kind, values in (("leftImg8bit", np.zeros((16, 32, 3))), ("gtFine_labelIds", np.full((16, 32), 7))):
            folder = city / kind.partition("_")[0] / part / town
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint8)).save(folder / f"{town}_0_0_{kind}.png")
    found = load_data("label-maps", city, MapReader(SIDE))
    assert found.facts.classes[:2] == ("road", "sidewalk")
    assert torch.equal(found.test.x, torch.zeros(1, SIDE, SIDE))

    read = MapReader(8).of(found.facts)  # maps that are handed to a trained net mean what those of its training meant
    ids, places = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    ids[:] = [0, 7, 8, 11, 26, 33, 255, 3]
    places[:] = [255, 0, 1, 2, 13, 18, 255, 255]
    for name, values in (("ulm_1_gtFine_labelIds", ids), ("ulm_1_gtFine_labelTrainIds", places), ("mine", places)):
        Image.fromarray(values).save(tmp_path / f"{name}.png")
        assert read(tmp_path / f"{name}.png")[3].tolist() == [-1, 0, 1, 2, 13, 18, -1, -1], name
    Image.fromarray(ids).save(tmp_path / "ids.png")
    with pytest.raises(DataError, match="ids.png has the id 26 at column 4, row 0; the run has the ids 0 to 18"):
        read(tmp_path / "ids.png")


def test_maps_in_black_and_white_are_of_two_labels_in_training_and_in_use(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path, 3)
    ids = np.kron(np.eye(8, dtype=np.uint8), np.ones((SIDE // 8, SIDE // 8), np.uint8))
    for number in range(3):
        Image.fromarray(ids * 255).resize((32, 32), Image.Resampling.NEAREST).save(scenes / "labels" / f"{number}.png")
    found = load_data("label-maps", scenes, MapReader(SIDE))
    assert found.facts.classes == ("background", "foreground")
    assert np.array_equal(found.train.x[0].numpy(), ids)
    Image.fromarray(ids).save(tmp_path / "numbers.png")
    for path in (scenes / "labels" / "0.png", tmp_path / "numbers.png"):
        assert np.array_equal(MapReader(SIDE).of(found.facts)(path), ids)


def test_folders_with_something_broken_are_told_in_one_sentence(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path / "data", 3)

    def refused(sentence: str) -> None:
        with pytest.raises(DataError, match=sentence):
            load_data("label-maps", scenes, MapReader(SIDE))

    with pytest.raises(
        DataError, match="data set 'label-maps' holds label maps; the task reads its pictures in another"
    ):
        load_data("label-maps", scenes, find_task("resnet").read)
    good = (scenes / "labels" / "0.png").read_bytes()
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(scenes / "labels" / "0.png")
    refused("0.png is 9 x 8; its picture .*0.png is 32 x 32")
    (scenes / "labels" / "0.png").write_bytes(good[:100])
    refused("0.png")
    (scenes / "labels" / "0.png").unlink()
    refused(r"1 picture \(.*0.png\) has no mask beside it")
    (scenes / "labels" / "0.png").write_bytes(good)
    for i in range(3):
        Image.fromarray(np.full((SIDE, SIDE), 3, np.uint8)).save(scenes / "labels" / f"{i}.png")
    refused(r"have the ids \[3\]; wanted those of at least 2 labels")
    (scenes / "classes.txt").write_text("sky\nroof\n")
    refused("has the id 3 at column 0, row 0; .*classes.txt has the ids 0 to 1")
