"""Tiny data sets with boxes, written in each form: grey pictures with a light square or a wide dark bar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("bar", "square")
WIDTH, HEIGHT = 60, 40
Boxes = list[tuple[int, int, int, int, int]]  # class, x0, y0, x1, y1 in pixels


def pictures(count: int, seed: int) -> list[tuple[np.ndarray, Boxes]]:
    """The first has nothing on it."""
    random = np.random.RandomState(seed)
    made = []
    for number in range(count):
        values = random.randint(100, 130, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        boxes: Boxes = []
        for label in range(2) if number else ():
            w, h = ((24, 10), (16, 16))[label]
            x, y = random.randint(30 * label, 30 * label + 30 - w + 1), random.randint(0, HEIGHT - h + 1)
            values[y : y + h, x : x + w] = (0, 255)[label]
            boxes.append((label, x, y, x + w, y + h))
        made.append((values, boxes))
    return made


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def coco_note(made: list[tuple[np.ndarray, Boxes]]) -> dict[str, Any]:
    """Ids that are no places in lists, as COCO has them."""
    annotations = [
        {"image_id": 7 * number, "category_id": (3, 9)[label], "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
        for number, (_, boxes) in enumerate(made)
        for label, x0, y0, x1, y1 in boxes
    ]
    return {
        "images": [
            {"id": 7 * number, "file_name": f"{number}.png", "width": WIDTH, "height": HEIGHT}
            for number in range(len(made))
        ],
        "categories": [{"id": 9, "name": "square"}, {"id": 3, "name": "bar"}],
        "annotations": [row | {"id": number} for number, row in enumerate(annotations)],
    }


def write_coco(folder: Path, train: int = 8, test: int = 4) -> Path:
    for seed, (part, count) in enumerate({"train2017": train, "val2017": test}.items()):
        made = pictures(count, seed)
        for number, (values, _) in enumerate(made):
            save(folder / part / f"{number}.png", values)
        path = folder / "annotations" / f"instances_{part}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(coco_note(made)))
        (path.parent / f"captions_{part}.json").write_text("{}")
    return folder


def xml_of(boxes: Boxes, extra: str = "") -> str:
    objects = "".join(
        f"<object><name>{CLASSES[label]}</name><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for label, x0, y0, x1, y1 in boxes
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    return f"<annotation><filename>x.jpg</filename>{size}{objects}{extra}</annotation>"


def write_voc(folder: Path, train: int = 8, test: int = 4) -> Path:
    (folder / "Annotations").mkdir(parents=True)
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    for seed, (part, count) in enumerate({"train": train, "val": test}.items()):
        for number, (values, boxes) in enumerate(pictures(count, seed)):
            save(folder / "JPEGImages" / f"{part}{number}.png", values)
            (folder / "Annotations" / f"{part}{number}.xml").write_text(xml_of(boxes))
        lines = "".join(f"{part}{number}\n" for number in range(count))
        (folder / "ImageSets" / "Main" / f"{part}.txt").write_text(lines)
    return folder


def write_yolo(folder: Path, train: int = 8, test: int = 4) -> Path:
    """The picture without boxes has no text file."""
    for seed, (part, count) in enumerate({"train": train, "val": test}.items()):
        (folder / "labels" / part).mkdir(parents=True)
        for number, (values, boxes) in enumerate(pictures(count, seed)):
            save(folder / "images" / part / f"{number}.png", values)
            lines = [
                f"{label} {(x0 + x1) / 2 / WIDTH} {(y0 + y1) / 2 / HEIGHT} {(x1 - x0) / WIDTH} {(y1 - y0) / HEIGHT}\n"
                for label, x0, y0, x1, y1 in boxes
            ]
            if lines:
                (folder / "labels" / part / f"{number}.txt").write_text("".join(lines))
    (folder / "data.yaml").write_text("names: {0: bar, 1: square}\n")
    return folder


WRITERS = {"coco": write_coco, "voc": write_voc, "yolo": write_yolo}
