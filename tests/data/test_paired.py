"""Pictures with masks beside them: forms of folders that are read, and every broken thing told in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tritoncnn.data import IGNORED, Dataset, load_data
from tritoncnn.data.boxes import FittedReader
from tritoncnn.data.mask_files import CITYSCAPES, VOC, read_mask
from tritoncnn.data.paired import DEPTHS, MASKS, Pair, Parts, check_sizes, find_pairs, part_pairs
from tritoncnn.errors import DataError

SIDE = 16
COLOURS = {"sky": (128, 128, 128), "road": (128, 64, 128), "Void": (0, 0, 0)}


def put(path: Path, values: object, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(values, np.uint8))
    if mode == "P":
        picture = Image.fromarray(np.asarray(values, np.uint8), "L").copy()
        picture.putpalette([value for n in range(256) for value in (n, 255 - n, n // 2)])
    picture.save(path)
    return path


def picture(number: int = 0, height: int = 8, width: int = 12) -> np.ndarray:
    return np.random.RandomState(number).randint(0, 256, (height, width, 3)).astype(np.uint8)


def mask(number: int = 0, classes: int = 2, height: int = 8, width: int = 12) -> np.ndarray:
    found = np.random.RandomState(number).randint(0, classes, (height, width)).astype(np.uint8)
    found[0, :classes] = range(classes)
    return found


def load(folder: Path) -> Dataset:
    return load_data("masks", folder, FittedReader(SIDE))


def two_folders(place: Path, count: int = 5, pictures: str = "images", masks: str = "masks", end: str = "") -> Path:
    for number in range(count):
        put(place / pictures / f"p{number}.png", picture(number))
        put(place / masks / f"p{number}{end}.png", mask(number))
    return place


def in_parts(place: Path, form: str) -> Path:
    for part, first in (("train", 0), ("val", 10)):
        for number in range(first, first + 2):
            inside, outside = form.format(part=part).split()
            put(place / inside / f"s_{number}.png", picture(number))
            put(place / outside / f"s_{number}.png", mask(number))
    return place


def cityscapes(place: Path, kind: str = "labelIds") -> Path:
    for part, city in (("train", "aachen"), ("train", "bonn"), ("val", "ulm")):
        stem = f"{city}_000000_000019"
        put(place / "leftImg8bit" / part / city / f"{stem}_leftImg8bit.png", picture())
        ids = np.full((8, 12), 7)
        ids[:4] = 26 if kind == "labelIds" else 13
        ids[0, 0] = 0 if kind == "labelIds" else 255
        ids[1:4, 1:4] = ids[5, 5]
        if kind != "labelIds":
            ids[ids == 7] = 0
        put(place / "gtFine" / part / city / f"{stem}_gtFine_{kind}.png", ids)
        put(place / "gtFine" / part / city / f"{stem}_gtFine_color.png", picture())
        put(place / "gtFine" / part / city / f"{stem}_gtFine_instanceIds.png", ids)
    return place


def unpacked_cityscapes(place: Path) -> Path:
    """Each archive in a folder of its own, beside what else it holds."""
    cityscapes(place)
    for name in ("leftImg8bit", "gtFine"):
        (place / f"{name}_trainvaltest").mkdir()
        (place / name).rename(place / f"{name}_trainvaltest" / name)
        (place / f"{name}_trainvaltest" / "README").write_text("terms")
    return place


def camvid(place: Path, list_name: str = "label_colors.txt") -> Path:
    for film in ("0001TP", "0006R0", "0016E5"):
        for frame in (6690, 6720):
            colours = np.zeros((8, 12, 3))
            colours[:, :6], colours[:, 6:11] = COLOURS["sky"], COLOURS["road"]
            put(place / "701_StillsRaw_full" / f"{film}_{frame:06}.png", picture(frame))
            put(place / "LabeledApproved_full" / f"{film}_{frame:06}_L.png", colours)
    if list_name == "label_colors.txt":
        text = "".join(f"{r} {g} {b}\t{name}\n" for name, (r, g, b) in COLOURS.items())
    else:
        text = "name,r,g,b\n" + "".join(f"{name},{r},{g},{b}\n" for name, (r, g, b) in COLOURS.items())
    (place / list_name).write_text(text)
    return place


def voc(place: Path) -> Path:
    for number in range(4):
        put(place / "JPEGImages" / f"2007_{number}.jpg", picture(number))
        ids = np.where(mask(number), 15, 0)
        ids[-1] = 255
        put(place / "SegmentationClass" / f"2007_{number}.png", ids, "P")
    put(place / "JPEGImages" / "2007_9.jpg", picture())  # as most of VOC's, without a mask
    (place / "Annotations").mkdir()
    for name, rows in (("train", "2007_0\n2007_1\n2007_2\n"), ("val", "2007_3\n")):
        path = place / "ImageSets" / "Segmentation" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rows)
    return place


FORMS: dict[str, tuple[Callable[[Path], Path], tuple[int, int]]] = {
    "two folders": (two_folders, (4, 1)),
    "an ending": (lambda place: two_folders(place, end="_mask"), (4, 1)),
    "one folder": (lambda place: two_folders(place, pictures=".", masks=".", end="_mask"), (4, 1)),
    "one folder of no known name": (lambda place: two_folders(place, masks="segs"), (4, 1)),
    "parts with folders": (lambda place: in_parts(place, "{part}/images {part}/masks"), (2, 2)),
    "folders with parts": (lambda place: in_parts(place, "images/{part} annotations/{part}"), (2, 2)),
    "SegNet's CamVid": (lambda place: in_parts(place, "{part} {part}annot"), (2, 2)),
    "parts with labels beside": (lambda place: in_parts(place, "{part} {part}_labels"), (2, 2)),
    "Cityscapes": (cityscapes, (2, 1)),
    "Cityscapes's archives": (unpacked_cityscapes, (2, 1)),
    "CamVid": (camvid, (4, 2)),
    "VOC": (voc, (3, 1)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_folder_is_read_and_parted(form: str, tmp_path: Path) -> None:
    make, counts = FORMS[form]
    data = load(make(tmp_path))
    assert (len(data.train), len(data.test)) == counts
    assert data.train.x.shape[1:] == (3, SIDE, SIDE)
    assert (data.train.y.shape[1:], data.train.y.dtype) == ((SIDE, SIDE), torch.int64)
    assert load(tmp_path).fingerprint == data.fingerprint
    assert bool((data.train.y[:, 11:] == IGNORED).all())  # 12 x 8 becomes 16 x 11: the rest counts for nothing


def test_a_mask_stays_on_its_picture(tmp_path: Path) -> None:
    for number in range(4):
        ids = mask(number)
        put(tmp_path / "images" / f"{number}.png", np.stack([ids * 255] * 3, 2))
        put(tmp_path / "masks" / f"{number}.png", ids)
    data = load_data("masks", tmp_path, FittedReader(12))  # the pictures' own size
    light = torch.from_numpy(data.facts.restore(data.train.x))[:, 0, :8] > 0.5
    assert torch.equal(light, data.train.y[:, :8] == 1)


def test_ids_colours_and_palettes_become_classes(tmp_path: Path) -> None:
    data = load(cityscapes(tmp_path / "ids"))
    assert data.facts.classes == tuple(CITYSCAPES)
    assert set(data.train.y.unique().tolist()) == {IGNORED, 0, 13}  # road, car
    trained = load(cityscapes(tmp_path / "train-ids", "labelTrainIds"))
    assert set(trained.train.y.unique().tolist()) == {IGNORED, 0, 13}
    for name in ("label_colors.txt", "class_dict.csv"):
        data = load(camvid(tmp_path / name, name))
        assert data.facts.classes == ("sky", "road")
        assert set(data.train.y.unique().tolist()) == {IGNORED, 0, 1}
    data = load(voc(tmp_path / "voc"))
    assert data.facts.classes == VOC
    assert set(data.train.y.unique().tolist()) == {IGNORED, 0, 15}


def test_masks_in_black_and_white_are_ground_and_things(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / "images" / f"{number}.png", picture(number))
        Image.fromarray(mask(number).astype(bool)).save(put(tmp_path / "masks" / f"{number}.png", mask(number) * 255))
    data = load(tmp_path)
    assert data.facts.classes == ("background", "foreground")
    assert set(data.train.y.unique().tolist()) == {IGNORED, 0, 1}

    (tmp_path / "classes.txt").write_text("lawn\ncoin\n")  # of a list of two, too, 255 is the second
    named = load(tmp_path)
    assert named.facts.classes == ("lawn", "coin")
    assert torch.equal(named.train.y, data.train.y)


def test_colours_are_those_of_palettes_and_of_grey_where_the_list_is_grey(tmp_path: Path) -> None:
    for place, words in (("shown", "0 255 0 sky\n1 254 0 road\n"), ("grey", "0 0 0 sky\n1 1 1 road\n")):
        for number in range(3):
            put(tmp_path / place / "images" / f"{number}.png", picture(number))
            put(tmp_path / place / "masks" / f"{number}.png", mask(number), "P" if place == "shown" else None)
        (tmp_path / place / "label_colors.txt").write_text(words)
    shown, grey = load(tmp_path / "shown"), load(tmp_path / "grey")
    assert set(shown.train.y.unique().tolist()) == {IGNORED, 0, 1}
    assert torch.equal(shown.train.y, grey.train.y)


def test_a_table_of_classes_is_read_by_its_title(tmp_path: Path) -> None:
    """As CamVid's class_dict.csv that also tells which 11 classes the field compares."""
    camvid(tmp_path, "class_dict.csv")
    plain = load(tmp_path)
    rows = [(name, *colour) for name, colour in COLOURS.items()]
    text = "class_11,r,g,b,name\n" + "".join(f"1,{r},{g},{b},{name}\n" for name, r, g, b in rows)
    for table in (text, "name,r,g,b,class_11\n" + "".join(f"{name},{r},{g},{b},0\n" for name, r, g, b in rows)):
        (tmp_path / "class_dict.csv").write_text(table)
        again = load(tmp_path)
        assert again.facts.classes == plain.facts.classes
        assert torch.equal(again.train.y, plain.train.y)


