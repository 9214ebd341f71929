"""Pictures that stay on disk: the same values in the same order, however many processes read them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.boxed import WRITERS
from tests.data.test_paired import two_folders
from tests.train.runs import Remarks, assert_same_run
from tests.train.samples import write_pictures
from tritoncnn.data import SOURCES, Dataset, load_data
from tritoncnn.data.boxes import FittedReader
from tritoncnn.data.define import Array, Examples
from tritoncnn.data.ink import read_ink
from tritoncnn.data.pieces import PieceReader
from tritoncnn.data.stream import (
    PictureFiles,
    blank_rows,
    first,
    in_place_of_blanks,
    on_disk,
    passing,
    read_ahead,
    sampled,
    without_blanks,
)
from tritoncnn.errors import DataError, InputError
from tritoncnn.tasks import find_task
from tritoncnn.train import Options, Silent, measure, rehearse, resume, train

STACK = find_task("stack")
EACH = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"), each=EACH)


def load(folder: Path, **own: object) -> Dataset:
    return load_data("folder", folder, read_ink, own)


def test_pictures_on_disk_are_those_in_memory(folder: Path) -> None:
    eager, lazy = load(folder), load(folder, stream=True)
    assert on_disk(eager.train) is None
    assert on_disk(lazy.train) is not None
    assert lazy.facts == eager.facts, "so few pictures are all in the sample"
    assert lazy.note == eager.note
    assert lazy.about == eager.about
    for one, other in ((lazy.train, eager.train), (lazy.test, eager.test)):
        assert len(one) == len(other)
        assert torch.equal(one.y, other.y)
        assert torch.equal(one.x[:], other.x)
        assert torch.equal(one.x[-1], other.x[-1])
        assert torch.equal(one.x[0], other.x[0])
        rows = torch.tensor([3, 0, 2])
        assert torch.equal(one.take(rows).x, other.x[rows])
        assert torch.equal(one.x[one.y == 1], other.x[other.y == 1])
        assert (one.x.shape, one.x.dim(), one.x.dtype) == (other.x.shape, other.x.dim(), other.x.dtype)
        assert torch.equal(sampled(one).x, other.x)
        few = first(one, 4)
        assert on_disk(few) is not None
        assert (len(few), len(first(one, 1000)), few.x.shape) == (4, len(other), other.x[:4].shape)
        for part in (few, first(other, 4)):
            assert torch.equal(part.x[:], other.x[:4])
            assert torch.equal(part.y, other.y[:4])


@pytest.mark.parametrize("name", WRITERS)
def test_pictures_with_boxes_on_disk_are_those_in_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, read = WRITERS[name](tmp_path / "data"), FittedReader(32)
    eager, lazy = load_data(name, place, read), load_data(name, place, read, {"stream": True})
    assert on_disk(lazy.train) is not None
    assert (lazy.facts, lazy.note, lazy.about) == (eager.facts, eager.note, eager.about)
    for one, other in ((lazy.train, eager.train), (lazy.test, eager.test)):
        assert torch.equal(one.y, other.y)
        assert torch.equal(one.x[:], other.x)
        assert torch.equal(torch.cat(list(read_ahead(one.x, torch.arange(len(one)).split(3), 2))), other.x)
    shutil.move(place, tmp_path / "moved")
    assert load_data(name, tmp_path / "moved", read, {"stream": True}).fingerprint == lazy.fingerprint
    monkeypatch.setattr("tritoncnn.data.files.memory_left", lambda: 1000)
    with pytest.raises(DataError, match="would need .* are left: --stream reads them when they are needed$"):
        load_data(name, tmp_path / "moved", read)
    assert len(load_data(name, tmp_path / "moved", read, {"stream": True}).train) == 8


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_come_in_the_order_that_was_said(folder: Path, workers: int) -> None:
    data, before = load(folder, stream=True), torch.get_rng_state()
    batches = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(1)).split(5)
    found = list(read_ahead(data.train.x, batches, workers))
    assert len(found) == len(batches)
    for rows, x in zip(batches, found, strict=True):
        assert torch.equal(x, data.train.x[rows])
    assert torch.equal(torch.get_rng_state(), before), "a seeded run draws from it"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_breaks_later_is_told_by_name_when_its_batch_comes(
    folder: Path, tmp_path: Path, workers: int
) -> None:
    place = tmp_path / "broken"
    shutil.copytree(folder, place)
    data = load(place, stream=True)
    files = on_disk(data.train)
    assert files is not None
    files.paths[7].write_bytes(b"no picture")
    batches = torch.arange(9).split(3)
    found = read_ahead(data.train.x, batches, workers)
    assert [next(found).shape[0] for _ in range(2)] == [3, 3]
    with pytest.raises(DataError, match=f"^picture {files.paths[7]} cannot be read: it is not one of PNG") as error:
        next(found)
    assert "Traceback" not in str(error.value)


class Deadly:
    """A reader whose process is killed by one of the files, as the kernel does when memory runs out."""

    def __init__(self, mine: int) -> None:
        self.mine = mine

    def __call__(self, path: Path) -> Array:
        if path.name == "2" and os.getpid() != self.mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros((1, 2, 2 + (path.name == "4")), np.float32)


def test_a_process_that_is_killed_and_a_picture_of_another_size_are_told() -> None:
    shape = torch.Size((5, 1, 2, 2))
    files = PictureFiles(tuple(Path(str(i)) for i in range(5)), Path(), Deadly(os.getpid()), shape)
    with pytest.raises(DataError, match="a process that reads pictures ended early, perhaps for want of memory"):
        list(read_ahead(files, [torch.tensor([i]) for i in range(3)], 1))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"^picture 4 is read as \[1, 2, 3\]; the others are \[1, 2, 2\]$"):
        files[torch.tensor([0, 4])]


def test_the_fingerprint_is_of_names_sizes_and_labels_wherever_they_are(folder: Path, tmp_path: Path) -> None:
    first = load(folder, stream=True).fingerprint
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert load(copy, stream=True).fingerprint == first
    some = next(copy.rglob("*.jpg"), None) or next(copy.rglob("*.png"))
    some.write_bytes(some.read_bytes() + b"more")
    assert load(copy, stream=True).fingerprint != first
    shutil.copyfile(folder / some.relative_to(copy), some)
    assert load(copy, stream=True).fingerprint == first
    some.rename(some.with_stem("other"))
    assert load(copy, stream=True).fingerprint != first


def test_what_does_not_fit_into_memory_names_the_flag_that_helps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tritoncnn.data.files.memory_left", lambda: 1000)
    with pytest.raises(DataError, match="of memory; .* are left: --stream reads them when they are needed$"):
        load(folder)
    assert len(load(folder, stream=True).train) > 0
    assert "stream" in {row.name for row in SOURCES["folder"].options}


def test_a_rehearsal_reads_from_disk_as_the_run_will(folder: Path) -> None:
    given: dict[str, Any] = {"data": "folder", "data_dir": str(folder), "depth": 0, "batch_size": 4, "workers": 1}
    for stream in (True, False):
        progress = Remarks()
        rehearse(Options.of(STACK, **given, stream=stream), progress)
        assert ("--workers 1: folder is in memory, and needs none" in progress.said) is not stream


class StopAfter(Silent):
    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, examples: int, loss: float) -> None:
        self.left -= 1
        if not self.left:
            signal.raise_signal(signal.SIGINT)


def test_a_run_from_disk_has_the_same_bits_for_any_number_of_processes_and_resumes_to_them(
    folder: Path, tmp_path: Path
) -> None:
    def options(workers: int) -> Options:
        return Options.of(
            STACK, data="folder", data_dir=str(folder), stream=True, depth=0, epochs=2, batch_size=4, workers=workers,
            augment="crop",
        )  # fmt: skip

    whole = train(options(0), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(options(2), tmp_path / "run", StopAfter(4))
    resume(STACK, tmp_path / "run", {"workers": 1})
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert "pictures, asked of" in whole.summary["baseline"]["by"]
    measured = measure(STACK, tmp_path / "run").note
    assert measured["metrics"]["accuracy"] == whole.summary["metrics"]["accuracy"]
    with pytest.raises(InputError, match=r"--stream True \(the run: .*|differ: --stream"):
        resume(STACK, tmp_path / "run", {"stream": False})


def with_blanks(folder: Path, place: Path) -> Path:
    """A copy with two blank pictures more in the first class; of its 14 two are for testing."""
    copy = Path(shutil.copytree(folder, place))
    for name in ("0a", "3a"):
        Image.new("L", (40, 60), 200).save(copy / "left" / f"{name}.png")
    return copy


def test_blank_pictures_on_disk_are_told_and_passed_over(folder: Path, tmp_path: Path) -> None:
    place = with_blanks(folder, tmp_path / "blank")

    def options(workers: int) -> Options:
        return Options.of(
            STACK, data="folder", data_dir=str(place), stream=True, depth=0, epochs=2, batch_size=4, workers=workers
        )

    progress = Remarks()
    whole = train(options(0), tmp_path / "whole", progress)
    data = load(place, stream=True)
    assert (
        sum(path.stem in ("0a", "3a") for path in data.train.x.paths) + data.note["left_out"].get("blank pictures", 0)
        == 2
    )  # type: ignore[attr-defined]
    told = [line for line in progress.said if "is blank, and is passed over" in line]
    assert len(told) == len(set(told)) == sum(path.stem in ("0a", "3a") for path in data.train.x.paths)  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        train(options(2), tmp_path / "run", StopAfter(4))
    resume(STACK, tmp_path / "run", {"workers": 1})
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    measured = measure(STACK, whole.run, part="all").note
    assert measured["examples"] == 3 * EACH


def test_broken_pictures_on_disk_are_told_and_passed_over_if_they_are_few(folder: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(folder, tmp_path / "broken"))
    files = on_disk(load(place, stream=True).train)
    assert files is not None
    cut, *rest = (files.paths[n] for n in range(0, len(files), 4))
    cut.write_bytes(cut.read_bytes()[:100])
    data = load(place, stream=True)
    with pytest.raises(DataError, match=f"^picture {cut} "):
        data.train.x[:]  # as it is for whoever does not say that it may be passed over
    few = passing(data.train)
    assert blank_rows(few.x[:]).tolist() == [path == cut for path in files.paths]
    assert len(sampled(few)) == len(without_blanks(few)) == len(files) - 1

    def options(workers: int) -> Options:
        return Options.of(
            STACK, data="folder", data_dir=str(place), stream=True, depth=0, epochs=2, batch_size=4, workers=workers
        )

    progress = Remarks()
    whole = train(options(0), tmp_path / "whole", progress)
    told = [line for line in progress.said if line.endswith("; it is passed over")]
    assert len(told) == 1
    assert told[0].startswith(f"picture {cut} ")
    with pytest.raises(KeyboardInterrupt):
        train(options(2), tmp_path / "run", StopAfter(4))
    resume(STACK, tmp_path / "run", {"workers": 1})
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert measure(STACK, whole.run, part="train").note["examples"] == len(files) - 1
    begun = load(place, stream=True)
    for path in rest:
        path.write_bytes(b"no picture")
    many = 1 + len(rest)
    with pytest.raises(
        DataError, match=f"; so it is with {many} of {len(files)} pictures: mend them or take them out$"
    ):
        train(options(0), tmp_path / "more")
    with pytest.raises(DataError, match=f"; so it is with {many} of {len(files)} pictures: "):
        without_blanks(begun.train)


def test_pictures_that_break_while_a_run_goes_on_end_it_once_they_are_many(folder: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(folder, tmp_path / "going"))
    files = on_disk(load(place, stream=True).train)
    assert files is not None

    class Break(Remarks):
        def step(self, examples: int, loss: float) -> None:
            for path in files.paths[::2]:
                path.write_bytes(b"no picture")

    options = Options.of(STACK, data="folder", data_dir=str(place), stream=True, depth=0, epochs=9, batch_size=4)
    with pytest.raises(DataError, match=rf"^picture .*; so it is with \d of {len(files)} pictures: mend"):
        train(options, tmp_path / "run", progress := Break())
    assert any(line.endswith("; it is passed over") for line in progress.said)


def test_blank_pictures_for_testing_are_left_out_before_the_first_step(folder: Path, tmp_path: Path) -> None:
    for part in ("train", "val"):
        shutil.copytree(folder, tmp_path / part)
    with_blanks(folder, tmp_path / "more")
    for name in ("0a", "3a"):
        shutil.copy(tmp_path / "more" / "left" / f"{name}.png", tmp_path / "val" / "left")
    shutil.rmtree(tmp_path / "more")
    eager, lazy = load(tmp_path), load(tmp_path, stream=True)
    assert lazy.note == eager.note
    assert lazy.note["left_out"] == {"blank pictures": 2}
    assert torch.equal(lazy.test.x[:], eager.test.x)


def test_a_batch_keeps_what_can_be_seen() -> None:
    x = torch.arange(5.0).reshape(5, 1, 1, 1).clone()
    x[[0, 3, 4]] = float("nan")
    batch = in_place_of_blanks(Examples(x, torch.arange(5)), blank_rows(x))
    assert batch.y.tolist() == [1, 1, 2, 1, 1]
    assert batch.x.flatten().tolist() == [1, 1, 2, 1, 1]
    with pytest.raises(DataError, match="all 1 pictures of a batch are blank or broken"):
        in_place_of_blanks(Examples(x[:1], torch.arange(1)), blank_rows(x[:1]))


@pytest.mark.parametrize("name", ["masks", "depths"])
def test_pictures_with_maps_beside_them_on_disk_are_those_in_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, read = two_folders(tmp_path / "set", 6), FittedReader(16)
    if name == "depths":
        (place / "masks").rename(place / "depth")
        for path in (place / "depth").iterdir():
            Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) * 1500).save(path)
    eager, lazy = load_data(name, place, read), load_data(name, place, read, {"stream": True})
    assert on_disk(eager.train) is None
    assert on_disk(lazy.train) is not None
    assert (lazy.facts, lazy.note, lazy.about) == (eager.facts, eager.note, eager.about)
    for one, other in ((lazy.train, eager.train), (lazy.test, eager.test)):
        assert torch.equal(one.y, other.y)
        assert torch.equal(torch.cat(list(read_ahead(one.x, torch.arange(len(one)).split(3), 2))), other.x)
    monkeypatch.setattr("tritoncnn.data.files.memory_left", lambda: 3 * 6 * 8 * 16**2)
    with pytest.raises(DataError, match="of memory; .* are left: --stream leaves the pictures on disk until they are"):
        load_data(name, place, read)
    assert len(load_data(name, place, read, {"stream": True}).train) == 4
    with pytest.raises(
        DataError, match=r"--stream is for tasks that see pictures whole|the task reads its pictures in an"
    ):
        load_data(name, place, PieceReader(16), {"stream": True})


ENDS_EARLY = """
import sys, torch
from pathlib import Path
from tritoncnn.data import load_data
from tritoncnn.data.boxes import FittedReader
from tritoncnn.data.stream import read_ahead

data = load_data("masks", Path(sys.argv[1]), FittedReader(16), {"stream": True})
found = read_ahead(data.train.x, torch.arange(4).split(1), 2)
next(found)
raise ValueError("a mistake elsewhere")
"""


def test_a_program_that_ends_by_an_error_does_not_wait_for_its_readers(tmp_path: Path) -> None:
    words = [sys.executable, "-c", ENDS_EARLY, str(two_folders(tmp_path, 6))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "ValueError: a mistake elsewhere")
