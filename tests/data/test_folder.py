"""Folders as people have them: parted, nested, with other files between the pictures."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.train.samples import write_pictures
from tritoncnn.data import Dataset, load_data
from tritoncnn.data.colour import ColourReader
from tritoncnn.data.define import BlankError
from tritoncnn.data.ink import read_ink
from tritoncnn.data.stream import blank_rows
from tritoncnn.errors import DataError


def load(folder: Path) -> Dataset:
    return load_data("folder", folder, read_ink)


@pytest.mark.parametrize(("train", "test"), [("train", "val"), ("Training", "test"), ("train", "validation")])
def test_a_folder_that_is_parted_already_keeps_its_parts(tmp_path: Path, train: str, test: str) -> None:
    write_pictures(tmp_path / train, ("a", "b", "c"), each=5)
    write_pictures(tmp_path / test, ("a", "c"), each=3)
    data = load(tmp_path)
    assert data.facts.classes == ("a", "b", "c")
    assert data.train.y.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert data.test.y.tolist() == [0] * 3 + [2] * 3
    assert data.note["train_pictures_per_class"] == [5, 5, 5]


def test_val_goes_before_test_and_the_other_is_told(tmp_path: Path) -> None:
    for name, each in (("train", 4), ("val", 3), ("test", 2)):
        write_pictures(tmp_path / name, ("a", "b"), each=each)
    data = load(tmp_path)
    assert len(data.test) == 6
    assert any("test was left aside: train and val are used" in remark for remark in data.remarks)


def test_a_part_for_training_alone_is_parted(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", ("a", "b"), each=5)
    data = load(tmp_path)
    assert (len(data.train), len(data.test)) == (8, 2)


def test_classes_may_be_called_train_and_val(tmp_path: Path) -> None:
    write_pictures(tmp_path, ("train", "val", "plane"), each=5)
    assert load(tmp_path).facts.classes == ("plane", "train", "val")


def test_what_programs_keep_beside_the_pictures_is_no_class(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pets", ("a", "b"), each=5)
    for name in (".DS_Store", "._a", "a/.DS_Store", "a/._0.png"):
        (tmp_path / "pets" / name).write_bytes(b"\0\0\0\1Bud1")
    before = load(tmp_path / "pets")
    for place in (tmp_path / "pets", tmp_path / "pets" / "a"):
        (place / "__MACOSX" / "pets").mkdir(parents=True)
        (place / "__MACOSX" / "pets" / "._0.png").write_bytes(b"")
    data = load(tmp_path / "pets")
    assert (data.facts.classes, data.note) == (before.facts.classes, before.note)


def test_a_class_that_only_the_test_part_has_is_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", ("a", "b"), each=2)
    write_pictures(tmp_path / "val", ("a", "z"), each=2)
    with pytest.raises(DataError, match=r"val has the class 'z', of which .*train has no pictures"):
        load(tmp_path)


def test_pictures_in_folders_of_a_class_are_found(tmp_path: Path) -> None:
    write_pictures(tmp_path, ("a", "b"), each=5)
    (tmp_path / "a" / "more" / "deep").mkdir(parents=True)
    for path in sorted((tmp_path / "a").glob("[012].*")):
        path.rename(tmp_path / "a" / "more" / "deep" / path.name)
    (tmp_path / "a" / "more" / "back").symlink_to(tmp_path)  # a circle
    assert load(tmp_path).note["train_pictures_per_class"] == [4, 4]


def test_what_is_left_out_is_told_by_kind_and_number(tmp_path: Path) -> None:
    write_pictures(tmp_path, ("a", "b"), each=10)
    for name in ("x.heic", "y.HEIC", "notes.txt", "nothing"):
        (tmp_path / "a" / name).write_bytes(b"?")
    Image.new("L", (40, 40), 255).save(tmp_path / "b" / "blank.png")
    shutil.copy(tmp_path / "a" / "0.jpg", tmp_path / "stray.jpg")
    (tmp_path / "readme.md").write_text("of no class, and no picture")
    data = load(tmp_path)
    assert data.note["left_out"] == {
        ".heic files": 2,
        ".txt files": 1,
        "files without a suffix": 1,
        "blank pictures": 1,
        "pictures in no class folder": 1,
    }
    told = " ".join(data.remarks)
    assert f"6 files of {tmp_path} were left out: 2 .heic files, 1 " in told
    assert "20 pictures in 2 classes (training + test): a 8+2, b 8+2" in told


@pytest.mark.parametrize("suffix", [".jfif", ".JPE", ".jpg"])
def test_jpeg_files_by_any_name_are_pictures(tmp_path: Path, suffix: str) -> None:
    write_pictures(tmp_path, ("a", "b"), each=6)
    for path in (tmp_path / "a").glob("*.jpg"):
        path.rename(path.with_suffix(suffix))
    assert load(tmp_path).note["train_pictures_per_class"] == [5, 5]


def test_a_pipe_and_a_broken_link_among_the_pictures_are_named(tmp_path: Path) -> None:
    write_pictures(tmp_path, ("a", "b"), each=3)
    os.mkfifo(tmp_path / "a" / "pipe.png")
    with pytest.raises(DataError, match=r"pipe.png cannot be read: it is a pipe or a device"):
        load(tmp_path)
    (tmp_path / "a" / "pipe.png").unlink()
    (tmp_path / "a" / "link.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"link.png does not exist"):
        load(tmp_path)


def test_names_that_are_no_text_are_classes_all_the_same(tmp_path: Path) -> None:
    write_pictures(tmp_path, ("a", "b"), each=5)
    try:
        os.rename(os.fsencode(tmp_path / "a"), os.fsencode(tmp_path) + b"/\xff\xfe")
    except OSError:
        pytest.skip("this file system wants names in UTF-8")
    data = load(tmp_path)
    assert data.facts.classes == ("b", "\udcff\udcfe")
    shutil.rmtree(tmp_path / "b")
    with pytest.raises(DataError, match="must hold at least 2 folders of pictures"):
        load(tmp_path)


def test_a_folder_that_does_not_fit_into_memory_is_told_by_its_first_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path, ("a", "b"), each=3)
    (tmp_path / "b" / "0.jpg").write_bytes(b"broken, and never read")
    monkeypatch.setattr("tritoncnn.data.files.memory_left", lambda: 56_000)
    with pytest.raises(
        DataError, match=r"holds 6 files, which as pictures of 28 x 28 would need 56.4 kB of memory; 56.0 kB"
    ):
        load(tmp_path)


def test_colour_pictures_of_a_share_and_of_parts_have_the_size_that_is_asked_for(tmp_path: Path) -> None:
    """ImageNet's layout: train/ and val/ with a folder for each class, pictures of any size, grey ones among them."""
    for part, each in (("train", 3), ("val", 2)):
        for name, ink in (("n01", (200, 30, 30)), ("n02", (30, 30, 200))):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(each):
                picture = Image.new("RGB", (50 + 20 * number, 40), ink)
                picture.paste(tuple(level // 2 for level in ink), (0, 0, 50 + 20 * number, 20))
                (picture.convert("L") if number == 1 else picture).save(tmp_path / part / name / f"{number}.JPEG")
    data = load_data("folder", tmp_path, ColourReader(24))
    assert data.train.x.shape == (6, 3, 24, 24)
    assert data.test.x.shape == (4, 3, 24, 24)
    assert len(data.facts.mean) == 3
    assert (data.train.x[0, 0] > data.train.x[0, 2]).all()  # more red than blue
    assert (data.train.x[3, 0] < data.train.x[3, 2]).all()
    share = load_data("folder", tmp_path / "train", ColourReader(24))
    assert (len(share.train), len(share.test)) == (4, 2)


def test_a_colour_picture_of_one_colour_is_blank(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            picture = Image.new("RGB", (60, 40), "orange")
            picture.putpixel((30, 20 + number), (0, 0, 200))
            picture.save(tmp_path / name / f"{number}.png")
    Image.new("RGB", (60, 40), (9, 200, 30)).save(tmp_path / "a" / "3.jpg")
    with pytest.raises(BlankError, match=r"3\.jpg is blank: its middle square has one colour$"):
        ColourReader(24)(tmp_path / "a" / "3.jpg")
    lazy = load_data("folder", tmp_path, ColourReader(24), {"stream": True})
    assert blank_rows(lazy.train.x[:]).sum() + lazy.note["left_out"].get("blank pictures", 0) == 1
    data = load_data("folder", tmp_path, ColourReader(24))
    assert len(data.train) + len(data.test) == 6
    assert f"1 files of {tmp_path} were left out: 1 blank pictures" in data.remarks