def test_classes_without_a_training_pixel_are_told(tmp_path: Path) -> None:
    two_folders(tmp_path)
    (tmp_path / "classes.txt").write_text("sky\nroad\ntree\n")
    assert load(tmp_path).remarks == ("masks: no training pixel is of 1 of the 3 classes: tree",)


def test_films_and_folders_are_never_in_both_parts(tmp_path: Path) -> None:
    parts = part_pairs("masks", find_pairs(camvid(tmp_path / "films"), MASKS))
    films = [{pair.picture.name.split("_")[0] for pair in part} for part in parts]
    assert films[0] | films[1] == {"0001TP", "0006R0", "0016E5"}
    assert not films[0] & films[1]
    for town in "abcd":
        two_folders(tmp_path / "towns", 2, f"images/{town}", f"masks/{town}")
    towns = [
        {pair.picture.parent.name for pair in part} for part in part_pairs("", find_pairs(tmp_path / "towns", MASKS))
    ]
    assert (len(towns[0]), len(towns[1])) == (3, 1)
    assert not towns[0] & towns[1]


def test_other_things_than_masks_are_paired_alike(tmp_path: Path) -> None:
    pairs = find_pairs(two_folders(tmp_path, 3, "rgb", "depth"), DEPTHS)
    assert [(pair.picture.name, pair.beside.name) for pair in pairs.train] == [(f"p{n}.png",) * 2 for n in range(3)]
    assert pairs.test is None
    assert check_sizes(pairs.train[0], DEPTHS) == (12, 8)


