"""COCO, VOC and YOLO files: read to the same boxes, and refused in one sentence where they are broken."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.boxed import CLASSES, HEIGHT, WIDTH, WRITERS, pictures, save, write_coco, write_voc, write_yolo, xml_of
from tritoncnn.data import Dataset, load_data, stream
from tritoncnn.data.boxes import FittedReader, crowd_of, fitted
from tritoncnn.data.stream import joined
from tritoncnn.errors import DataError

READ = FittedReader(32)


def load(name: str, folder: Path) -> Dataset:
    return load_data(name, folder, READ)


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_boxes_are_read_in_each_form(name: str, tmp_path: Path) -> None:
    data = load(name, WRITERS[name](tmp_path / "data"))
    assert data.facts.classes == CLASSES
    for seed, (part, count) in enumerate(((data.train, 8), (data.test, 4))):
        made = pictures(count, seed)
        assert part.x.shape == (count, 3, 32, 32)
        assert part.y.shape == (count, 2, 5)
        for y, (_, boxes) in zip(part.y, made, strict=True):
            found = y[y[:, 0] >= 0]
            wanted = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 5) / torch.tensor([1.0, *[WIDTH] * 4])
            torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-6)
        assert part.beside.longer.tolist() == [WIDTH] * count
        assert part.beside.areas[1:].tolist() == [pytest.approx([240.0, 256.0])] * (count - 1)
        assert part.beside.areas[0].tolist() == [0.0, 0.0], "of what fills up"
    assert data.note["train_boxes_per_class"] == [7, 7]
    assert load(name, tmp_path / "data").fingerprint == data.fingerprint


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_in_a_box_is_at_its_place_in_the_picture(name: str, tmp_path: Path) -> None:
    data = load(name, WRITERS[name](tmp_path / "data"))
    for x, y in zip(data.train.x, data.train.y, strict=True):
        picture = data.facts.restore(x).mean(0)
        for label, *box in y.tolist():
            if label >= 0:
                x0, y0, x1, y1 = (round(32 * value) for value in box)
                inner = picture[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1]
                assert abs(inner.mean() - label) < 0.05  # bars are black, squares white


def test_a_fifth_is_held_out_where_there_is_one_part_only(tmp_path: Path) -> None:
    for number, (values, boxes) in enumerate(pictures(11, 0)):
        save(tmp_path / "all" / f"{number}.jpg", values)
        (tmp_path / "all" / f"{number}.xml").write_text(xml_of(boxes))
    (data, again) = (load("voc", tmp_path / "all") for _ in range(2))
    assert (len(data.train), len(data.test)) == (9, 2)
    assert data.fingerprint == again.fingerprint


@pytest.mark.parametrize(("train", "test"), [("train", "valid"), ("training", "test")])
def test_folders_as_labelling_programs_export_them_are_read(train: str, test: str, tmp_path: Path) -> None:
    for seed, part in enumerate((train, test)):
        made = pictures(4, seed)
        (tmp_path / "yolo" / part / "labels").mkdir(parents=True)
        for number, (values, boxes) in enumerate(made):
            save(tmp_path / "coco" / part / f"{number}.png", values)
            save(tmp_path / "yolo" / part / "images" / f"{number}.png", values)
            lines = [f"{label} 0.5 0.5 0.25 0.25\n" for label, *_ in boxes]
            (tmp_path / "yolo" / part / "labels" / f"{number}.txt").write_text("".join(lines))
        (tmp_path / "coco" / part / "_annotations.coco.json").write_text(json.dumps(coco(made)))
    assert len(load("coco", tmp_path / "coco").test) == 4
    data = load("yolo", tmp_path / "yolo")
    assert data.facts.classes == ("0", "1")  # there are no names
    shares = torch.tensor([0.375, 0.375 * HEIGHT / WIDTH, 0.625, 0.625 * HEIGHT / WIDTH])
    torch.testing.assert_close(data.train.y[1, 0, 1:], shares)


def coco(made: Any) -> dict[str, Any]:
    from tests.data.boxed import coco_note

    return coco_note(made)


def test_a_picture_keeps_its_aspect_ratio_and_lies_in_the_corner(tmp_path: Path) -> None:
    assert fitted(60, 40, 32) == (32, 21)
    assert fitted(1, 1000, 32) == (1, 32)
    Image.new("RGB", (20, 80), "white").save(tmp_path / "a.png")
    x = READ(tmp_path / "a.png")
    assert (x[:, :, :8] == 1).all()
    np.testing.assert_allclose(x[:, :, 8:], 114 / 255, atol=1e-6)


def test_boxes_are_those_of_a_picture_that_is_turned_upright_and_reduced(tmp_path: Path) -> None:
    """2400 x 1200 is reduced when it is read; the EXIF tag turns it to 1200 x 2400."""
    folder = write_yolo(tmp_path / "data")
    exif = Image.Exif()
    exif[0x0112] = 6
    values = np.zeros((1200, 2400, 3), np.uint8)
    values[:, 1200:] = 255  # turned to the right it is below
    Image.fromarray(values).save(folder / "images" / "train" / "1.png", exif=exif)
    (folder / "labels" / "train" / "1.txt").write_text("1 0.5 0.75 1 0.5\n")
    data = load("yolo", folder)
    torch.testing.assert_close(data.train.y[1, 0], torch.tensor([1, 0, 0.5, 0.5, 1]))
    x = data.facts.restore(data.train.x[1])
    assert x[:, 17:, :16].min() > 0.99
    assert x[:, :15, :16].max() < 0.01


def test_crowds_are_marked_and_told_and_are_no_boxes_of_their_class(tmp_path: Path) -> None:
    plain = load("coco", write_coco(tmp_path))
    change_coco(
        tmp_path, lambda note: note["annotations"][1].update(iscrowd=1, segmentation={"counts": [0], "size": [1, 1]})
    )
    data = load("coco", tmp_path)
    assert data.remarks == ("1 crowd is not learned; what is found in one counts neither as right nor as wrong",)
    assert data.note["train_boxes_per_class"] == [7, 6]
    changed = (data.train.y != plain.train.y).nonzero().tolist()
    assert changed == [[1, 1, 0]]
    assert data.train.y[1, 1, 0] == crowd_of(1)
    change_coco(tmp_path, lambda note: [row.update(iscrowd=1) for row in note["annotations"]], "val")
    with pytest.raises(DataError, match="coco: no test picture has a box; wanted at least 1"):
        load("coco", tmp_path)


def test_areas_of_coco_are_those_of_outlines_where_they_are_told(tmp_path: Path) -> None:
    write_coco(tmp_path)
    path = tmp_path / "annotations" / "instances_val2017.json"
    note = json.loads(path.read_text())
    note["annotations"][0]["area"] = 100.5
    path.write_text(json.dumps(note))
    assert load("coco", tmp_path).test.beside.areas[1].tolist() == pytest.approx([100.5, 256.0])
    for data in (load("coco", tmp_path), load_data("coco", tmp_path, READ, {"stream": True})):
        both = joined(data.train, data.test)
        assert both.beside.areas.shape == (12, 2)
        assert torch.equal(both.beside.areas[8:], data.test.beside.areas)
        assert torch.equal(stream.first(data.train, 3).beside.areas, data.train.beside.areas[:3])
        assert torch.equal(data.train.take(slice(1, 3)).beside.longer, data.train.beside.longer[1:3])
    note["annotations"][0]["area"] = "large"
    path.write_text(json.dumps(note))
    with pytest.raises(DataError, match=r"area of annotation 0 must be a number; got 'large'$"):
        load("coco", tmp_path)


def test_edges_that_are_rounded_are_cut_and_a_few_empty_boxes_are_told(tmp_path: Path) -> None:
    def change(note: dict[str, Any]) -> None:
        row = note["annotations"][0]
        row["bbox"] = [-0.4, 0, 20, HEIGHT + 0.4]
        note["annotations"] += [row | {"id": number} for number in range(100, 1090)]
        note["annotations"].append(row | {"id": 99, "image_id": 14, "bbox": [5, 5, 0, 3]})

    change_coco(write_coco(tmp_path), change)
    data = load("coco", tmp_path)
    assert data.remarks == ("1 boxes without area were left out",)
    assert data.train.y[..., 1:].min() >= 0
    assert data.train.y[1, :, 4].max() == pytest.approx(HEIGHT / WIDTH)


@pytest.mark.parametrize(("first", "taken"), [(0, True), (-0.1, False)])
def test_pixels_that_a_program_counts_from_0_are_taken_in_small_pictures_too(
    first: float, taken: bool, tmp_path: Path
) -> None:
    folder = write_voc(tmp_path / "data")
    path = folder / "Annotations" / "train1.xml"
    path.write_text(re.sub("<xmin>.*?</xmin>", f"<xmin>{first}</xmin>", path.read_text()))
    if not taken:
        with pytest.raises(DataError, match=r"box \(-1\.1, .* lies outside of the picture, which is 60 x 40$"):
            load("voc", folder)
        return
    assert load("voc", folder).train.y[1, :, 1].tolist() == [0, 0]


def change_coco(folder: Path, change: Callable[[dict[str, Any]], Any], part: str = "train") -> None:
    path = folder / "annotations" / f"instances_{part}2017.json"
    note = json.loads(path.read_text())
    change(note)
    path.write_text(json.dumps(note))


def first(**changed: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda note: note["annotations"][0].update(changed)


COCO: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no images": (lambda note: note.pop("images"), r"must have a list of objects 'images'; got NoneType"),
    "empty images": (lambda note: note["images"].clear(), "has no images; wanted at least 1 entry in the list 'images'"),
    "images no list": (lambda note: note.update(images={"a": 1}), "must have a list of objects 'images'; got dict"),
    "no annotations": (lambda note: note.pop("annotations"), "must have a list of objects 'annotations'; got NoneType"),
    "empty annotations": (lambda note: note["annotations"].clear(), "coco: no training picture has a box"),
    "no categories": (lambda note: note["categories"].clear(), "has no categories; wanted at least 1"),
    "categories twice": (lambda note: note["categories"][0].update(id=3), "two categories are 3 or 'bar'"),
    "names twice": (lambda note: note["categories"][0].update(name="bar"), "two categories are 3 or 'bar'"),
    "name": (lambda note: note["categories"][0].update(name=None), "the name of category 9 must be text; got None"),
    "category": (first(category_id=4), r"annotation 0 has the category 4; known: 3 \(bar\), 9 \(square\)"),
    "category kind": (first(category_id=[3]), r"annotation 0 has the category \[3\]"),
    "image": (first(image_id=1), "annotation 0 is of image 1, which is not in 'images'"),
    "id": (first(id="a"), "the id of each annotation must be a whole number; got 'a'"),
    "three": (first(bbox=[1, 2, 3]), r"bbox of annotation 0 must be \[x, y, width, height\]; got \[1, 2, 3\]"),
    "text": (first(bbox=[1, 2, 3, "4"]), "bbox of annotation 0 must be a number; got '4'"),
    "nan": (first(bbox=[1, 2, 3, float("nan")]), "bbox of annotation 0 must be a number; got nan"),
    "huge": (first(bbox=[1, 2, 3, 10**400]), "bbox of annotation 0 must be a number; got 1000"),
    "outside": (first(bbox=[50, 5, 20, 20]), r"box \(50, 5, 70, 25\) of 1.png lies outside of the picture, which is 60 x 40"),
    "left": (first(bbox=[-3, 5, 20, 20]), r"box \(-3, 5, 17, 25\) of 1.png lies outside"),
    "no area": (first(bbox=[5, 5, 0, 20]), r"box \(5, 5, 5, 25\) of 1.png has no area; so it is with 1 of 20 boxes"),
    "negative": (first(bbox=[25, 5, -20, 20]), r"box \(25, 5, 5, 25\) of 1.png ends before it begins"),
    "size": (lambda note: note["images"][1].update(width=61), r"says that .*1.png is 61 x 40; it is 60 x 40$"),
    "turned": (lambda note: note["images"][1].update(width=40, height=60), r"it is 60 x 40, turned upright by its EXIF tag$"),
    "missing": (
        lambda note: note["images"][2].update(file_name="gone.png"),
        r"tells of pictures that are not there: .*gone.png$",
    ),
    "way out": (
        lambda note: note["images"][2].update(file_name="../../x.png"),
        r"file_name of image 14 must be a path within the data set; got '../../x.png'",
    ),
    "absolute": (lambda note: note["images"][2].update(file_name="/etc/x.png"), "must be a path within the data set"),
    "zero byte": (lambda note: note["images"][2].update(file_name="a\0.png"), "must be a path within the data set"),
    "no name": (lambda note: note["images"][2].pop("file_name"), "must be a path within the data set; got None"),
    "twice": (lambda note: note["images"][2].update(id=7), "two images have the id 7"),
    "many": (
        lambda note: note["annotations"].extend([note["annotations"][0]] * 1000),
        "has 100[12] boxes for .*; wanted at most 1000",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COCO)
def test_broken_coco_files_are_refused(name: str, tmp_path: Path) -> None:
    change, sentence = COCO[name]
    change_coco(write_coco(tmp_path), change)
    with pytest.raises(DataError, match=sentence):
        load("coco", tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not JSON"), ("[1]", "must hold an object with 'images'.*; got a list"), ("[" * 100_000, "is not JSON"),
        ('{"images": [1]}', "must have a list of objects 'categories'"), ("\0\xff", "is not JSON"),
    ],
)  # fmt: skip
def test_files_that_are_no_coco_json_are_refused(text: str, sentence: str, tmp_path: Path) -> None:
    (write_coco(tmp_path) / "annotations" / "instances_train2017.json").write_text(text)
    with pytest.raises(DataError, match=sentence):
        load("coco", tmp_path)


def test_other_categories_in_the_test_part_are_refused(tmp_path: Path) -> None:
    change_coco(write_coco(tmp_path), lambda note: note["categories"][0].update(name="ball"), "val")
    with pytest.raises(
        DataError, match="instances_val2017.json must have the categories of .*instances_train2017.json"
    ):
        load("coco", tmp_path)


def test_folders_without_coco_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must hold annotations/instances_train\*\.json .*; got no JSON file$"):
        load("coco", tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text("{}")
    with pytest.raises(DataError, match="got a.json, b.json$"):
        load("coco", tmp_path)


LAUGHS = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]><annotation>&c;</annotation>'
OUTER = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation><object>&b;</object></annotation>'
VOC = {
    "entities": (LAUGHS, "has a document type .*, which is not read; take it out"),
    "outer entity": (OUTER, "has a document type"),
    "undefined entity": ("<annotation>&b;</annotation>", "is not XML: undefined entity"),
    "not XML": ("annotation", "is not XML: syntax error"),
    "empty": ("", "is not XML: no element found"),
    "cut": (xml_of([(0, 1, 1, 9, 9)])[:-5], "is not XML"),
    "encoding": ('<?xml version="1.0" encoding="klingon"?><annotation/>', "is not XML: unknown encoding"),
    "deep": ("<annotation>" + "<a>" * 100, "has elements 33 deep; wanted at most 32"),
    "root": ("<picture/>", "must hold an element 'annotation'; got 'picture'"),
    "no name": (xml_of([], "<object><bndbox/></object>"), "object 1 has no name"),
    "no box": (xml_of([], "<object><name>bar</name></object>"), "object 1 has no bndbox"),
    "no side": (xml_of([], "<object><name>bar</name><bndbox/></object>"), "xmin of object 1 must be a number; got None"),
    "word": (xml_of([(0, 1, 1, 9, 9)]).replace("<ymax>9", "<ymax>x"), "ymax of object 1 must be a number; got 'x'"),
    "nan": (xml_of([(0, 1, 1, 9, 9)]).replace("<ymax>9", "<ymax>nan"), "ymax of object 1 must be a number; got nan"),
    "outside": (xml_of([(0, 50, 1, 70, 9)]), r"train1.xml: box \(50, 1, 70, 9\) of train1.png lies outside"),
    "turned": (xml_of([(0, 20, 1, 10, 9)]), "ends before it begins"),
    "no area": (xml_of([(0, 20, 1, 20, 9)]), "has no area; so it is with 1 of 19 boxes"),
    "size": (xml_of([(0, 1, 1, 9, 9)]).replace("<width>60", "<width>40"), "is 40 x 40; it is 60 x 40"),
}  # fmt: skip


@pytest.mark.parametrize("name", VOC)
def test_broken_voc_files_are_refused(name: str, tmp_path: Path) -> None:
    text, sentence = VOC[name]
    (write_voc(tmp_path) / "Annotations" / "train1.xml").write_text(text)
    with pytest.raises(DataError, match=sentence):
        load("voc", tmp_path)


def test_voc_lists_and_pictures_that_are_not_there_are_told(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "a")
    (folder / "JPEGImages" / "val2.png").unlink()
    with pytest.raises(DataError, match=r"val2.xml tells of pictures that are not there: .*x.jpg$"):
        load("voc", folder)
    (folder / "ImageSets" / "Main" / "val.txt").write_text("val1\n\nghost -1\n")
    with pytest.raises(DataError, match="val.txt names 'ghost', of which there is no XML file"):
        load("voc", folder)
    other = write_voc(tmp_path / "b")
    (other / "Annotations" / "val1.xml").write_text(xml_of([(0, 1, 1, 9, 9)]).replace("bar", "ball"))
    with pytest.raises(DataError, match="val1.xml: the class 'ball' is not in the training part"):
        load("voc", other)
    with pytest.raises(DataError, match="must hold Annotations and JPEGImages, .*; got no XML file"):
        load("voc", tmp_path / "a" / "JPEGImages")


def test_lists_of_voc_that_are_left_aside_are_told(tmp_path: Path) -> None:
    """As in VOC 2007 with its test part."""
    place = write_voc(tmp_path) / "ImageSets" / "Main"
    (place / "trainval.txt").write_text("train1\n")
    assert load("voc", tmp_path).remarks == ()
    (place / "test.txt").write_text("val1\n")
    assert load("voc", tmp_path).remarks == (
        f"trainval.txt and test.txt of {place} were left aside: train.txt and val.txt are used",
    )


YOLO = {
    "fields": ("0 0.5 0.5 0.1\n", r"train.1.txt, line 1: wanted 5 numbers \(class, .*; got 4"),
    "score": ("\n0 0.5 0.5 0.1 0.1 0.9\n", "line 2: wanted 5 numbers .*; got 6"),
    "half a point": (
        "0 0.1 0.1 0.2 0.2 0.3 0.3 0.4\n",
        "line 1: wanted 5 numbers .* or a class and 3 points or more .*; got 8",
    ),
    "outline outside": ("0 0.1 0.1 1.2 0.2 0.3 0.3\n", "lies outside of the picture"),
    "word": ("0 0.5 0.5 0.1 x\n", "line 1: each word must be a number; got 'x'"),
    "nan": ("0 0.5 nan 0.1 0.1\n", "line 1: each word must be a number; got nan"),
    "half a class": ("0.5 0.5 0.5 0.1 0.1\n", "line 1: the class must be a whole number from 0 to 9999; got 0.5"),
    "below 0": ("-1 0.5 0.5 0.1 0.1\n", "line 1: the class must be a whole number from 0 to 9999; got -1"),
    "giant class": ("100000 0.5 0.5 0.1 0.1\n", "line 1: the class must be a whole number from 0 to 9999"),
    "out of range": ("2 0.5 0.5 0.1 0.1\n", "train.1.txt: class 2 is out of range; wanted 0 to 1"),
    "outside": ("0 0.9 0.5 0.4 0.1\n", r"1.txt: box \(0.7, 0.45, 1.1, 0.55\) of 1.png lies outside"),
    "pixels": ("0 30 20 10 10\n", "lies outside of the picture"),
    "no area": ("0 0.5 0.5 0 0.1\n", "has no area; so it is with 1 of"),
    "negative": ("0 0.5 0.5 -0.2 0.1\n", "ends before it begins"),
    "bytes": ("\udcff", "is not text"),
}


@pytest.mark.parametrize("name", YOLO)
def test_broken_yolo_files_are_refused(name: str, tmp_path: Path) -> None:
    text, sentence = YOLO[name]
    (write_yolo(tmp_path) / "labels" / "train" / "1.txt").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=sentence):
        load("yolo", tmp_path)


def test_outlines_of_yolo_files_are_boxes_and_marks_before_a_text_are_no_part_of_it(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path)
    (folder / "labels" / "train" / "1.txt").write_text("\ufeff1 0.1 0.5 0.3 0.2 0.2 0.8\n0 0.5 0.5 0.1 0.2\n", "utf-8")
    (folder / "data.yaml").unlink()
    (folder / "classes.txt").write_text("\ufeffbar\nsquare\n", "utf-8")
    data = load("yolo", folder)
    assert data.facts.classes == CLASSES
    wanted = np.array([[1, 0.1, 0.2, 0.3, 0.8], [0, 0.45, 0.4, 0.55, 0.6]]) * [1, 1, HEIGHT / WIDTH, 1, HEIGHT / WIDTH]
    np.testing.assert_allclose(data.train.y[1], wanted, atol=1e-6)


def test_parts_of_yolo_may_be_lists_of_pictures_and_several_folders(tmp_path: Path) -> None:
    folder, names = write_yolo(tmp_path), "names: {0: bar, 1: square}\n"
    (folder / "data.yaml").write_text(f"path: /elsewhere\ntrain: ../set/train.txt\nval: [images/val]\n{names}")
    (folder / "train.txt").write_text("./images/train/3.png\n\n/home/somebody/set/images/train/1.png\n")
    data = load("yolo", folder)
    assert (len(data.train), len(data.test)) == (2, 4)
    (folder / "data.yaml").write_text(f"train: [images/train, images/val]\nval: val.txt\n{names}")
    for text, sentence in {
        None: r"names the part 'val.txt'; in .* that is no folder of pictures within images, and no list of them$",
        "": r"val.txt names no picture$",
        "images/val/1.png\n\nimages/val/9.png": r"val.txt, line 3: 'images/val/9.png' is no picture within images of",
        "images/val/1.png\nimages/val/2.png": r"data.yaml has 2 pictures in both parts, such as .*1.png$",
    }.items():
        if text is not None:
            (folder / "val.txt").write_text(text)
        with pytest.raises(DataError, match=sentence):
            load("yolo", folder)


def test_parts_of_yolo_may_be_called_by_their_year(tmp_path: Path) -> None:
    """As COCO's pictures are, without a data.yaml: else both parts would be one."""
    folder = write_yolo(tmp_path)
    (folder / "data.yaml").rename(folder / "names.yaml")
    for part in ("train", "val"):
        for kind in ("images", "labels"):
            (folder / kind / part).rename(folder / kind / f"{part}2017")
    data = load("yolo", folder)
    assert (len(data.train), len(data.test), data.held_out) == (8, 4, False)


