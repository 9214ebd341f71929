"""The whole road of detection: files with boxes, a run, answers in the pixels of other pictures; and each part of the loss."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch.nn import functional as F

import tritoncnn
from tests.computing import Computing, assert_as_near_as_torch, assert_gradients_as_near_as_torchs
from tests.data.boxed import save, write_yolo
from tests.train.runs import assert_goes_on
from tritoncnn import train as library
from tritoncnn.commands.infer import infer
from tritoncnn.data import Examples, Facts, load_data, pasted
from tritoncnn.data.boxes import NONE, BoxedPart, FittedReader, class_of, crowd_of, difficult_of, of_crowd, pixels_of
from tritoncnn.errors import InputError
from tritoncnn.models.fcos import FAR, FCOS, Outputs, fcos_resnet50, fcos_small
from tritoncnn.task import Ask
from tritoncnn.tasks import find_task
from tritoncnn.tasks.kinds.detection import Finds, draw_boxes, draw_gallery, find, map50, tell_boxes, tell_precisions
from tritoncnn.tasks.kinds.one_stage import ALPHA, RADIUS, assign, focal, giou, one_stage_loss
from tritoncnn.tasks.kinds.templates import laid_over
from tritoncnn.train import Options

TASK = find_task("detection")
FACTS = Facts(("bar", "square"), (0.4, 0.4, 0.4), (0.2, 0.2, 0.2))
SIDE = 32


def options(folder: Path, **more: object) -> Options:
    given = {"data": "yolo", "data_dir": str(folder), "size": SIDE, "batch_size": 4, "epochs": 2, "lr": 0.01, **more}
    return Options.of(TASK, **given)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("detection")
    return library.train(options(write_yolo(place / "data", 12, 4)), place / "run").run


def test_a_run_draws_what_it_found_and_measures_each_class(run: Path) -> None:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[1]["loss"] < rows[0]["loss"]
    assert all(0 <= row["mAP50_95"] <= row["mAP50"] <= 1 for row in rows)
    assert Image.open(run / "found.png").size > (300, 200)
    found = library.measure(TASK, run)
    assert [row["class"] for row in found.note["classes"]] == ["bar", "square"]
    assert [row["boxes"] for row in found.note["classes"]] == [3, 3]
    assert found.note["metrics"]["mAP50"] == pytest.approx(np.mean([row["AP50"] for row in found.note["classes"]]))
    assert (run / "eval" / "found.png").is_file()


def test_answers_are_told_and_drawn_in_each_form(run: Path, tmp_path: Path) -> None:
    save(tmp_path / "wide.png", np.full((50, 400, 3), 90, np.uint8))
    words = [str(run), str(tmp_path / "wide.png"), "--score", "0", "--top", "3"]
    (row,) = json.loads(CliRunner().invoke(infer, [*words, "--json"]).output)
    assert len(row["boxes"]) == 3
    scores = [box["score"] for box in row["boxes"]]
    assert scores == sorted(scores, reverse=True)
    for box in row["boxes"]:
        x0, y0, x1, y1 = box["box"].values()
        assert 0 <= x0 <= x1 <= 400
        assert 0 <= y0 <= y1 <= 50
    table = CliRunner().invoke(infer, [*words, "--csv"]).output.splitlines()
    assert table[0].startswith("picture,boxes_1_class,boxes_1_score,boxes_1_box_x0,boxes_1_box_y0")
    assert len(table) == 2
    shown = CliRunner().invoke(infer, [*words, "--out", str(tmp_path / "out")])
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) == 5  # the picture, three boxes, what was written
    drawn = np.asarray(Image.open(tmp_path / "out" / "wide-answer.png"))
    assert drawn.shape == (50, 400, 3)
    assert (drawn != 90).any()
    none = CliRunner().invoke(infer, [*words[:2], "--score", "0.99"])
    assert none.output.splitlines()[1].strip() == "nothing found"
    for flag, sentence in {
        "--score=1": "--score must be from 0 and below 1",
        "--top=0": "--top must be at least 1",
    }.items():
        assert sentence in str(CliRunner().invoke(infer, [*words[:2], flag]).exception)


def test_the_same_seed_gives_the_same_bits_and_augmented_runs_learn(run: Path, tmp_path: Path) -> None:
    data = run.parent / "data"
    again = library.train(options(data), tmp_path / "again").run
    assert (again / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    assert (again / "found.png").read_bytes() == (run / "found.png").read_bytes()
    changed = library.train(options(data, augment="flip,crop,colour"), tmp_path / "changed").run
    assert (changed / "model.safetensors").read_bytes() != (run / "model.safetensors").read_bytes()


@pytest.mark.parametrize("augment", ["cutout", "flip,cutout=0.2", "mixup"])
def test_augmentations_that_would_leave_boxes_wrong_are_refused_by_name(augment: str) -> None:
    name = augment.split(",")[-1].split("=")[0]
    with pytest.raises(
        InputError, match=rf"^--augment {name} is not for task 'detection': it would leave its boxes wrong$"
    ):
        Options.of(TASK, augment=augment)
    with pytest.raises(InputError, match="--label-smoothing is for tasks with classes"):
        Options.of(TASK, label_smoothing=0.1)


def batch(seed: int = 0, count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised noise and boxes f32[count,4,5]; the last picture has none."""
    torch.manual_seed(seed)
    low, sides = torch.rand(count, 4, 2) * 0.6, 0.1 + torch.rand(count, 4, 2) * 0.3
    y = torch.cat([torch.randint(-1, 2, (count, 4, 1)).float(), low, low + sides], 2)
    y[-1, :, 0] = -1
    return torch.randn(count, 3, SIDE, SIDE), y


