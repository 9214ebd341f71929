"""One encoder with three decoders: what each head's answer is worth, alone and in the sum, and the whole road on few rooms."""

from __future__ import annotations

import copy
import json
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
from tests.train.runs import StopAt
from tritoncnn.data import Examples, Facts, rooms_depth
from tritoncnn.data.chambers import PARTS
from tritoncnn.data.depths import read_depth
from tritoncnn.data.rooms_parts import GreyReader, chroma, luma, to_rgb
from tritoncnn.errors import InputError
from tritoncnn.models.trunk import HEADS, Trunk
from tritoncnn.task import Side, Task
from tritoncnn.tasks import find_task
from tritoncnn.tasks.kinds.depth import delta1
from tritoncnn.tasks.kinds.three_answers import MEASURES, WEIGHTS, constant_maps, iou_of, score, summed_loss
from tritoncnn.train import Interrupted, Options, predict, resume, train
from tritoncnn.train.answers import write_answers
from tritoncnn.train.checkpoint import _history

SIDE, BATCH = 32, 4
FACTS = Facts(PARTS, (0.5,), (0.25,))


def tiny() -> Task:
    """The task with a net of a few channels."""
    task = find_task("trunk")

    def build(facts: Facts, heads: str) -> torch.nn.Module:
        return Trunk(1, len(PARTS), HEADS if heads == "all" else heads.split("+"), (4, 8))

    return replace(task, models={"trunk": build}, read=GreyReader(SIDE), sides={"trunk": Side(SIDE, SIDE)})


