"""Depth from one picture: what the loss and the measures are, and the whole road from a folder to maps of 16 bits."""

from __future__ import annotations

import copy
import io
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import tritoncnn
from tests.computing import Computing, assert_as_near_as_torch, assert_gradients_as_near_as_torchs, assert_same_meaning
from tests.data.boxed import save
from tests.train.runs import assert_goes_on
from tritoncnn.data import Examples, Facts, load_data
from tritoncnn.data.boxes import FittedReader
from tritoncnn.data.chambers import make_views
from tritoncnn.data.depths import read_depth
from tritoncnn.data.materials import Patterns
from tritoncnn.errors import DataError, InputError
from tritoncnn.models.depthnet import DepthNet
from tritoncnn.task import Ask, Side, Task
from tritoncnn.tasks import find_task
from tritoncnn.tasks.kinds.depth import abs_rel, delta1, depth_loss, mean_depth, mean_logs, rmse, scaled, tell_depths
from tritoncnn.tasks.kinds.depth_pictures import coloured, own_pixels
from tritoncnn.train import Options, measure, predict, train
from tritoncnn.train.answers import write_answers

SIDE, BATCH = 32, 4
FACTS = Facts((), (0.5,) * 3, (0.25,) * 3)


def tiny() -> Task:
    """The task with a net of a few channels."""
    return replace(
        find_task("depth"),
        models={"depthnet": lambda facts: DepthNet(3, (4, 8, 8))},
        read=FittedReader(SIDE),
        sides={"depthnet": Side(SIDE, SIDE)},
    )