def test_a_step_is_kernels_alone_and_its_loss_and_gradients_are_torchs() -> None:
    x, y = batch()
    net = TASK.models["fcos-small"](FACTS)
    twin, double = copy.deepcopy(net), copy.deepcopy(net).double()
    exact = one_stage_loss(double(x.double()), y.double())
    exact.backward()
    single = one_stage_loss(twin(x), y)
    single.backward()
    step = tritoncnn.compile_step(net, TASK.loss, tritoncnn.SGD(lr=0.01), (x, y))
    with Computing() as mode:
        loss = step(x, y)
    assert mode.seen == []
    assert_as_near_as_torch("loss", loss, single.detach(), exact.detach())
    assert_gradients_as_near_as_torchs(step.gradients(), twin, dict(double.named_parameters()))


def test_a_run_that_was_stopped_ends_with_the_same_bits(run: Path, tmp_path: Path) -> None:
    assert_goes_on(TASK, options(run.parent / "data"), run, tmp_path, step=5)


def slowly(places: torch.Tensor, boxes: torch.Tensor) -> list[int]:
    """The row of ``boxes`` that each place answers for, or -1, word by word."""
    chosen = []
    for x, y, stride, least, most in places.tolist():
        best, smallest = -1, 1e9
        for row, (label, x0, y0, x1, y1) in enumerate(boxes.tolist()):
            distances = (x - x0, y - y0, x1 - x, y1 - y)
            near = abs(x - (x0 + x1) / 2) < RADIUS * stride and abs(y - (y0 + y1) / 2) < RADIUS * stride
            fits = label >= 0 and min(distances) > 0 and least < max(distances) <= most and near
            if fits and (x1 - x0) * (y1 - y0) < smallest:
                best, smallest = row, (x1 - x0) * (y1 - y0)
        chosen.append(best)
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_a_place_answers_for_the_smallest_box_that_is_its_own(seed: int) -> None:
    x, y = batch(seed, 12)
    with torch.no_grad():
        places = fcos_small(2).eval()(x).places
    wanted = assign(places, y)
    answered = 0
    for number in range(len(y)):
        for place, row in enumerate(slowly(places[number], y[number])):
            assert wanted.labels[number, place] == (y[number, row, 0] if row >= 0 else -1)
            if row < 0:
                assert wanted.centres[number, place] == 0
                continue
            answered += 1
            torch.testing.assert_close(wanted.boxes[number, place], y[number, row, 1:])
            (px, py), (x0, y0, x1, y1) = places[number, place, :2].tolist(), y[number, row, 1:].tolist()
            l, t, r, b = px - x0, py - y0, x1 - px, y1 - py
            centre = (min(l, r) / max(l, r) * min(t, b) / max(t, b)) ** 0.5
            assert wanted.centres[number, place] == pytest.approx(centre, rel=1e-4)
    assert answered > 5


