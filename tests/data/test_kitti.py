from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.kitti_files import AXES, DONT_CARE, SHIFT, calibration, label, matrix, write_frame, write_kitti
from tritoncnn.boxes.rotated import corners
from tritoncnn.data import Dataset, load_data
from tritoncnn.data.kitti import read_calibration, read_labels
from tritoncnn.data.scan import ScanReader
from tritoncnn.data.streets import make_scene
from tritoncnn.errors import DataError

READ = ScanReader((0.0, -19.2, -3.0), (38.4, 19.2, 1.0), 512)


def load(folder: Path) -> Dataset:
    return load_data("kitti", folder, READ)


def about(axis: int, angle: float) -> np.ndarray:
    turn = np.eye(3)
    a, b = [d for d in range(3) if d != axis]
    turn[a, a] = turn[b, b] = math.cos(angle)
    turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
    return turn


def test_labels_are_brought_into_the_frame_of_the_lidar(tmp_path: Path) -> None:
    boxes = np.array([[12.0, 3, -1, 4.1, 1.7, 1.5, 0.4], [30, -8, -0.8, 3.5, 1.6, 1.4, 3.0], [7, 0, -1, 4, 2, 1, -2.5]])
    (tmp_path / "c.txt").write_text(calibration())
    names = ("Car", "Van", "Car")
    (tmp_path / "l.txt").write_text("\n".join(map(label, boxes, names)))
    cars, vans = read_labels(tmp_path / "l.txt", read_calibration(tmp_path / "c.txt"))
    np.testing.assert_allclose(cars, boxes[[0, 2]], atol=1e-6)
    np.testing.assert_allclose(vans, boxes[[1]], atol=1e-6)


def test_vans_are_marked_in_the_targets(tmp_path: Path) -> None:
    path = write_kitti(tmp_path, 3) / "label_2" / "000001.txt"
    before = load(tmp_path)
    van = label(np.array([8.0, 0, -1, 5, 2, 2, 0.4]), "Van")
    path.write_text(f"{path.read_text()}{van}\n")
    data = load(tmp_path)
    assert {key: data.note[key] for key in ("train_cars", "test_cars")} == {
        key: before.note[key] for key in ("train_cars", "test_cars")
    }
    flags = torch.cat([data.train.y, data.test.y])[..., 7]
    assert (flags == -1).sum() == 1
    assert (flags == 1).sum() == data.note["train_cars"] + data.note["test_cars"]


def test_corners_are_where_the_development_kit_has_them(tmp_path: Path) -> None:
    """computeBox3D of the kit, for cameras that are turned about the vertical and rectified."""
    rectify, turn = about(1, 0.01), AXES @ about(2, 0.02)
    (tmp_path / "c.txt").write_text(calibration(rectify, turn))
    height, width, length, place, rotation = 1.5, 1.7, 4.2, np.array([2.0, 1.6, 15.0]), 0.7
    numbers = f"{height} {width} {length} {place[0]} {place[1]} {place[2]} {rotation}"
    (tmp_path / "l.txt").write_text(f"Car 0 0 0 1 2 3 4 {numbers}\n")
    x = np.array([1, 1, -1, -1]) * length / 2
    z = np.array([1, -1, -1, 1]) * width / 2
    cos, sin = math.cos(rotation), math.sin(rotation)
    bottom = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]) @ np.stack([x, np.zeros(4), z]) + place[:, None]
    wanted = np.linalg.solve(rectify @ turn, bottom - (rectify @ SHIFT)[:, None]).T
    (box,), _ = read_labels(tmp_path / "l.txt", read_calibration(tmp_path / "c.txt"))
    found = corners(box)
    assert box[2] - box[5] / 2 == pytest.approx(wanted[0, 2], abs=1e-6)
    distances = np.linalg.norm(found[:, None] - wanted[None, :, :2], axis=2)
    np.testing.assert_allclose(distances.min(1), 0, atol=1e-6)
    assert sorted(distances.argmin(1)) == [0, 1, 2, 3]
    np.testing.assert_allclose(found[[0, 3]].mean(0), wanted[:2, :2].mean(0), atol=1e-6)  # the front stays the front


def test_frames_are_read_and_split(tmp_path: Path) -> None:
    data = load(write_kitti(tmp_path, 5))
    assert len(data.train) == 4
    assert len(data.test) == 1
    held = data.train.y[..., 7] > 0
    wanted = np.concatenate([make_scene(number).boxes for number in range(5)])
    for row in data.train.y[held].numpy():
        apart = np.abs(wanted[:, :6] - row[:6]).max(1) + np.abs(np.sin((wanted[:, 6] - row[6]) / 2))
        assert apart.min() < 1e-4
    assert data.fingerprint == load(tmp_path).fingerprint


def test_points_beside_the_cameras_view_are_left_out(tmp_path: Path) -> None:
    data = load(write_kitti(tmp_path, 2))
    for scan in (data.train.x[0], data.test.x[0]):
        assert float((scan[:, 1].abs() / (scan[:, 0] - 0.27)).max()) < 609.5 / 721.5 + 0.02
    assert np.abs(make_scene(0).points[:, 1] / make_scene(0).points[:, 0]).max() > 0.99


def test_a_folder_called_training_and_lists_of_frames_are_used(tmp_path: Path) -> None:
    write_kitti(tmp_path / "training", 4)
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "train.txt").write_text("000003\n000000\n")
    (tmp_path / "ImageSets" / "val.txt").write_text("000001\n\n")
    data = load(tmp_path)
    assert [len(data.train), len(data.test)] == [2, 1]
    (tmp_path / "ImageSets" / "val.txt").write_text("000001\n000003\n")
    with pytest.raises(DataError, match=r"must have no name in common; both have '000003'$"):
        load(tmp_path)
    (tmp_path / "ImageSets" / "val.txt").write_text("000009\n")
    with pytest.raises(DataError, match=r"calibration .*000009.txt does not exist$"):
        load(tmp_path)


