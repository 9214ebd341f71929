"""Folders in the form in which well-known data sets come: what is beside what, which classes, which parts, what is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.boxed import coco_note, pictures, save, write_coco, write_voc, write_yolo
from tests.data.test_paired import mask, picture, put, voc
from tritoncnn.data import IGNORED, Dataset, load_data
from tritoncnn.data.boxes import FittedReader, difficult_of
from tritoncnn.data.mask_files import CAMVID
from tritoncnn.data.paired import DEPTHS, find_pairs
from tritoncnn.errors import DataError

READ = FittedReader(16)


def load(name: str, folder: Path, **own: object) -> Dataset:
    return load_data(name, folder, READ, own)


def deep(path: Path, metres: float, steps: int = 1000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 12), round(metres * steps), np.uint16)).save(path)


def test_camvid_with_a_list_of_its_test_part_and_a_void_class(tmp_path: Path) -> None:
    """As fast.ai has it: codes.txt names Void too, and valid.txt which pictures are for testing."""
    for number in range(5):
        put(tmp_path / "images" / f"f_{number}.png", picture(number))
        put(tmp_path / "labels" / f"f_{number}_P.png", mask(number, 3))
    (tmp_path / "codes.txt").write_text("Sky\nVoid\nRoad\n")
    (tmp_path / "valid.txt").write_text("f_1.png\nf_4.png\n")
    data = load("masks", tmp_path)
    assert data.facts.classes == ("Sky", "Road")
    assert (len(data.train), len(data.test)) == (3, 2)
    assert set(data.test.y.unique().tolist()) == {IGNORED, 0, 1}
    (tmp_path / "valid.txt").write_text("".join(f"f_{number}.png\n" for number in range(5)))
    with pytest.raises(DataError, match=r"valid.txt names all pictures; wanted some of which none is for testing"):
        load("masks", tmp_path)


def test_camvid_with_the_ids_of_segnets_authors(tmp_path: Path) -> None:
    for part in ("train", "val"):
        ids = mask()
        ids[0, :3] = 10, 11, 8
        put(tmp_path / part / "0.png", picture())
        put(tmp_path / f"{part}annot" / "0.png", ids)
    data = load("masks", tmp_path)
    assert data.facts.classes == CAMVID[:-1]
    assert set(data.train.y.unique().tolist()) == {IGNORED, 0, 1, 8, 10}


def test_pictures_without_a_mask_are_told_and_a_folder_that_holds_the_set_alone_is_it(tmp_path: Path) -> None:
    voc(tmp_path / "VOCdevkit" / "VOC2012")
    data = load("masks", tmp_path / "VOCdevkit")
    assert data.remarks[0] == "1 picture without a mask was left out"
    assert data.fingerprint == load("masks", tmp_path / "VOCdevkit" / "VOC2012").fingerprint


def test_a_map_beside_a_photograph_of_its_very_name_is_its_mask(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / f"cmp_{number}.jpg", picture(number))
        put(tmp_path / f"cmp_{number}.png", mask(number))
    assert len(load("masks", tmp_path).train) == 2


DEEP = {
    "NYU as its authors part it": ("{s}/rgb_{n}.jpg", "{s}/sync_depth_{n}.png"),
    "ScanNet and 7 scenes": ("{s}/frame-{n}.color.jpg", "{s}/frame-{n}.depth.png"),
    "colours and depth": ("{s}{n}_colors.png", "{s}{n}_depth.png"),
    "two folders with words of their own": ("rgb/{s}/img_{n}.png", "depth/{s}/depth_{n}.png"),
    "KITTI's selection": ("image/{s}_image_{n}_image_02.png", "groundtruth_depth/{s}_groundtruth_depth_{n}_image_02.png"),
    "KITTI": ("train/{s}/image_02/data/{n}.png", "train/{s}/proj_depth/groundtruth/image_02/{n}.png"),
}  # fmt: skip


@pytest.mark.parametrize("form", DEEP)
def test_depth_maps_are_found_by_what_is_left_of_names(form: str, tmp_path: Path) -> None:
    scenes, told = ("2011_drive_1_sync", "2011_drive_2_sync", "2012_drive_3_sync"), {}
    for number, scene in enumerate(scenes):
        for frame in ("00005", "00006"):
            one, other = (tmp_path / name.format(s=scene, n=frame) for name in DEEP[form])
            put(one, picture(number))
            deep(other, 1 + number, 256 if form.startswith("KITTI") else 1000)
            told[one] = other
    if form == "KITTI":
        for scene in scenes:
            deep(tmp_path / "train" / scene / "proj_depth/velodyne_raw/image_02/00005.png", 1)
            put(tmp_path / "train" / scene / "image_02/data/00000.png", picture())  # the first frames have no depth
    if form == "KITTI's selection":
        deep(tmp_path / "velodyne_raw" / f"{scenes[0]}_velodyne_raw_00005_image_02.png", 1)
    found = find_pairs(tmp_path, DEPTHS)
    assert {pair.picture: pair.beside for pair in found.train} == told
    assert found.remarks == (("3 pictures without a depth map were left out",) if form == "KITTI" else ())
    data = load("depths", tmp_path)
    why = "depth maps are taken to have 256 steps a metre, as KITTI's have: they lie in a folder of its name"
    assert (data.remarks[-1:] == (f"{why}; --depth-scale says otherwise",)) == form.startswith("KITTI")
    known = data.train.y[data.train.y > 0]
    assert {round(value, 3) for value in known.unique().tolist()} <= {1.0, 2.0, 3.0}


def test_kittis_depth_in_folders_of_other_names_is_known_by_its_look_and_another_scale_is_taken(tmp_path: Path) -> None:
    """Wide, and known at a share of the pixels; where half or more is known they are millimetres as all others."""
    for number in range(4):
        put(tmp_path / "image" / f"{number}.png", picture(number, 10, 33))
        values = np.zeros((10, 33), np.uint16)
        values[5:, ::2] = 2560
        (tmp_path / "depth").mkdir(exist_ok=True)
        Image.fromarray(values).save(tmp_path / "depth" / f"{number}.png")

    def metres(**own: float) -> float:
        return round(float(load("depths", tmp_path, **own).train.y.max()), 3)

    assert metres() == 10
    assert "they are wide, and the depth of most of their pixels is not known" in load("depths", tmp_path).remarks[0]
    assert metres(depth_scale=1000.0) == 2.56
    assert load("depths", tmp_path, depth_scale=1000.0).remarks == ()
    for number in range(4):
        Image.fromarray(np.full((10, 33), 2560, np.uint16)).save(tmp_path / "depth" / f"{number}.png")
    assert metres() == 2.56


def dense_depth(place: Path) -> Path:
    """NYU as DenseDepth has it: 8 bits for training, where 255 is 10 metres, and 16 bits of millimetres for testing."""
    rows: dict[str, list[str]] = {"train": [], "test": []}
    for scene in ("attic_out", "kitchen_out"):
        for number in (1, 2):
            name = f"data/nyu2_train/{scene}/{number}"
            put(place / f"{name}.jpg", picture(number))
            put(place / f"{name}.png", np.full((8, 12), 51 * number))
            rows["train"].append(f"{name}.jpg,{name}.png")
    for number in range(2):
        name = f"data/nyu2_test/{number:05}"
        put(place / f"{name}_colors.png", picture(number))
        deep(place / f"{name}_depth.png", 3)
        rows["test"].append(f"{name}_colors.png,{name}_depth.png")
    for part, lines in rows.items():
        (place / "data" / f"nyu2_{part}.csv").write_text("\n".join(lines))
    return place


@pytest.mark.parametrize("listed", [True, False])
def test_nyu_as_densedepth_has_it(tmp_path: Path, listed: bool) -> None:
    dense_depth(tmp_path)
    if not listed:
        for path in (tmp_path / "data").glob("*.csv"):
            path.unlink()
    data = load("depths", tmp_path)
    assert (len(data.train), len(data.test)) == (4, 2)
    assert sorted({round(v, 3) for v in data.train.y.unique().tolist()}) == [0, 2, 4]
    assert sorted({round(v, 3) for v in data.test.y.unique().tolist()}) == [0, 3]


def test_tables_choose_among_what_is_there_and_are_told_by_their_lines(tmp_path: Path) -> None:
    place = dense_depth(tmp_path) / "data"
    table, other = place / "nyu2_train.csv", (place / "nyu2_test.csv").read_text()
    first = table.read_text().splitlines()[0]
    table.write_text(f"image,depth\n{first.replace('data/', '')}\n")  # as seen from the folder itself, behind a title
    assert len(load("depths", tmp_path).train) == 1
    for text, said in (
        (f"{first}\ndata/gone.jpg,data/gone.png\n", "nyu2_train.csv, line 2: 'data/gone.jpg' is not there"),
        (f"{first}\na.png\n", "nyu2_train.csv, line 2: wanted two paths within the data set; got 'a.png'"),
        (f"{first}\n../../a.png,b.png\n", "nyu2_train.csv, line 2: wanted two paths within the data set"),
        (f"{first}\n{other}", "nyu2_train.csv and nyu2_test.csv must have no name in common"),
    ):
        table.write_text(text)
        with pytest.raises(DataError, match=said):
            load("depths", tmp_path)


def test_eight_bits_beside_a_photograph_are_told_as_such(tmp_path: Path) -> None:
    for number in range(2):
        put(tmp_path / "kitchen_out" / f"{number}.jpg", picture(number))
        put(tmp_path / "kitchen_out" / f"{number}.png", mask(number))
    with pytest.raises(DataError, match=r"depth map .*0.png has 8 bits a pixel"):
        load("depths", tmp_path)


def test_coco_annotations_without_a_box_have_that_of_their_outline(tmp_path: Path) -> None:
    whole = load("coco", write_coco(tmp_path / "coco"))
    for part, (seed, count) in {"train2017": (0, 8), "val2017": (1, 4)}.items():
        note = coco_note(pictures(count, seed))
        for row in note["annotations"]:
            x, y, w, h = row.pop("bbox")
            row["segmentation"] = [[x, y, x + w, y, x + w, y + h], [x, y, x, y + h, x + w, y + h]]
        (tmp_path / "coco" / "annotations" / f"instances_{part}.json").write_text(json.dumps(note))
    outlined = load("coco", tmp_path / "coco")
    assert torch.equal(outlined.train.y, whole.train.y)
    for wrong, sentence in (
        ([[1, 2, 3, 4]], "each polygon of annotation 0 must have 3 points or more"),
        (
            {"counts": [1], "size": [1, 1]},
            r"bbox of annotation 0 must be \[x, y, width, height\], or polygons as its segmentation; got None",
        ),
        ([[1, 2, "x", 4, 5, 6]], "segmentation of annotation 0 must be a number; got 'x'"),
    ):
        note["annotations"][0]["segmentation"] = wrong
        (tmp_path / "coco" / "annotations" / "instances_val2017.json").write_text(json.dumps(note))
        with pytest.raises(DataError, match=sentence):
            load("coco", tmp_path / "coco")


def test_difficult_objects_are_told_and_marked(tmp_path: Path) -> None:
    file = write_voc(tmp_path) / "Annotations" / "val1.xml"
    file.write_text(file.read_text().replace("</object>", "<difficult>1</difficult></object>", 1))
    assert load("voc", tmp_path).remarks == (
        "1 object is marked as difficult: not learned; what is found there counts neither as right nor as wrong",
    )
    marks = load("voc", tmp_path).test.y[..., 0]
    assert (marks == difficult_of(0)).sum() + (marks == difficult_of(1)).sum() == 1


def test_yolo_has_the_parts_that_its_yaml_names(tmp_path: Path) -> None:
    plain = load("yolo", write_yolo(tmp_path / "plain"))
    place = write_yolo(tmp_path / "named")
    for part in ("train", "val"):
        for inside in ("images", "labels"):
            (place / inside / part).rename(place / inside / f"{part}2017")
    names = "names: {0: bar, 1: square}\n"
    (place / "data.yaml").write_text(f"path: ../sets/named\ntrain: images/train2017\nval: ./images/val2017\n{names}")
    assert load("yolo", place).fingerprint == plain.fingerprint
    (place / "data.yaml").write_text(f"train: /somewhere/images/train2017\nval: images/train2017\n{names}")
    assert (len(load("yolo", place).train), len(load("yolo", place).test)) == (6, 2)
    (place / "data.yaml").write_text(f"train: images/train2017\nval: images/other\n{names}")
    with pytest.raises(
        DataError, match=r"data.yaml names the part 'images/other'; in .* that is no folder of pictures"
    ):
        load("yolo", place)
    save(tmp_path / "unparted" / "images" / "0.png", pictures(1, 0)[0][0])
    (tmp_path / "unparted" / "labels").mkdir()
    (tmp_path / "unparted" / "data.yaml").write_text(names)
    with pytest.raises(DataError, match="wanted at least 2 pictures"):
        load("yolo", tmp_path / "unparted")