def test_every_box_that_is_not_tiny_has_a_place_and_levels_share_sizes_out() -> None:
    places = fcos_small(1).eval()(torch.zeros(1, 3, 96, 96)).places
    assert places.shape == (1, 12 * 12 + 6 * 6 + 3 * 3, 5)
    assert places[0, :, 2].unique().mul(96).tolist() == pytest.approx([8, 16, 32])
    assert places[0, -1, 4] == FAR
    strides = []
    for side in (9, 20, 40, 60, 90):
        for x in range(0, 96 - side, 5):
            box = torch.tensor([[[0, x / 96, 0.03, (x + side) / 96, 0.03 + side / 96]]])
            own = assign(places, box).labels[0] == 0
            assert own.any(), (side, x)
        strides.append(float(places[0, own, 2].mean()))
    assert strides == pytest.approx(sorted(strides))


def test_giou_is_that_of_its_definition_and_of_a_perfect_and_a_far_box() -> None:
    a = torch.tensor([[0, 0, 2, 2.0], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 4, 4]])
    b = torch.tensor([[1, 1, 3, 3.0], [0, 0, 1, 1], [9, 0, 10, 1], [1, 1, 2, 2]])
    torch.testing.assert_close(giou(a, b), torch.tensor([1 / 7 - 2 / 9, 1.0, -0.8, 1 / 16]))


def test_focal_loss_is_cross_entropy_that_is_weighed_down_where_it_is_easy() -> None:
    logits, labels = (
        torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)),
        torch.tensor([[0, 2, -1, 1, -1.0]] * 2),
    )
    total = 0.0
    for row in range(2):
        for place in range(5):
            for label in range(3):
                p = float(torch.sigmoid(logits[row, place, label]))
                right, share = (p, ALPHA) if labels[row, place] == label else (1 - p, 1 - ALPHA)
                total += -share * (1 - right) ** 2 * float(np.log(right))
    assert float(focal(logits, labels)) == pytest.approx(total, rel=1e-5)


def perfect(y: torch.Tensor, side: int = 96) -> Outputs:
    """Outputs that tell every box at each of its places, surely."""
    places = fcos_small(2).eval()(torch.zeros(1, 3, side, side)).places.expand(len(y), -1, -1)
    wanted = assign(places, y)
    there = wanted.labels >= 0
    logits = torch.where(F.one_hot(wanted.labels.clamp(min=0).long(), 2) * there[..., None] == 1, 8.0, -8.0)
    return Outputs(logits, torch.logit(wanted.centres, 1e-4), wanted.boxes, places)


def examples(y: torch.Tensor, side: int = 96) -> Examples:
    """Black pictures with boxes f32[N,M,5], whose longer sides have ``side`` pixels."""
    part = BoxedPart(np.zeros((len(y), 3, side, side), np.float32), y.numpy())
    return Examples(torch.zeros(len(y), 3, 96, 96), y, pixels_of(part, y))


