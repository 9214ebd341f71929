"""Frames as KITTI has them, made from scenes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from tritoncnn.data.boxed_scans import Scene
from tritoncnn.data.streets import make_scene

P2 = "P2: 721.5 0 609.5 44.8 0 721.5 172.8 0.2 0 0 1 0.003"
AXES = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])  # x right, y down, z ahead of x ahead, y left, z up
SHIFT = np.array([-0.004, -0.076, -0.27])


def matrix(name: str, values: np.ndarray) -> str:
    return f"{name}: {' '.join(f'{value:.12e}' for value in values.ravel())}"


def calibration(rectify: np.ndarray | None = None, turn: np.ndarray = AXES) -> str:
    lines = [P2, matrix("R0_rect", np.eye(3) if rectify is None else rectify)]
    lines.append(matrix("Tr_velo_to_cam", np.concatenate([turn, SHIFT[:, None]], 1)))
    return "\n".join([*lines, matrix("Tr_imu_to_velo", np.eye(4)[:3]), ""])


def label(box: np.ndarray, name: str = "Car") -> str:
    """A line for a box of the lidar's frame, under AXES and SHIFT."""
    x, y, z, length, width, height, yaw = box
    place = AXES @ (x, y, z - height / 2) + SHIFT
    rotation = -yaw - math.pi / 2
    sizes = f"{height:.9f} {width:.9f} {length:.9f}"
    return f"{name} 0.00 0 -1.57 10 20 30 40 {sizes} {' '.join(f'{v:.9f}' for v in place)} {rotation:.9f}"


DONT_CARE = "DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10"


def write_frame(folder: Path, name: str, scene: Scene) -> None:
    for part in ("velodyne", "label_2", "calib"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    scene.points.astype("<f4").tofile(folder / "velodyne" / f"{name}.bin")
    lines = [label(box) for box in scene.boxes]
    (folder / "label_2" / f"{name}.txt").write_text("\n".join([*lines, DONT_CARE, ""]))
    (folder / "calib" / f"{name}.txt").write_text(calibration())


def write_kitti(folder: Path, frames: int) -> Path:
    for number in range(frames):
        write_frame(folder, f"{number:06}", make_scene(number))
    return folder