CAR = label(np.array([12.0, 3, -1, 4.1, 1.7, 1.5, 0.4]))
LINES = {
    "14 fields": (CAR.rsplit(" ", 1)[0], "line 1 must have 15 fields; got 14"),
    "16 fields": (f"{CAR}\n{CAR} 0.98", "line 2 must have 15 fields; got 16"),
    "unknown class": (CAR.replace("Car", "Carr"), "line 1: unknown class 'Carr'; known: Car, Van, "),
    "no number": (CAR.replace("-1.57", "left"), "line 1: 'left' is no number"),
    "NaN": (CAR.replace("-1.57", "nan"), "line 1: numbers must be finite; got nan"),
    "NaN of another class": (DONT_CARE.replace("-1000", "inf", 1), "line 1: numbers must be finite; got inf"),
    "no height": (CAR.replace("1.500000000", "0"), "line 1: height, width and length must be above 0; got 0, 1.7, 4.1"),
    "negative length": (
        CAR.replace("4.100000000", "-4.1"),
        "height, width and length must be above 0; got 1.5, 1.7, -4.1",
    ),
}


@pytest.mark.parametrize("name", LINES)
def test_wrong_lines_of_labels_are_named(name: str, tmp_path: Path) -> None:
    text, sentence = LINES[name]
    path = write_kitti(tmp_path, 3) / "label_2" / "000001.txt"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"labels {path}")
    assert sentence in str(caught.value)


def without(name: str) -> Callable[[str], str]:
    return lambda text: "\n".join(line for line in text.splitlines() if not line.startswith(name))


def instead(name: str, line: str) -> Callable[[str], str]:
    return lambda text: "\n".join(line if row.startswith(name) else row for row in text.splitlines())


CALIBRATIONS = {
    "no P2": (without("P2"), "lacks P2"),
    "no lidar": (without("Tr_velo_to_cam"), "lacks Tr_velo_to_cam"),
    "empty": (lambda text: "", "lacks P2, R0_rect, Tr_velo_to_cam"),
    "few numbers": (instead("R0_rect", "R0_rect: 1 0 0 0 1 0 0 0"), "line 2: R0_rect must have 9 numbers; got 8"),
    "words": (instead("R0_rect", "R0_rect: 1 0 0 0 one 0 0 0 1"), "line 2: 'one' is no number"),
    "infinite": (instead("R0_rect", "R0_rect: 1 0 0 0 inf 0 0 0 1"), "line 2: numbers must be finite; got inf"),
    "singular rectification": (
        instead("R0_rect", matrix("R0_rect", np.zeros((3, 3)))),
        "R0_rect must be a rotation; its determinant is 0",
    ),
    "singular lidar": (
        instead("Tr_velo", matrix("Tr_velo_to_cam", np.ones((3, 4)))),
        "Tr_velo_to_cam must be a rotation; its determinant is 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_wrong_calibrations_are_named(name: str, tmp_path: Path) -> None:
    change, sentence = CALIBRATIONS[name]
    path = write_kitti(tmp_path, 3) / "calib" / "000002.txt"
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"calibration {path}")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(("part", "what"), [("calib", "calibration"), ("label_2", "labels")])
def test_missing_files_of_a_frame_are_named(part: str, what: str, tmp_path: Path) -> None:
    path = write_kitti(tmp_path, 3) / part / "000001.txt"
    path.unlink()
    with pytest.raises(DataError, match=f"{what} {path} does not exist"):
        load(tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=f"{what} {path} cannot be read: it is no text"):
        load(tmp_path)


def test_broken_scans_are_named(tmp_path: Path) -> None:
    path = write_kitti(tmp_path, 3) / "velodyne" / "000001.bin"
    whole = np.fromfile(path, np.float32)
    wrong = whole.copy()
    wrong[5] = np.nan
    behind = whole.reshape(-1, 4) * np.array([-1, 1, 1, 1], np.float32)
    for data, sentence in {
        whole.tobytes()[:-1]: "must have 16 bytes for each point",
        b"": "is empty: it has no point",
        wrong.tobytes(): "must hold finite numbers; 1 of",
        behind.tobytes(): "has no point in the space that is looked at",
    }.items():
        path.write_bytes(data)
        with pytest.raises(DataError) as caught:
            load(tmp_path)
        assert str(caught.value).startswith(f"scan {path} ")
        assert sentence in str(caught.value)


def test_folders_without_frames_or_cars_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"must hold velodyne, label_2, calib, or training with .*; there is no velodyne$"
    ):
        load(tmp_path)
    write_frame(tmp_path, "000000", make_scene(0))
    with pytest.raises(DataError, match=r"velodyne must hold 2 scans \(\*.bin\) or more; got 1$"):
        load(tmp_path)
    write_kitti(tmp_path, 3)
    for path in (tmp_path / "label_2").iterdir():
        path.write_text(DONT_CARE)
    with pytest.raises(
        DataError, match="kitti: no car is in the space that is looked at, in any of the 2 training scans"
    ):
        load(tmp_path)


def test_too_many_scans_for_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_kitti(tmp_path, 3)
    monkeypatch.setattr("tritoncnn.data.files.memory_left", lambda: 1000)
    with pytest.raises(DataError, match=r"3 scans of 512 points would need 49.2 kB of memory; 1.0 kB are left"):
        load(tmp_path)