def drawn(count: int, share: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """Logarithms and depths f32[count,5,6], of which a share is not known."""
    random = np.random.RandomState(0)
    depth = random.uniform(0.5, 9, (count, 5, 6)) * (random.uniform(size=(count, 5, 6)) > share)
    return torch.from_numpy(random.normal(1, 0.6, (count, 5, 6))).float(), torch.from_numpy(depth).float()


def loss_by_hand(logs: torch.Tensor, depth: torch.Tensor) -> float:
    """Pixel by pixel, in f64."""
    losses = []
    for said, true in zip(logs.double().tolist(), depth.double().tolist(), strict=True):
        d = {(i, j): said[i][j] - math.log(t) for i, row in enumerate(true) for j, t in enumerate(row) if t > 0}
        if not d:
            continue
        total = sum(v * v for v in d.values())
        for (i, j), value in d.items():
            total += sum((value - d[place]) ** 2 for place in ((i, j - 1), (i - 1, j)) if place in d)
        losses.append(total / len(d) - 0.5 * (sum(d.values()) / len(d)) ** 2)
    return sum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_the_loss_is_that_of_a_loop_over_pixels_and_its_gradient_is_finite(share: float) -> None:
    logs, depth = drawn(4, share)
    depth[1] = 0  # nothing is known of a picture
    logs.requires_grad_()
    loss = depth_loss(logs, depth)
    assert loss.item() == pytest.approx(loss_by_hand(logs.detach(), depth), rel=1e-5, abs=1e-7)
    loss.backward()
    assert logs.grad is not None
    assert bool(logs.grad.isfinite().all())
    assert bool((logs.grad[depth == 0] == 0).all())


def test_a_wrong_scale_costs_half_of_what_a_wrong_shape_costs() -> None:
    depth = torch.full((1, 8, 8), 2.0)
    assert float(depth_loss(torch.log(depth), depth)) == pytest.approx(0, abs=1e-9)
    assert float(depth_loss(torch.log(depth * 3), depth)) == pytest.approx(0.5 * math.log(3) ** 2, rel=1e-5)
    bent = torch.log(depth) + torch.tensor([-0.1, 0.1]).repeat(4)
    assert float(depth_loss(bent, depth)) == pytest.approx(0.01 + 0.04 * 7 / 8, rel=1e-5)


def test_measures_are_those_of_their_definitions_and_pass_over_what_is_not_known() -> None:
    logs, depth = drawn(3)
    known = (depth > 0).numpy()
    said, true = np.exp(logs.double().numpy())[known], depth.double().numpy()[known]
    right = [max(s / t, t / s) < 1.25 for s, t in zip(said, true, strict=True)]
    assert delta1(logs, depth) == pytest.approx(sum(right) / len(right))
    assert abs_rel(logs, depth) == pytest.approx(
        sum(abs(s - t) / t for s, t in zip(said, true, strict=True)) / len(true)
    )
    assert rmse(logs, depth) == pytest.approx(
        math.sqrt(sum((s - t) ** 2 for s, t in zip(said, true, strict=True)) / len(true))
    )
    assert [measure(logs, depth * 0) for measure in (delta1, abs_rel, rmse)] == [0, 0, 0]
    exact = torch.log(depth.clamp(min=1e-6))
    assert delta1(exact + math.log(1.24), depth) == 1
    assert delta1(exact - math.log(1.26), depth) == 0


def test_scaling_makes_the_medians_equal_and_changes_nothing_else() -> None:
    logs, depth = drawn(3)
    depth[1] = 0
    found = scaled(logs, depth)
    assert torch.equal(found[1], logs[1])
    for i in (0, 2):
        known = depth[i] > 0
        assert float(found[i][known].median()) == pytest.approx(float(depth[i][known].log().median()), abs=1e-5)
        torch.testing.assert_close(found[i] - found[i].mean(), logs[i] - logs[i].mean())
    assert delta1(scaled(torch.log(depth.clamp(min=1e-6) * 7), depth), depth) == 1


def test_the_baseline_is_the_mean_of_what_is_known_of_each_pixel() -> None:
    depth = torch.tensor([[[1.0, 0, 4]], [[3.0, 0, 0]]])
    torch.testing.assert_close(mean_logs(depth).exp(), torch.tensor([[[2.0, 8 / 3, 4.0]]]))
    test = Examples(torch.zeros(1, 3, 1, 3), torch.tensor([[[2.4, 8.0, 0.0]]]))
    found = mean_depth(FACTS, Examples(torch.zeros(2, 3, 1, 3), depth), test, {})
    assert found is not None
    assert found.value == 0.5
    assert mean_depth(FACTS, Examples(test.x[:0], test.y[:0]), test, {}) is None


def test_the_report_tells_near_from_far_and_a_wrong_scale_from_a_wrong_shape() -> None:
    _, depth = drawn(2)
    depth[0, 0, 0] = 0.7
    note = tell_depths(torch.log(depth.clamp(min=1e-6)) + math.log(2), Examples(depth, depth), FACTS).note
    assert [row["delta1"] for row in note["depths"]] == [0, 1]
    assert note["depths"][0]["abs_rel"] == pytest.approx(1)
    assert note["depths"][0]["rmse_log"] == pytest.approx(math.log(2))
    assert sum(row["share"] for row in note["ranges"]) == pytest.approx(1)
    assert [row["from"] for row in note["ranges"]] == [0, 1, 2, 4, 8]


def reference(weights: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The net in training mode, written down again from its description, with the same names of weights."""

    def conv(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        w = weights[f"{name}.weight"]
        return F.conv2d(x, w, weights.get(f"{name}.bias"), stride, w.shape[-1] // 2)

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
        scale, shift = (weights[f"{name}.{part}"][:, None, None] for part in ("weight", "bias"))
        return (x - mean) / torch.sqrt(var + 1e-5) * scale + shift

    maps = [x, torch.relu(norm("encoder.bn1", conv("encoder.conv1", x, 2)))]
    for i in range(2):
        at, before = f"encoder.layers.{i}", maps[-1]
        y = torch.relu(norm(f"{at}.bn1", conv(f"{at}.conv1", before, 2)))
        y = norm(f"{at}.bn2", conv(f"{at}.conv2", y))
        maps.append(torch.relu(y + norm(f"{at}.downsample.1", conv(f"{at}.downsample.0", before, 2))))
    y = maps.pop()
    for i, skip in enumerate(reversed(maps)):
        doubled = y.repeat_interleave(2, 2).repeat_interleave(2, 3)
        at = f"decoder.blocks.{i}"
        y = torch.relu(norm(f"{at}.1", conv(f"{at}.0", torch.cat([doubled, skip], 1))))
    return conv("decoder.head", y)[:, 0]


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    views = [view for seed in range(BATCH // 2) for view in make_views(seed, SIDE, 2, Patterns(test=False))]
    x, y = FACTS.normalise(np.stack([v.picture for v in views])), torch.from_numpy(np.stack([v.depth for v in views]))
    y[0, :, :9] = 0
    return x, y


def test_a_step_is_that_of_torch_and_launches_of_our_kernels_alone() -> None:
    torch.manual_seed(0)
    x, y = batch()
    net = DepthNet(3, (4, 8, 8))
    twin = copy.deepcopy(net)
    exact = {name: value.detach().double().requires_grad_() for name, value in net.named_parameters()}
    outputs = reference(exact, x.double())
    assert_same_meaning(copy.deepcopy(net).double()(x.double()), outputs)
    loss = depth_loss(outputs, y.double())
    loss.backward()
    single = depth_loss(twin(x), y)
    single.backward()
    step = tritoncnn.compile_step(net, depth_loss, tritoncnn.SGD(lr=0.01), (x, y))
    with Computing() as mode:
        first = step(x, y)
    assert mode.seen == []
    assert_as_near_as_torch("loss", first, single.detach(), loss.detach())
    assert_gradients_as_near_as_torchs(step.gradients(), twin, exact)


def write_folder(place: Path, rooms: int) -> None:
    patterns = Patterns(test=False)
    for room in range(rooms):
        for number, view in enumerate(make_views(room, SIDE, 2, patterns)):
            save(
                place / "rgb" / f"{room}_{number}.png", (view.picture.transpose(1, 2, 0) * 255).round().astype(np.uint8)
            )
            save(place / "depth" / f"{room}_{number}.png", (view.depth * 1000).round().astype(np.uint16))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on a folder of made rooms, which lies beside it."""
    place = tmp_path_factory.mktemp("depth")
    write_folder(place / "data", 10)
    return train(options_for(place / "data"), place / "run").run


def options_for(data: Path, **more: object) -> Options:
    return Options.of(tiny(), data="depths", data_dir=str(data), epochs=2, batch_size=BATCH, **more)


def test_a_folder_is_learned_and_drawn_and_pictures_of_any_size_get_maps_of_their_own_size(
    run: Path, tmp_path: Path
) -> None:
    task = tiny()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[1]["loss"] < rows[0]["loss"]
    summary = json.loads((run / "summary.json").read_text())
    assert summary["baseline"]["metric"] == "delta1"
    with Image.open(run / "depths.png") as picture:
        assert picture.size[0] > 600
    sizes = {"wide": (50, 30), "high": (7, 40), "dot": (1, 1), "grey": (64, 64)}
    for name, size in sizes.items():
        Image.new("L" if name == "grey" else "RGB", size, 90).save(tmp_path / f"{name}.png")
    files = [tmp_path / f"{name}.png" for name in sizes]
    answers = predict(task, run, files)
    done = [(path.name, path, answer) for path, answer in zip(files, answers, strict=True)]
    written = write_answers(tmp_path / "out", [], done, task.view)  # type: ignore[arg-type]
    assert len(written) == 1 + 2 * len(sizes)
    for name, size in sizes.items():
        depth = read_depth(tmp_path / "out" / f"{name}-depth.png")
        assert depth.shape == size[::-1]
        assert (depth > 0).all()
        with Image.open(tmp_path / "out" / f"{name}-answer.png") as picture:
            assert picture.width > picture.height * size[0] / size[1] * 1.9


def test_a_run_that_was_stopped_ends_with_the_same_bits(run: Path, tmp_path: Path) -> None:
    assert_goes_on(tiny(), options_for(run.parent / "data"), run, tmp_path)


def test_a_run_whose_pictures_stay_on_disk_has_the_same_bits(run: Path, tmp_path: Path) -> None:
    assert_goes_on(tiny(), options_for(run.parent / "data", stream=True), run, tmp_path)


def test_answers_are_cut_out_of_what_was_fitted_and_say_metres() -> None:
    depth = np.tile(np.linspace(1, 3, 8, dtype=np.float32), (8, 1))
    depth[4:] = 50  # below a picture of 16 x 8 there is nothing
    assert own_pixels(depth, (16, 8)).max() <= 3.001
    (answer,) = find_task("depth").answer(torch.from_numpy(depth)[None].log(), FACTS, Ask(1))
    assert answer.within is not None
    own = answer.within(16, 8)
    assert own.note["depth"]["near"] == pytest.approx(1, abs=1e-3)
    assert own.note["depth"]["far"] == pytest.approx(3, abs=1e-3)
    assert own.lines[0].startswith("from 1.00 to 3.00 m, 2.00 m in the median")
    with Image.open(io.BytesIO(own.files["depth.png"]())) as picture:
        assert picture.size == (16, 8)
        assert np.asarray(picture).max() == pytest.approx(3000, abs=1)


def test_near_is_light_far_is_dark_and_what_is_not_known_is_black() -> None:
    found = coloured(np.array([[1.0, 2, 4, 0]], np.float32), 1, 4).astype(int).sum(-1)[0]
    assert found[0] > found[1] > found[2] > found[3] == 0


def test_maps_are_of_the_size_that_is_asked_for() -> None:
    x, y, _ = find_task("depth").example_at(2, 48)
    assert x.shape == (2, 3, 48, 48)
    assert y.shape == (2, 48, 48)
    assert bool((y > 0).all())


def test_a_run_is_measured_on_another_data_set_of_its_task_against_what_it_could_know(
    run: Path, tmp_path: Path
) -> None:
    note = measure(tiny(), run, data="motorcycle", out=tmp_path).note
    assert (note["data"], note["examples"]) == ("motorcycle", 1)
    task = tiny()
    data, other = (
        load_data(name, place, task.read) for name, place in (("depths", run.parent / "data"), ("motorcycle", None))
    )
    wanted = mean_depth(data.facts, data.train, other.test, {})
    assert wanted is not None
    assert note["baseline"]["value"] == wanted.value
    assert [row["depths"] for row in note["depths"]] == ["as it is", "scaled to the true median"]
    assert note["depths"][0]["delta1"] == pytest.approx(note["metrics"]["delta1"])
    with pytest.raises(DataError, match="^motorcycle has no train part$"):
        measure(tiny(), run, data="motorcycle", part="train", out=tmp_path)
    with pytest.raises(InputError, match="^unknown data set of task depth 'mnist'; known: rooms, depths, motorcycle$"):
        measure(tiny(), run, data="mnist", out=tmp_path)


def test_what_has_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="^motorcycle is for testing only: it has no training examples$"):
        train(Options.of(tiny(), data="motorcycle"), tmp_path / "run")