def test_things_of_each_size_have_a_precision_of_their_own() -> None:
    """In a picture of 200 pixels: one of 20 x 20, one of 60 x 60 that is not found, and one of 120 x 120, found twice."""
    small, medium, large = [0.1, 0.1, 0.2, 0.2], [0.6, 0.1, 0.9, 0.4], [0.1, 0.35, 0.7, 0.95]
    y = torch.tensor([[[0, *small], [0, *medium], [1, *large]]])
    seen = torch.tensor([[[0, *small], [1, 0.7, 0.1, 0.8, 0.2], [1, *large]]])  # the small mistake is of class 1
    told = tell_precisions(perfect(seen), examples(y, 200), FACTS)
    rows = {row["size"]: (row["boxes"], row["AP50"]) for row in told.note["sizes"]}
    assert rows == {"small": (1, 1.0), "medium": (1, 0.0), "large": (1, 1.0)}
    assert [line.split()[0] for line in told.lines[-4:]] == ["size", "small", "medium", "large"]
    tiny = tell_precisions(perfect(seen), examples(y, 50), FACTS).note["sizes"]  # the same in a quarter of the size
    every = np.mean([row["AP50"] for row in told.note["classes"]])
    assert [(row["boxes"], row["AP50"]) for row in tiny] == [(3, pytest.approx(every)), (0, None), (0, None)]


def test_finds_of_perfect_outputs_are_the_true_boxes_once_each() -> None:
    _, y = batch(3, 6)
    outputs = perfect(y)
    assert map50(outputs, y) > 0.85  # of boxes that hide others some have no place
    for finds, rows in zip(find(outputs, 0.3), y, strict=True):
        assert len(finds.boxes) <= (rows[:, 0] >= 0).sum()
        assert (np.diff(finds.scores) <= 0).all()
        for label, box in zip(finds.classes, finds.boxes, strict=True):
            wanted = torch.cat([torch.tensor([float(label)]), torch.from_numpy(box).float()])
            assert (rows - wanted).abs().amax(1).min() < 1e-5
    assert float(one_stage_loss(outputs, y)) < 0.8  # what is left is the entropy of centre-ness
    report = tell_precisions(outputs, examples(y), FACTS)
    assert [row["boxes"] for row in report.note["classes"]] == [int((y[..., 0] == label).sum()) for label in range(2)]
    assert report.lines[2].split()[0] == "bar"


def test_a_class_without_boxes_has_no_precision_and_no_boxes_at_all_are_no_error() -> None:
    y = torch.tensor([[[1, 0.2, 0.2, 0.5, 0.5]]])
    report = tell_precisions(perfect(y), examples(y), FACTS)
    assert report.note["classes"][0] == {"class": "bar", "boxes": 0, "AP50": None, "AP50_95": None}
    assert report.note["classes"][1]["AP50"] == 1.0
    none = torch.full((1, 1, 5), -1.0)
    assert map50(perfect(none), none) == 0.0
    assert np.isfinite(float(one_stage_loss(perfect(none), none)))


def test_crowds_are_not_learned_and_what_is_found_in_them_is_no_mistake() -> None:
    thing, other, first, second = (
        [0.1, 0.1, 0.3, 0.3],
        [0.1, 0.6, 0.3, 0.9],
        [0.5, 0.5, 0.65, 0.7],
        [0.7, 0.6, 0.9, 0.9],
    )
    y = torch.tensor([[[0, *thing], [1, *other], [crowd_of(1), 0.45, 0.45, 1, 1]]])
    outputs = perfect(torch.tensor([[[0, *thing], [1, *first], [1, *second], [1, *other]]]))
    without = y.clone()
    without[0, 2, 0] = NONE
    assert map50(outputs, y) == 1.0
    assert map50(outputs, without) < 0.9
    assert torch.equal(one_stage_loss(outputs, y), one_stage_loss(outputs, without))
    told = tell_precisions(outputs, examples(y), FACTS).note["classes"]
    assert [(row["boxes"], row["AP50"]) for row in told] == [(1, 1.0), (1, 1.0)]
    draw_gallery(outputs, Examples(torch.zeros(1, 3, 96, 96), y), FACTS)


