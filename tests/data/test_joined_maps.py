"""Label maps and photographs side by side in one JPEG; label maps and masks of colours that were compressed with loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tritoncnn.data import SOURCES, Dataset, load_data
from tritoncnn.data.label_maps import MapReader
from tritoncnn.data.palette import by_nearest, find_colours
from tritoncnn.data.pieces import PieceReader
from tritoncnn.data.whole import open_named
from tritoncnn.errors import DataError

SIDE = 128
COLOURS = np.array([(0, 0, 170), (0, 0, 255), (0, 85, 255), (85, 255, 170), (255, 255, 0), (170, 0, 0)], np.uint8)
Ids = NDArray[np.int64]


def maps(count: int) -> list[Ids]:
    """Rectangles of all labels on one ground, each with room for its own colour within."""
    random = np.random.RandomState(0)
    found = []
    for _ in range(count):
        ids = np.ones((SIDE, SIDE), np.int64)
        for label in (0, 2, 3, 4, 5):
            top, left = random.randint(0, SIDE - 40, 2)
            ids[top : top + 40, left : left + 40] = label
        found.append(ids)
    return found


def photograph(place: int) -> NDArray[np.uint8]:
    values = np.asarray(open_named("cat"))
    return values[90 : 90 + SIDE, 60 * place : 60 * place + SIDE]


def write_joined(folder: Path, *, left: bool, quality: int = 80) -> list[Ids]:
    """Four for training and one for testing; ``left``: the map's place."""
    found = maps(5)
    for number, ids in enumerate(found):
        both = [COLOURS[ids], photograph(number)]
        place = folder / ("val" if number == 4 else "train")
        place.mkdir(parents=True, exist_ok=True)
        page = Image.fromarray(np.concatenate(both if left else both[::-1], 1))
        page.save(place / f"{number}.jpg", quality=quality)
    return found


def labelled(found: Dataset) -> NDArray[np.int64]:
    """Which of COLOURS each label of a data set is."""
    told = np.array([[int(name[i : i + 2], 16) for i in (1, 3, 5)] for name in found.facts.classes])
    return np.abs(told[:, None] - COLOURS[None].astype(int)).sum(2).argmin(1)


@pytest.mark.parametrize("left", [False, True])
def test_the_half_that_is_the_map_is_seen_and_its_labels_survive_compression(left: bool, tmp_path: Path) -> None:
    wanted = write_joined(tmp_path, left=left)
    found = load_data("joined-maps", tmp_path, MapReader(SIDE))
    assert (len(found.train), len(found.test), len(found.facts.classes)) == (4, 1, 6)
    assert sorted(labelled(found)) == list(range(6))
    assert found.remarks[0].startswith(f"the {'left' if left else 'right'} half of each picture is its label map, in 6")
    for part, some in ((found.train, wanted[:4]), (found.test, wanted[4:])):
        for ids, picture, true in zip(part.x, part.y, some, strict=True):
            assert (labelled(found)[ids.long().numpy()] == true).mean() > 0.97  # the rest are pixels at edges
            assert picture.shape == (3, SIDE, SIDE)
    apart = found.train.y[0].permute(1, 2, 0).numpy() * 255 - photograph(0).astype(np.float32)
    assert np.abs(apart).mean() < 8  # JPEG's


def test_a_trained_net_reads_joined_pictures_their_maps_alone_and_its_own_colours(tmp_path: Path) -> None:
    wanted = write_joined(tmp_path / "data", left=False)
    found = load_data("joined-maps", tmp_path / "data", MapReader(SIDE))
    read = SOURCES["joined-maps"].reader(MapReader(SIDE).of(found.facts))
    whole = tmp_path / "data" / "train" / "0.jpg"
    assert torch.equal(torch.from_numpy(read(whole)), found.train.x[0])
    Image.fromarray(COLOURS[wanted[0]]).save(tmp_path / "map.png")
    assert (labelled(found)[read(tmp_path / "map.png").astype(int)] == wanted[0]).all()
    Image.fromarray(photograph(2)).save(tmp_path / "photograph.png")
    with pytest.raises(DataError, match="photograph.png is no label map of the run, nor is one of its halves"):
        read(tmp_path / "photograph.png")
    again = load_data("joined-maps", tmp_path / "data", MapReader(SIDE).of(found.facts))
    assert again.facts == found.facts