def broken(place: Path, what: str) -> Path:
    two_folders(place)
    images, masks = place / "images", place / "masks"
    if what == "id":
        (place / "classes.txt").write_text("ground\nthing\n")
        ids = mask()
        ids[3, 5] = 7
        put(masks / "p2.png", ids)
    elif what == "id of 16 bits":
        Image.fromarray(np.full((8, 12), 300, np.uint16)).save(masks / "p2.png")
    elif what == "size":
        put(masks / "p2.png", mask(height=12, width=8))
    elif what == "size of one pixel":
        put(masks / "p2.png", mask(width=11))
    elif what == "no mask":
        (masks / "p2.png").unlink()
    elif what == "no picture":
        (images / "p2.png").unlink()
        (images / "p3.png").unlink()
    elif what == "no pair":
        for path in masks.iterdir():
            path.rename(masks / f"x{path.name}")
    elif what == "one pair":
        for n in range(1, 5):
            (masks / f"p{n}.png").unlink()
            (images / f"p{n}.png").unlink()
    elif what == "two pictures":
        put(images / "p2.bmp", picture())
    elif what == "two masks":
        put(masks / "p2.bmp", mask())
    elif what == "no masks":
        for path in masks.iterdir():
            path.unlink()
    elif what == "broken mask":
        (masks / "p2.png").write_bytes((masks / "p2.png").read_bytes()[:40])
    elif what == "broken picture":
        (images / "p2.png").write_bytes(b"no picture")
    elif what == "JPEG":
        (masks / "p2.png").unlink()
        put(masks / "p2.jpg", mask())
    elif what == "colours":
        put(masks / "p2.png", picture())
    elif what == "ids for colours":
        (place / "label_colors.txt").write_text("1 2 3 sky\n4 5 6 road\n")
    elif what == "unknown colour":
        (place / "label_colors.txt").write_text("1 2 3 sky\n4 5 6 road\n")
        for path in masks.iterdir():
            put(path, np.where(mask()[:, :, None], [4, 5, 7], [1, 2, 3]))
    elif what == "one class":
        for path in masks.iterdir():
            put(path, np.zeros((8, 12)))
    elif what == "void":
        for path in masks.iterdir():
            put(path, np.full((8, 12), 255))
    elif what == "smoothed":
        for path in masks.iterdir():
            put(path, np.linspace(0, 255, 96).reshape(8, 12))
    elif what == "one class named":
        (place / "classes.txt").write_text("all\n")
    elif what == "class twice":
        (place / "classes.txt").write_text("a\nb\na\n")
    elif what == "colour twice":
        (place / "label_colors.txt").write_text("1 2 3 sky\n1 2 3 road\n")
    elif what == "colour of 256":
        (place / "label_colors.txt").write_text("1 2 3 sky\n1 2 256 road\n")
    return place