def test_what_is_difficult_is_not_learned_and_a_find_of_it_is_no_mistake() -> None:
    """However often it is found, if it is by as much as any other thing; a part of it is a mistake, as it is not of a crowd."""
    thing, other, hard = [0.1, 0.1, 0.3, 0.3], [0.1, 0.6, 0.3, 0.9], [0.5, 0.02, 0.9, 0.42]
    y = torch.tensor([[[0, *thing], [1, *other], [difficult_of(1), *hard]]])
    without, crowded = y.clone(), y.clone()
    without[0, 2, 0], crowded[0, 2, 0] = NONE, crowd_of(1)
    outputs = perfect(torch.tensor([[[0, *thing], [1, *hard], [1, *other]]]))
    assert map50(outputs, y) == 1.0
    assert map50(outputs, without) < 0.9
    assert torch.equal(one_stage_loss(outputs, y), one_stage_loss(outputs, without))
    part = perfect(torch.tensor([[[0, *thing], [1, 0.6, 0.02, 0.8, 0.25], [1, *other]]]))
    assert map50(part, crowded) == 1.0
    assert map50(part, y) == map50(part, without) < 0.9
    assert map50(perfect(y[:, :2]), y) == 1.0  # it need not be found


@pytest.mark.parametrize("label", [0, 1, 7])
def test_marks_tell_their_class(label: int) -> None:
    marks = np.array([label, crowd_of(label), difficult_of(label)], np.float64)
    assert class_of(marks).tolist() == [label] * 3
    assert of_crowd(marks).tolist() == [False, True, False]
    assert len({*marks.tolist(), NONE}) == 4


