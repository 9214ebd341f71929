"""Cars in lidar scans: what a map means, how it is judged, and the whole road from a folder of KITTI's to answers."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tritoncnn
from tests.computing import Computing
from tests.data.kitti_files import write_kitti
from tests.train.runs import assert_goes_on
from tritoncnn.data import Examples, Facts
from tritoncnn.data.inputs import find_pictures
from tritoncnn.data.scan import check_scans
from tritoncnn.data.streets import GROUND, make_scene
from tritoncnn.errors import DataError
from tritoncnn.models.pointpillars import SMALL, Found, PointPillars
from tritoncnn.task import Ask, Task
from tritoncnn.tasks import find_task
from tritoncnn.tasks.kinds.birdseye import FOUND
from tritoncnn.tasks.kinds.boxes3d import Cars, judge, loss, read_map, true_boxes
from tritoncnn.tasks.kinds.clusters import find_clusters
from tritoncnn.train import Options, predict, train
from tritoncnn.train.answers import write_answers

CELLS = 48  # of a side of the map
BATCH = 4


def tiny() -> Task:
    """The task with a net of a few channels and few points."""
    task = find_task("pillars")
    return replace(
        task,
        models={"pillars": lambda facts: PointPillars(SMALL, 8, ((8, 0), (8, 0)), 8)},
        read=replace(task.read, points=2048),  # type: ignore[type-var]
    )


def targets(scenes: int) -> torch.Tensor:
    rows = torch.zeros(scenes, 24, 8)
    for row, seed in zip(rows, range(scenes), strict=True):
        boxes = torch.from_numpy(make_scene(seed).boxes)
        boxes = boxes[(boxes[:, 0] < 38.4) & (boxes[:, 1].abs() < 19.2)]
        row[: len(boxes), :7], row[: len(boxes), 7] = boxes.float(), 1
    return rows


def centre(i: int, j: int) -> tuple[float, float]:
    return 0.8 * (i + 0.5), 0.8 * (j + 0.5) - 19.2


def perfect(target: torch.Tensor) -> Found:
    """A map on which every cell within a metre of a car tells of that car without an error."""
    score, box, direction = (
        torch.full((len(target), 1, 48, 48), -9.0),
        torch.zeros(len(target), 8, 48, 48),
        torch.zeros(len(target), 1, 48, 48),
    )
    for b, cars in enumerate(true_boxes(target)):
        for x, y, z, length, width, height, yaw in cars:
            for i in range(CELLS):
                for j in range(CELLS):
                    cx, cy = centre(i, j)
                    if math.hypot(cx - x, cy - y) >= 1:
                        continue
                    sizes = [math.log(a / b) for a, b in zip((length, width, height), (3.9, 1.6, 1.56), strict=True)]
                    numbers = [x - cx, y - cy, z + 1, *sizes, math.sin(2 * yaw), math.cos(2 * yaw)]
                    score[b, 0, i, j] = 5 - math.hypot(cx - x, cy - y)
                    box[b, :, i, j] = torch.tensor(numbers)
                    direction[b, 0, i, j] = 7.0 if (yaw + math.pi / 4) % (2 * math.pi) >= math.pi else -7.0
    return Found(score, box, direction)


def test_a_perfect_map_is_read_as_the_true_boxes_and_costs_next_to_nothing() -> None:
    target = targets(4)
    found = perfect(target)
    assert judge(read_map(found), target) == {
        "bev_ap50": 1.0, "bev_ap70": 1.0, "ap50": 1.0, "ap70": 1.0, "heading": 1.0,
    }  # fmt: skip
    for cars, true in zip(read_map(found), true_boxes(target), strict=True):
        assert len(cars.boxes) == len(true)
        for box in cars.boxes:
            near = true[np.hypot(*(true[:, :2] - box[:2]).T).argmin()]
            np.testing.assert_allclose(box[:6], near[:6], atol=1e-4)
            assert math.cos(box[6] - near[6]) == pytest.approx(1, abs=1e-6)
    assert float(loss(found, target)) < 0.02
    assert float(loss(Found(found.score, found.box, -found.direction), target)) > 1
    assert float(loss(Found(-found.score, found.box, found.direction), target)) > 1


def by_hand(found: Found, target: torch.Tensor) -> float:
    """The loss, cell by cell."""
    total, count = 0.0, 0
    for b, cars in enumerate(true_boxes(target)):
        for i in range(CELLS):
            for j in range(CELLS):
                cx, cy = centre(i, j)
                p = 1 / (1 + math.exp(-float(found.score[b, 0, i, j])))
                away = [math.hypot(car[0] - cx, car[1] - cy) for car in cars]
                if away and min(away) < 1:
                    count += 1
                    x, y, z, *size, yaw = cars[int(np.argmin(away))]
                    total += -0.25 * (1 - p) ** 2 * math.log(p)
                    sizes = [math.log(a / m) for a, m in zip(size, (3.9, 1.6, 1.56), strict=True)]
                    wanted = [x - cx, y - cy, z + 1, *sizes, math.sin(2 * yaw), math.cos(2 * yaw)]
                    for said, want in zip(found.box[b, :, i, j].tolist(), wanted, strict=True):
                        off = abs(said - want)
                        total += 2 * (off**2 * 4.5 if off < 1 / 9 else off - 1 / 18)
                    turned = (yaw + math.pi / 4) % (2 * math.pi) >= math.pi
                    says = float(found.direction[b, 0, i, j])
                    total += 0.2 * math.log(1 + math.exp(-says if turned else says))
                    continue
                inside = False
                for x, y, _, length, width, _, yaw in cars:
                    ahead = (x - cx) * math.cos(yaw) + (y - cy) * math.sin(yaw)
                    aside = (y - cy) * math.cos(yaw) - (x - cx) * math.sin(yaw)
                    inside |= abs(ahead) < length / 2 and abs(aside) < width / 2
                if not inside:
                    total += -0.75 * p**2 * math.log(1 - p)
    return total / max(count, 1)


def test_the_loss_is_that_of_a_loop_over_cells() -> None:
    torch.manual_seed(0)
    target = targets(2)
    target[1] = 0  # a scan without cars
    found = Found(*(torch.randn(2, n, CELLS, CELLS) for n in (1, 8, 1)))
    assert float(loss(found, target)) == pytest.approx(by_hand(found, target), rel=1e-4)
    assert float(loss(found, target * 0)) == pytest.approx(by_hand(found, target * 0), rel=1e-4)


def test_the_gradient_of_the_loss_is_finite_where_there_is_no_car() -> None:
    found = Found(*(torch.zeros(1, n, CELLS, CELLS, requires_grad=True) for n in (1, 8, 1)))
    loss(found, torch.zeros(1, 3, 8)).backward()
    assert all(part.grad is not None and bool(part.grad.isfinite().all()) for part in found)


def test_answers_are_told_in_metres_and_drawn_where_the_cars_are(tmp_path: Path) -> None:
    task, target = tiny(), targets(2)
    target[1] = 0
    one, none = task.answer(perfect(target), Facts(("car",), (), ()), task.ask)
    (few, _) = task.answer(perfect(target), Facts(("car",), (), ()), Ask(3))
    assert few.lines == one.lines[:3]
    assert none.note == {"boxes": []}
    assert none.lines == ("no car",)
    (true, _), scan = true_boxes(target), tmp_path / "a.bin"
    assert len(one.note["boxes"]) == len(one.lines) == len(true)
    for told, line in zip(one.note["boxes"], one.lines, strict=True):
        apart = np.hypot(*(true[:, :2] - (told["x"], told["y"])).T)
        assert apart.min() < 1e-3
        side = "left" if told["y"] >= 0 else "right"
        assert f"car {told['x']:.1f} m ahead, {abs(told['y']):.1f} m {side}" in line
    np.array([[1.0, 0, 0, 0]], np.float32).tofile(scan)
    found = find_pictures([str(tmp_path)], tmp_path, task.takes)
    assert [picture.name for picture in found] == [str(scan)]
    write_answers(tmp_path / "out", [dict(one.note)], [("a.bin", scan, one)], task.view)
    assert json.loads((tmp_path / "out" / "answers.json").read_text()) == [dict(one.note)]
    with Image.open(tmp_path / "out" / "a-answer.png") as picture:
        pixels = np.asarray(picture).astype(int)
    assert pixels.shape == (640, 640, 3)
    orange = (np.abs(pixels - FOUND).sum(2) == 0).nonzero()
    ahead, left = 38.4 * (1 - orange[0] / 640), 19.2 - 38.4 * orange[1] / 640
    near = np.hypot(ahead[:, None] - true[:, 0], left[:, None] - true[:, 1])
    assert near.min(1).max() < 4  # nothing is drawn anywhere else: boxes and the scores beside them
    assert (near.min(0) < 0.3).all()  # and at each car something


def orange(picture: Image.Image) -> int:
    return int((np.abs(np.asarray(picture.convert("RGB")).astype(int) - FOUND).sum(2) == 0).sum())


def test_cars_below_the_score_that_is_asked_for_are_neither_told_nor_drawn() -> None:
    task, target = tiny(), targets(1)
    sure = perfect(target)
    unsure = Found(torch.where(sure.score > 0, torch.full_like(sure.score, -1.5), sure.score), sure.box, sure.direction)
    facts, black = Facts(("car",), (), ()), Image.new("RGB", (640, 640))
    count = int(target[..., 7].sum())
    for found, score, told in ((sure, 0.3, count), (unsure, 0.3, 0), (unsure, 0.1, count)):
        (answer,) = task.answer(found, facts, Ask(100, score))
        assert len(answer.note["boxes"]) == told
        assert answer.draw is not None
        assert (orange(answer.draw(black.copy())) > 0) == (told > 0)
    (few,) = task.answer(sure, facts, Ask(2, 0.3))
    assert len(few.note["boxes"]) == len(few.lines) == 2
    examples = Examples(torch.zeros(1, 4, 4), target)
    drawn = [Image.open(io.BytesIO(task.pictures["scans.png"](found, examples, facts))) for found in (sure, unsure)]
    assert orange(drawn[0]) > 100
    assert orange(drawn[1]) == 0


def test_a_folder_without_scans_is_told_in_their_word(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (found,) = find_pictures([str(tmp_path)], tmp_path, tiny().takes)
    assert str(found.file) == f"folder {tmp_path} holds no scan (.bin, .npy)"


def target_of(cars: np.ndarray, vans: np.ndarray | None = None) -> torch.Tensor:
    """f32[1,M,8] of boxes f64[any,7]."""
    vans = np.zeros((0, 7)) if vans is None else vans
    flags = np.repeat([1.0, -1.0], [len(cars), len(vans)])
    return torch.from_numpy(np.concatenate([np.concatenate([cars, vans]), flags[:, None]], 1)[None]).float()


def test_what_is_found_at_a_van_counts_neither_as_right_nor_as_wrong_and_once() -> None:
    car, van = np.array([[10.0, 0, -1, 4, 2, 1.5, 0.3]]), np.array([[20.0, 5, -1, 5, 2, 2, 2.0]])
    both = np.concatenate([van, car])

    def ap(found: np.ndarray, target: torch.Tensor) -> float:
        return judge([Cars(found, np.linspace(0.9, 0.5, len(found)))], target)["bev_ap50"]

    assert ap(both, target_of(car, van)) == ap(car, target_of(car, van)) == 1
    assert ap(both, target_of(car)) == pytest.approx(0.5)  # the surer of the two is wrong
    assert ap(np.concatenate([van, van, car]), target_of(car, van)) == pytest.approx(0.5)  # a van is taken once
    assert ap(van, target_of(car, van)) == 0
    assert judge([Cars(both, np.array([0.9, 0.8]))], target_of(car, van))["heading"] == 1


def test_cells_in_a_van_are_not_asked_and_learn_nothing_of_it() -> None:
    target = targets(1)
    found = perfect(target)
    van = torch.tensor([[[10.0, 3.1, -1.0, 5.0, 2.0, 2.0, 0.0, -1.0]]])
    free = loss(found, torch.cat([target, van * 0], 1))
    in_it = torch.zeros(48, 48, dtype=torch.bool)
    for i in range(CELLS):
        for j in range(CELLS):
            x, y = centre(i, j)
            in_it[i, j] = abs(x - 10) < 2.5 and abs(y - 3.1) < 1
    assert in_it.any()
    sure = Found(torch.where(in_it, 6.0, found.score), found.box, found.direction)
    assert float(loss(sure, torch.cat([target, van], 1))) <= float(free)
    assert float(loss(sure, torch.cat([target, van * 0], 1))) > float(free) + 0.1


def test_judging_tells_places_heights_and_headings_apart() -> None:
    true = np.array([[10.0, 0, -1, 4, 2, 1.5, 0.3], [20.0, 5, -1, 4, 2, 1.5, 2.0]])

    def judged(change: tuple[float, ...]) -> dict[str, float]:
        return judge([Cars(true + np.array(change), np.array([0.9, 0.8]))], target_of(true))

    raised = judged((0, 0, 0.3, 0, 0, 0, 0))  # 1.2 of 1.8 m in common
    assert (raised["bev_ap70"], raised["ap50"], raised["ap70"]) == (1, 1, 0)
    turned = judged((0, 0, 0, 0, 0, 0, math.pi))
    assert (turned["ap70"], turned["heading"]) == (1, 0)
    assert judged((0, 0, 0, 0, 0, 0, math.pi / 2 - 0.01))["bev_ap50"] == 0  # 4 of 12 square metres
    nothing = Cars(np.zeros((0, 7)), np.zeros(0))
    assert judge([nothing], target_of(true)) == judge([nothing], target_of(true[:0])) == dict.fromkeys(turned, 0.0)


def test_clusters_above_the_ground_become_boxes_and_walls_do_not() -> None:
    random = np.random.RandomState(0)
    size = np.array([4.2, 1.8, 1.5])
    ground = random.uniform((2, -15, GROUND, 0), (38, 15, GROUND + 0.05, 1), (4000, 4))
    rear = random.uniform((10, -0.9, -1.4, 0), (10.05, 0.9, -0.3, 1), (200, 4))
    side = random.uniform((10, 0.85, -1.4, 0), (14.2, 0.9, -0.3, 1), (200, 4))
    wall = random.uniform((20, -9, -1.4, 0), (20.1, 9, 0.5, 1), (900, 4))
    cars = find_clusters(np.concatenate([ground, rear, side, wall]).astype(np.float32), size)
    assert len(cars.boxes) == 1
    scores = judge([cars], target_of(np.array([[12.1, 0, GROUND + 0.75, *size, 0.0]])))
    assert scores["bev_ap50"] == 1
    assert not len(find_clusters(ground.astype(np.float32), size).boxes)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on a folder as KITTI's, which lies beside it."""
    place = tmp_path_factory.mktemp("pillars")
    write_kitti(place / "kitti", 10)
    return train(options_for(place / "kitti"), place / "run").run