def drawn(count: int, side: int = 4) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Outputs of all heads, and targets of which some pixels are not known."""
    torch.manual_seed(0)
    outputs = {
        "parts": torch.randn(count, len(PARTS), side, side),
        "depth": torch.randn(count, side, side),
        "colour": torch.randn(count, 2, side, side) * 0.1,
    }
    known = torch.rand(count, side, side) > 0.2
    target = {
        "parts": torch.where(known, torch.randint(0, len(PARTS), (count, side, side)), -1),
        "depth": torch.where(known, torch.rand(count, side, side) * 5 + 0.5, 0.0),
        "colour": torch.randn(count, 2, side, side) * 0.1,
    }
    return outputs, target


def losses_by_hand(outputs: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> dict[str, float]:
    logs = outputs["parts"].double().log_softmax(1)
    chosen = [
        float(-logs[n, target["parts"][n, i, j], i, j])
        for n, i, j in (target["parts"] >= 0).nonzero().tolist()
    ]  # fmt: skip
    total = 0.0
    for said, true in zip(outputs["depth"].double(), target["depth"].double(), strict=True):
        known = true > 0
        d = torch.where(known, said - torch.where(known, true, 1.0).log(), 0.0)
        n = float(known.sum())
        across = ((d[:, 1:] - d[:, :-1])[known[:, 1:] & known[:, :-1]] ** 2).sum()
        down = ((d[1:] - d[:-1])[known[1:] & known[:-1]] ** 2).sum()
        total += float(((d**2).sum() + across + down) / n - 0.5 * (d.sum() / n) ** 2)
    colour = float(((outputs["colour"].double() - target["colour"].double()) ** 2).mean())
    return {"parts": sum(chosen) / len(chosen), "depth": total / len(outputs["depth"]), "colour": colour}


@pytest.mark.parametrize("heads", [HEADS, *((name,) for name in HEADS), ("parts", "colour")])
def test_the_loss_is_the_weighted_sum_over_the_heads_that_there_are(heads: tuple[str, ...]) -> None:
    outputs, target = drawn(3)
    each = losses_by_hand(outputs, target)
    found = summed_loss({name: outputs[name] for name in heads}, target)
    assert float(found) == pytest.approx(sum(WEIGHTS[name] * each[name] for name in heads), rel=1e-5)


def test_measures_are_those_of_their_definitions() -> None:
    outputs, target = drawn(3)
    said, true = outputs["parts"].argmax(1), target["parts"]
    ious = []
    for label in range(len(PARTS)):
        both = sum(int(s == t == label) for s, t in zip(said.flatten(), true.flatten(), strict=True))
        either = sum(int(t != -1 and label in (s, t)) for s, t in zip(said.flatten(), true.flatten(), strict=True))
        ious.append(both / either)
    assert MEASURES["parts"](outputs, target) == pytest.approx(sum(ious) / len(ious))
    assert MEASURES["depth"](outputs, target) == delta1(outputs["depth"], target["depth"])
    off = ((outputs["colour"] - target["colour"]) ** 2).sum(1).sqrt()
    assert MEASURES["colour"](outputs, target) == pytest.approx(float((off < 0.06).float().mean()))
    assert score(outputs, target) == pytest.approx(sum(m(outputs, target) for m in MEASURES.values()) / 3)
    assert score({"depth": outputs["depth"]}, target) == MEASURES["depth"](outputs, target)


def test_parts_that_are_not_there_count_only_where_they_are_said() -> None:
    true = torch.tensor([[[0, 0, 1, -1]]])
    assert iou_of(torch.tensor([[[0, 0, 1, 3]]]), true) == 1
    assert iou_of(torch.tensor([[[0, 5, 1, 3]]]), true) == pytest.approx((1 / 2 + 1) / 2)
    assert iou_of(torch.tensor([[[1, 1, 1, 1]]]), true) == pytest.approx((0 + 1 / 3) / 2)


def test_a_head_that_is_not_there_answers_as_if_it_knew_nothing() -> None:
    _, target = drawn(2)
    nothing = {"parts": torch.zeros(2, 6, 4, 4), "depth": torch.zeros(2, 4, 4), "colour": torch.zeros(2, 2, 4, 4)}
    for name, measure in MEASURES.items():
        without = {other: values for other, values in nothing.items() if other != name}
        assert measure(without, target) == measure(nothing, target)


def test_the_baseline_is_one_answer_for_all_pictures() -> None:
    y = {
        "parts": torch.tensor([[[0, 1]], [[0, 2]], [[3, 2]]]),
        "depth": torch.tensor([[[1.0, 2.0]], [[3.0, 2.0]], [[2.0, 0.0]]]),
        "colour": torch.tensor([[[[0.0, 0.3]], [[0.0, 0.0]]]] * 3),
    }
    train = Examples(torch.zeros(3, 1, 1, 2), y)
    test = Examples(torch.zeros(1, 1, 1, 2), {name: values[:1] for name, values in y.items()})
    found = {heads: constant_maps(FACTS, train, test, {"heads": heads}) for heads in ("all", "parts+colour", *HEADS)}
    parts, depth, colour = 1 / 2, 1 / 2, 1.0  # 0 and 2 for 0 and 1; 2 and 2 metres for 1 and 2; the colours
    assert {heads: one.value for heads, one in found.items()} == pytest.approx(
        {
            "all": (parts + depth + colour) / 3,
            "parts+colour": (parts + colour) / 2,
            "parts": parts,
            "depth": depth,
            "colour": colour,
        }
    )
    assert [one.words for one in found.values()] == [
        "each pixel's usual part, mean depth and mean colour (50.00%, 50.00%, 100.00%)",
        "each pixel's usual part and mean colour (50.00%, 100.00%)",
        "each pixel's usual part",
        "each pixel's mean depth",
        "each pixel's mean colour",
    ]


def test_grey_and_colour_make_the_picture_again() -> None:
    picture = np.random.RandomState(0).uniform(size=(2, 3, 5, 4)).astype(np.float32)
    np.testing.assert_allclose(to_rgb(luma(picture), chroma(picture)), picture, atol=1e-5)
    grey = np.repeat(picture[:, :1], 3, 1)
    np.testing.assert_allclose(luma(grey), grey[:, 0], rtol=1e-5)
    np.testing.assert_allclose(chroma(grey), 0, atol=1e-6)
    assert np.abs(chroma(picture)).max() <= 0.5


@pytest.mark.parametrize("heads", ["all", "depth", "parts+colour"])
def test_a_net_has_the_heads_that_are_asked_for_on_one_encoder(heads: str) -> None:
    net = find_task("trunk").builder("trunk", {"heads": heads})(FACTS).eval()
    names = HEADS if heads == "all" else tuple(heads.split("+"))
    with torch.no_grad():
        found = net(torch.zeros(2, 1, SIDE, SIDE))
    shapes = {"parts": (2, len(PARTS), SIDE, SIDE), "depth": (2, SIDE, SIDE), "colour": (2, 2, SIDE, SIDE)}
    assert {name: tuple(values.shape) for name, values in found.items()} == {name: shapes[name] for name in names}
    encoders = {name.split(".")[0] for name in net.state_dict()}
    assert encoders == {"encoder", "heads"}
    assert {name.split(".")[1] for name in net.state_dict() if name.startswith("heads")} == set(names)


def test_heads_and_classes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match="unknown heads 'part'; did you mean"):
        Options.of(find_task("trunk"), heads="part")
    with pytest.raises(InputError, match=r"classes must be a list of 1 or more names; got \[\]"):
        find_task("trunk").builder("trunk", {"heads": "all"})(Facts((), (0.0,), (1.0,)))


def reference(weights: Mapping[str, torch.Tensor], x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The net of two sizes in training mode, written down again from its description, with the same names of weights."""

    def conv(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        w = weights[f"{name}.weight"]
        return F.conv2d(x, w, weights.get(f"{name}.bias"), stride, w.shape[-1] // 2)

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(x, None, None, weights[f"{name}.weight"], weights[f"{name}.bias"], training=True)

    half = torch.relu(norm("encoder.bn1", conv("encoder.conv1", x, 2)))
    at = "encoder.layers.0"
    y = norm(f"{at}.bn2", conv(f"{at}.conv2", torch.relu(norm(f"{at}.bn1", conv(f"{at}.conv1", half, 2)))))
    quarter = torch.relu(y + norm(f"{at}.downsample.1", conv(f"{at}.downsample.0", half, 2)))
    found = {}
    for name in HEADS:
        y = quarter
        for i, skip in enumerate((half, x)):
            block = f"heads.{name}.blocks.{i}"
            joined = torch.cat([F.interpolate(y, scale_factor=2, mode="nearest"), skip], 1)
            y = torch.relu(norm(f"{block}.1", conv(f"{block}.0", joined)))
        y = conv(f"heads.{name}.head", y)
        found[name] = y[:, 0] if name == "depth" else y
    return found


@pytest.fixture(scope="module")
def few() -> object:
    """Few rooms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(rooms_depth.ROOMS, "train", 4)
        patch.setitem(rooms_depth.ROOMS, "test", 1)
        yield


def options() -> Options:
    return Options.of(tiny(), epochs=2, batch_size=BATCH)


@pytest.fixture(scope="module")
def run(few: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(options(), tmp_path_factory.mktemp("trunk") / "run").run


def test_a_step_is_that_of_torch_and_launches_of_our_kernels_alone(few: None) -> None:
    torch.manual_seed(0)
    task = tiny()
    net = task.builder("trunk", {"heads": "all"})(FACTS)
    taken = load_parts_of(task).take(slice(BATCH))
    x, y = taken.x, taken.y
    twin = copy.deepcopy(net)
    exact = {name: value.detach().double().requires_grad_() for name, value in net.named_parameters()}
    outputs, same = reference(exact, x.double()), copy.deepcopy(net).double()(x.double())
    for name, values in outputs.items():
        assert_same_meaning(same[name], values)
    loss = summed_loss(
        outputs, {n: values.double() if values.is_floating_point() else values for n, values in y.items()}
    )
    loss.backward()
    single = summed_loss(twin(x), y)
    single.backward()
    step = tritoncnn.compile_step(net, summed_loss, tritoncnn.SGD(lr=0.01), (x, y))
    with Computing() as mode:
        first = step(x, y)
        seen = list(mode.seen)
    assert set(seen) <= {"aten::_local_scalar_dense", "aten::aminmax"}  # are all classes in range?
    assert_as_near_as_torch("loss", first, single.detach(), loss.detach())
    assert_gradients_as_near_as_torchs(step.gradients(), twin, exact)


def load_parts_of(task: Task) -> Examples:
    from tritoncnn.data import load_data

    return load_data("room-parts", None, task.read).train


def test_few_rooms_are_learned_and_drawn_and_pictures_get_maps_of_their_own_size(run: Path, tmp_path: Path) -> None:
    task = tiny()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[1]["loss"] < rows[0]["loss"]
    assert rows[1]["score"] == pytest.approx((rows[1]["mIoU"] + rows[1]["delta1"] + rows[1]["near_colour"]) / 3)
    with Image.open(run / "answers.png") as picture:
        assert picture.size[0] > 500
    Image.fromarray(np.random.RandomState(0).randint(0, 255, (30, 50, 3), np.uint8)).save(tmp_path / "a.png")
    (answer,) = predict(task, run, [tmp_path / "a.png"])
    written = write_answers(tmp_path / "out", [], [("a.png", tmp_path / "a.png", answer)], task.view)  # type: ignore[list-item]
    assert [path.name for path in written] == ["answers.json", "a-answer.png", "a-depth.png"]
    assert read_depth(tmp_path / "out" / "a-depth.png").shape == (30, 50)
    with Image.open(tmp_path / "out" / "a-answer.png") as page:
        assert page.width > 4 * page.height * 50 / 30
    assert sum(answer.note["parts"].values()) == pytest.approx(1, abs=1e-3)  # type: ignore[union-attr]


def test_a_run_that_was_stopped_ends_with_the_same_bits(run: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(options(), tmp_path / "run", StopAt(3))
    resume(tiny(), tmp_path / "run", {})
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes()


def test_no_metric_is_told_of_a_head_that_a_net_has_not() -> None:
    task = find_task("trunk")
    assert list(task.told({"heads": "all"})) == list(task.metrics)
    assert list(task.told({"heads": "depth"})) == ["test_loss", "score", "delta1"]
    assert list(task.told({"heads": "parts+colour"})) == ["test_loss", "score", "mIoU", "near_colour"]


def test_lines_of_metrics_tell_of_no_head_that_there_is_not() -> None:
    """Nor do those of an older run, whose lines had figures for it."""
    given = Options.of(find_task("trunk"), heads="depth")
    assert given.columns == ("epoch", "step", "loss", "test_loss", "score", "delta1")
    line = dict.fromkeys(find_task("trunk").columns, 1.0)
    assert (
        _history(given, [line, {name: line[name] for name in given.columns}])
        == (dict.fromkeys(given.columns, 1.0),) * 2
    )
    assert Options.of(find_task("trunk")).columns == find_task("trunk").columns