def test_yolo_labels_without_a_picture_and_folders_without_either_are_told(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path)
    (folder / "images" / "val" / "2.png").unlink()
    with pytest.raises(DataError, match=r"val.2\.txt has no picture: there is no .*images.val.2\.\*$"):
        load("yolo", folder)
    with pytest.raises(DataError, match="must hold images/train, images/val"):
        load("yolo", folder / "labels")
    for path in (folder / "labels").rglob("*.txt"):
        path.unlink()
    (folder / "images" / "val" / "2.png").write_bytes((folder / "images" / "val" / "1.png").read_bytes())
    with pytest.raises(DataError, match="yolo: no training picture has a box"):
        load("yolo", folder)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("names: 3", "must have names: a list"), ("names: {1: a, 2: b}", "names must have the numbers 0 to 1"),
        ("[", "is not YAML"), ("nc: 2", "must have names"), ("names: []", "must have names"), ("7", "must have names"),
    ],
)  # fmt: skip
def test_broken_names_of_yolo_are_refused(text: str, sentence: str, tmp_path: Path) -> None:
    (write_yolo(tmp_path) / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=sentence):
        load("yolo", tmp_path)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("coco", "annotations/instances_train2017.json"),
        ("voc", "Annotations/train1.xml"),
        ("yolo", "labels/train/1.txt"),
    ],
)
def test_huge_files_are_refused_before_they_are_read(name: str, file: str, tmp_path: Path) -> None:
    with (WRITERS[name](tmp_path) / file).open("r+b") as opened:
        opened.truncate(2_000_000_000)  # a hole, without a byte on the disk
    with pytest.raises(DataError, match=r"has 2.0 GB; wanted at most"):
        load(name, tmp_path)


@pytest.mark.parametrize("name", WRITERS)
def test_pictures_that_do_not_fit_into_memory_are_told_before_any_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tritoncnn.data.files.memory_left", lambda: 100_000)
    with pytest.raises(
        DataError, match=rf"^{name}: 12 pictures of 32 x 32 would need 442.4 kB of memory; 100.0 kB are left"
    ):
        load(name, WRITERS[name](tmp_path))


def test_another_tasks_reader_is_refused(tmp_path: Path) -> None:
    from tritoncnn.data.colour import ColourReader

    with pytest.raises(DataError, match="data set 'coco' holds pictures with boxes in them; the task reads"):
        load_data("coco", write_coco(tmp_path), ColourReader(32))