BROKEN = {
    "id": r"mask .*masks/p2.png has the id 7 at column 5, row 3; .*classes.txt has the ids 0 to 1, and 255 for pixels that",
    "id of 16 bits": r"mask .*p2.png has the id 300; wanted ids from 0 to 255",
    "size": r"mask .*masks/p2.png is 8 x 12; its picture .*images/p2.png is 12 x 8",
    "size of one pixel": r"mask .*masks/p2.png is 11 x 8; its picture .*images/p2.png is 12 x 8",
    "no mask": r"1 picture \(.*images/p2.png\) has no mask beside it in .*masks",
    "no picture": r"2 masks \(.*masks/p2.png, .*masks/p3.png\) have no picture of the same name in .*images",
    "no pair": r"images and .*masks must hold pictures with a mask of the same name .*; got 5 pictures and 5 masks, and no pair",
    "one pair": r"masks: wanted pictures of at least 2 sources, one of them for testing; got 1",
    "two pictures": r"pictures .*images/p2.bmp and .*images/p2.png have one name; take one of them out",
    "two masks": r"masks .*masks/p2.bmp and .*masks/p2.png have one name; take one of them out",
    "no masks": r"got 5 pictures and 0 masks, and no pair",
    "broken mask": r"picture .*masks/p2.png cannot be read",
    "broken picture": r"picture .*images/p2.png cannot be read: it is not one of PNG",
    "JPEG": r"mask .*masks/p2.jpg is a JPG, which changes values; wanted a PNG",
    "colours": r"mask .*masks/p2.png holds colours, of which no file tells the classes: wanted ids, or label_colors.txt or",
    "ids for colours": r"mask .*masks/p0.png holds ids; .*label_colors.txt tells of colours, so it must hold colours",
    "unknown colour": r"mask .*masks/p.*.png has the colour \(4, 5, 7\) at column .*, row .*; .*label_colors.txt has no such",
    "one class": r"the masks of .* have the ids \[0\]; wanted those of at least 2 classes",
    "void": r"the masks of .* have the ids \[255\]; wanted those of at least 2 classes",
    "smoothed": r"have 96 ids up to 252, and no list of classes: wanted classes.txt with a name a line, from id 0 on; masks that",
    "one class named": r"classes.txt must name 2 to 255 classes; got 1",
    "class twice": r"classes.txt has the class 'a' twice",
    "colour twice": r"label_colors.txt has the colour \(1, 2, 3\) twice",
    "colour of 256": r"label_colors.txt: each line must be a name and three numbers from 0 to 255; got '1 2 256 road'",
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_told_in_one_sentence(what: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=BROKEN[what]) as caught:
        load(broken(tmp_path, what))
    assert "\n" not in str(caught.value)


def test_lists_that_name_what_is_not_there_and_folders_that_hold_nothing(tmp_path: Path) -> None:
    path = voc(tmp_path / "voc") / "ImageSets" / "Segmentation" / "val.txt"
    path.write_text("2007_9\n")
    with pytest.raises(DataError, match=r"val.txt names '2007_9', of which there is no picture with a mask"):
        load(tmp_path / "voc")
    path.write_text("")
    with pytest.raises(DataError, match=r"val.txt names no picture"):
        load(tmp_path / "voc")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"got 0 pictures and 0 masks, and no pair"):
        load(tmp_path / "empty")


def test_a_mask_turned_by_its_tag_is_compared_and_read_upright(tmp_path: Path) -> None:
    ids = mask(height=8, width=12)
    turned = Image.fromarray(ids).rotate(90, expand=True)
    tag = turned.getexif()
    tag[0x0112] = 6
    path = tmp_path / "mask.png"
    turned.save(path, exif=tag)
    np.testing.assert_array_equal(read_mask(path, None), ids)
    pair = Pair(put(tmp_path / "picture.png", picture()), path, "")
    assert check_sizes(pair, MASKS) == (12, 8)


def test_one_source_alone_cannot_be_parted() -> None:
    pair = Pair(Path("a"), Path("b"), "scene")
    with pytest.raises(DataError, match="wanted pictures of at least 2 sources"):
        part_pairs("", Parts([pair, pair], None))
    assert part_pairs("", Parts([pair], [pair])) == ([pair], [pair])