def test_answers_are_in_the_pixels_of_the_picture_whatever_its_shape() -> None:
    outputs = perfect(torch.tensor([[[1, 0.25, 0.125, 0.75, 0.5]]]))
    unsure = torch.where(outputs.logits[..., 1:] > 0, 2.0, -8.0)  # a second class in the same place is not told
    outputs = outputs._replace(logits=torch.cat([unsure, outputs.logits[..., 1:]], 2))
    assert set(find(outputs)[0].classes.tolist()) == {0, 1}
    (answer,) = tell_boxes(outputs, FACTS, Ask(5, 0.3))
    assert answer.within is not None
    for width, height in ((400, 300), (300, 400), (400, 90)):
        placed = answer.within(width, height)
        (row,) = placed.note["boxes"]
        longer = max(width, height)
        wanted = [0.25 * longer, 0.125 * longer, min(0.75 * longer, width), min(0.5 * longer, height)]
        assert list(row["box"].values()) == pytest.approx(wanted, abs=0.01)
        assert row["class"] == "square"
        assert placed.draw is not None
        shown = placed.draw(Image.new("RGB", (width // 2, height // 2)))
        lit = np.argwhere(np.asarray(shown).sum(2) > 0)
        assert lit.max(0).tolist() == pytest.approx([wanted[3] / 2, wanted[2] / 2], abs=2)


def test_boxes_at_the_edges_and_of_no_size_and_odd_names_are_drawn() -> None:
    facts = Facts(("x" * 300, "\x1b[2J"), (), ())
    finds = Finds(
        np.array([[0, 0, 1, 1], [1, 1, 1, 1], [0.5, 0.5, 0.5, 0.9]]), np.array([0.9, 0.8, 0.7]), np.array([0, 1, 0])
    )
    for size in ((1, 1), (50, 20), (640, 640)):
        picture = Image.new("RGB", size)
        assert draw_boxes(picture, finds.boxes * max(size), finds, facts).size == size
    y = torch.full((2, 1, 5), -1.0)
    assert draw_gallery(perfect(y), Examples(torch.zeros(2, 3, 96, 96), y), FACTS)[:4] == b"\x89PNG"


def test_the_baseline_finds_what_always_looks_alike_and_nothing_where_all_is_blank() -> None:
    torch.manual_seed(0)
    shape = torch.zeros(3, 24, 16)
    shape[:, 2:22, 6:10] = shape[:, 2:6, 2:14] = 1.0
    parts = []
    for count in (12, 6):
        x = 0.1 * torch.rand(count, 3, 96, 96) + 0.5
        corners = torch.randint(0, 36, (count, 2)) * 2
        y = torch.zeros(count, 1, 5)
        for number, (top, left) in enumerate(corners.tolist()):
            x[number, :, top : top + 24, left : left + 16] += (0.4 if number % 2 else -0.4) * shape
            y[number, 0, 1:] = torch.tensor([left, top, left + 16, top + 24]) / 96
        parts.append(Examples(x, y))
    facts = Facts(("t",), (0.0,) * 3, (1.0,) * 3)
    found = laid_over(facts, *parts, {})
    assert found is not None
    assert found.value > 0.9
    blank = laid_over(facts, parts[0], Examples(torch.full_like(parts[1].x, 0.5), parts[1].y), {})
    assert blank is not None
    assert blank.value == 0.0
    many = Examples(torch.zeros(1, 3, 1, 1).expand(6000, 3, 96, 96), torch.zeros(6000, 1, 5))
    assert laid_over(facts, parts[0], many, {}) is None


def test_the_papers_net_has_torchvisions_names() -> None:
    with torch.device("meta"):
        net = fcos_resnet50(91)
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    assert isinstance(net, FCOS)
    assert shapes["backbone.body.layer4.2.conv3.weight"] == (2048, 512, 1, 1)
    assert shapes["backbone.fpn.inner_blocks.0.0.weight"] == (256, 512, 1, 1)
    assert shapes["backbone.fpn.layer_blocks.2.0.bias"] == (256,)
    assert shapes["backbone.fpn.extra_blocks.p7.weight"] == (256, 256, 3, 3)
    assert shapes["head.classification_head.conv.10.weight"] == (256,)
    assert shapes["head.classification_head.cls_logits.weight"] == (91, 256, 3, 3)
    assert shapes["head.regression_head.bbox_reg.bias"] == (4,)
    assert shapes["head.regression_head.bbox_ctrness.bias"] == (1,)


def test_pasted_pictures_repeat_themselves_and_share_neither_scans_nor_photographs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pasted, "PICTURES", {"train": 40, "test": 20})
    used: list[tuple[set[bytes], set[bytes]]] = []

    def spy(grounds: list[Image.Image], scans: np.ndarray, *rest: object) -> object:
        used.append(({ground.tobytes() for ground in grounds}, {scan.tobytes() for scan in scans}))
        return draw(grounds, scans, *rest)  # type: ignore[arg-type]

    draw = pasted._draw
    monkeypatch.setattr(pasted, "_draw", spy)
    data, again = (load_data("pasted", None, FittedReader(SIDE)) for _ in range(2))
    assert data.fingerprint == again.fingerprint
    assert not used[0][0] & used[40][0]
    assert not used[0][1] & used[40][1]
    assert "the pictures are made" in data.remarks[0]
    counts = (data.train.y[..., 0] >= 0).sum(1)
    assert counts.min() == 0
    assert 4 <= counts.max() <= pasted.MOST
    boxes = data.train.y[data.train.y[..., 0] >= 0][:, 1:]
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert data.train.y[..., 0].unique().tolist() == [-1.0, *map(float, range(10))]


def test_pictures_of_the_made_kind_hold_a_digit_in_each_box() -> None:
    """Ink reaches each side of its box, and there is none beside the boxes."""
    random = np.random.RandomState(0)
    ground, scan = Image.new("RGB", (300, 300)), np.zeros((1, 8, 8), np.float32)
    scan[0, 1:7, 2:6] = 1
    picture, boxes = pasted._draw([ground], scan, np.array([4]), 96, random)
    ink = picture.max(0) > 0.02
    outside = ink.copy()
    for label, *box in boxes:
        x0, y0, x1, y1 = (round(96 * value) for value in box)
        assert label == 4
        inside = ink[y0:y1, x0:x1]
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()
        outside[y0:y1, x0:x1] = False
    assert len(boxes)
    assert not outside.any()