def test_what_is_no_map_beside_a_photograph_is_told(tmp_path: Path) -> None:
    write_joined(tmp_path, left=False)

    def refused(sentence: str, data: str = "joined-maps") -> None:
        with pytest.raises(DataError, match=sentence):
            load_data(data, tmp_path, MapReader(SIDE))

    refused("and no pair; pictures that are map and photograph side by side are for --data joined-maps", "label-maps")
    Image.fromarray(np.zeros((SIDE, 2 * SIDE + 1, 3), np.uint8)).save(tmp_path / "train" / "0.jpg")
    refused("0.jpg is 257 pixels wide, an odd number")
    Image.fromarray(np.concatenate([photograph(0), photograph(1)], 1)).save(tmp_path / "train" / "0.jpg")
    refused("0.jpg: areas of 16 colours have [0-9]+% of its right half, and [0-9]+% of those of the others")
    write_joined(tmp_path, left=False)
    Image.fromarray(np.concatenate([photograph(0), photograph(1)], 1)).save(tmp_path / "val" / "4.jpg")
    refused("4.jpg: in its right half [0-9]+% of the pixels have none of the 6 colours of the other label maps")
    strange = COLOURS[maps(1)[0]]
    strange[:30, :40] = (255, 0, 255)
    Image.fromarray(np.concatenate([photograph(0), strange], 1)).save(tmp_path / "val" / "4.jpg")
    refused(
        "4.jpg: in its right half areas with [0-9]+% of the pixels have none of the 6 colours of the other label maps"
    )
    for number in range(4):
        page = np.concatenate([photograph(number), photograph(number + 1)], 1)
        Image.fromarray(page).save(tmp_path / "train" / f"{number}.jpg")
    refused("one half of each picture of .* must be a label map, in areas of few colours; areas of 16")
    for path in (tmp_path / "val").iterdir():
        path.unlink()
    refused("val holds no picture; wanted a folder train and one val")


def test_noise_around_a_common_colour_is_no_label_of_its_own() -> None:
    values = np.full((100, 100, 3), (0, 0, 255), np.uint8)
    values[:50] = (0, 80, 100)
    values[90:] = (0, 60, 100)  # a label whose colour is like another's
    values[60:62, :20] = (0, 12, 244)
    assert find_colours([values], 63) == ((0, 0, 255), (0, 60, 100), (0, 80, 100))
    assert find_colours([np.arange(192, dtype=np.uint8).reshape(-1, 1, 1).repeat(9, 1).repeat(3, 2)], 3) is None
    edge = values.copy()
    edge[:, 40] = (128, 128, 128)
    found, wrong = by_nearest(edge, ((0, 0, 255), (0, 60, 100), (0, 80, 100)))
    assert not wrong
    assert np.array_equal(found[:, 40], found[:, 39])


@pytest.mark.parametrize(("data", "read"), [("label-maps", MapReader(SIDE)), ("masks", PieceReader(SIDE))])
def test_jpeg_masks_are_read_by_a_list_of_colours_and_refused_without_one(
    data: str, read: MapReader | PieceReader, tmp_path: Path
) -> None:
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    wanted = maps(3)
    for number, ids in enumerate(wanted):
        Image.fromarray(photograph(number)).save(tmp_path / "images" / f"{number}.jpg")
        Image.fromarray(COLOURS[ids]).save(tmp_path / "labels" / f"{number}.jpg", quality=80)
    with pytest.raises(
        DataError, match=r"is a JPG, which changes values; wanted a PNG, or a list of the colours of all"
    ):
        load_data(data, tmp_path, read)
    rows = [f"{r} {g} {b} class {label}" for label, (r, g, b) in enumerate(COLOURS.tolist())]
    (tmp_path / "label_colors.txt").write_text("\n".join(rows))
    found = load_data(data, tmp_path, read)
    assert any("compressed with loss" in remark for remark in found.remarks)
    ids = (found.train.x if data == "label-maps" else found.train.y).numpy()
    assert max(float((ids[0] == one).mean()) for one in wanted) > 0.97
    if data == "label-maps":  # a trained net is handed maps in these colours, too
        again = MapReader(SIDE).of(found.facts)
        Image.fromarray(COLOURS[wanted[0]]).save(tmp_path / "map.png")
        assert np.array_equal(again(tmp_path / "map.png"), wanted[0])
        assert (again(tmp_path / "labels" / "0.jpg") == wanted[0]).mean() > 0.97
    (tmp_path / "label_colors.txt").write_text("0 255 0 green\n255 0 255 violet")
    with pytest.raises(DataError, match=r"[0-9]+% of the pixels have none of the 2 colours of .*label_colors.txt"):
        load_data(data, tmp_path, read)