def options_for(data: Path) -> Options:
    return Options.of(tiny(), data="kitti", data_dir=str(data), epochs=2, batch_size=BATCH)


def test_a_folder_of_kitti_is_learned_and_scans_are_answered(run: Path, tmp_path: Path) -> None:
    task = tiny()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [set(task.metrics) < set(row) for row in rows] == [True, True]
    assert rows[1]["loss"] < rows[0]["loss"]
    with Image.open(run / "scans.png") as picture:
        assert picture.size[0] > 600
    make_scene(77).points.tofile(tmp_path / "a.bin")
    (tmp_path / "half.bin").write_bytes(b"1234567")
    one, broken = predict(task, run, [tmp_path / "a.bin", tmp_path / "half.bin"])  # as many as the test part has
    assert not isinstance(one, DataError)
    assert one.lines
    assert isinstance(broken, DataError)


def test_a_step_is_launches_of_our_kernels_alone() -> None:
    task = tiny()
    facts, read = task.example(2).facts, check_scans("", task.read)
    x, y = torch.from_numpy(np.stack([read.fit(make_scene(i).points, "") for i in range(BATCH)])), targets(BATCH)
    step = tritoncnn.compile_step(task.models["pillars"](facts), task.loss, tritoncnn.AdamW(lr=0.001), (x, y))
    with Computing() as mode:
        first = float(step(x, y))
        seen = list(mode.seen)
    assert set(seen) <= {"aten::_local_scalar_dense"}  # the loss as a number
    for _ in range(20):
        last = float(step(x, y))
    assert last < first


def test_a_run_that_was_stopped_ends_with_the_same_bits(run: Path, tmp_path: Path) -> None:
    assert_goes_on(tiny(), options_for(run.parent / "kitti"), run, tmp_path)
