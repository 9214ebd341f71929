from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.runs import LENET, metrics, options
from tests.train.samples import idx, strokes, write_pictures
from tritoncnn.data import load_data
from tritoncnn.errors import CheckpointError, DataError
from tritoncnn.models.lenet import LeNet
from tritoncnn.train import Options, measure, train
from tritoncnn.train.tensorfile import read_tensors


@pytest.fixture(scope="module")
def run(tiny_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(options(tiny_mnist, epochs=2), tmp_path_factory.mktemp("measure") / "run").run


def test_figures_are_those_of_the_run(run: Path) -> None:
    note = measure(LENET, run).note
    row = metrics(run)[-1]
    assert note["metrics"] == pytest.approx({name: row[name] for name in LENET.metrics})
    right = sum(note["confusion"][i][i] for i in range(10))
    assert right / note["examples"] == note["metrics"]["accuracy"]
    assert len(note["mistakes"]) == note["examples"] - right
    assert note["baseline"] == json.loads((run / "summary.json").read_text())["baseline"]
    for name in ("confusion.png", "mistakes.png"):
        assert (run / "eval" / name).read_bytes() == (run / name).read_bytes()
    assert {path.name for path in (run / "eval").iterdir()} == {"report.json", "confusion.png", "mistakes.png"}


def test_other_data_are_normalised_as_the_runs_were(run: Path, tiny_mnist: Path, tmp_path: Path) -> None:
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-labels-idx1"):
        (tmp_path / f"{name}-ubyte").write_bytes((tiny_mnist / f"{name}-ubyte").read_bytes())
    darker, labels = strokes(20, 1)[0] // 3, strokes(20, 1)[1]
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(darker)))
    pale = strokes(70, 0)[0] // 2
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(pale))  # so that mean and deviation differ too
    note = measure(LENET, run, tmp_path, tmp_path / "out").note
    facts = load_data("mnist", tiny_mnist, LENET.read).facts
    model = LeNet()
    model.load_state_dict(read_tensors(run / "model.safetensors")[0])
    x = (torch.from_numpy(darker.astype(np.float32) / 255)[:, None] - facts.mean[0]) / facts.std[0]
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model(x), torch.from_numpy(labels.astype(np.int64)))
    assert note["metrics"]["test_loss"] == pytest.approx(float(loss), abs=1e-5)


def test_other_classes_and_missing_weights_are_refused(run: Path, tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    config = (run / "config.json").read_text().replace('"data": "mnist"', '"data": "folder"')
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(DataError, match="folder must have the run's classes 0, 1, .*; got left, right, top"):
        measure(LENET, tmp_path, data)
    with pytest.raises(CheckpointError, match="best.safetensors does not exist: the run has not finished"):
        measure(LENET, tmp_path, data, best=True)
    (tmp_path / "config.json").write_text(config.replace('"data": "folder"', '"data": 3'))
    with pytest.raises(CheckpointError, match="data and data_dir must be names; got 3"):
        measure(LENET, tmp_path, data)
    assert not (tmp_path / "eval").exists()


def test_other_data_without_a_test_part_are_measured_whole_and_the_runs_own_are_not(tmp_path: Path) -> None:
    own, other = write_pictures(tmp_path / "own"), write_pictures(tmp_path / "other", each=5)
    (other / "top" / "4.jpg").unlink()
    given = Options.of(LENET, data="folder", data_dir=str(own), epochs=1, batch_size=4)
    run = train(given, tmp_path / "run").run
    whole = measure(LENET, run, other)
    assert whole.lines[0] == "all of folder, 14 examples, which has no test part of its own"
    assert (whole.note["part"], whole.note["examples"]) == ("all", 14)
    assert [row["pictures"] for row in whole.note["classes"]] == [5, 5, 4]
    assert whole.note["baseline"]["value"] == 1.0  # of the run's own training pictures, of which these are the first
    shutil.copytree(own, tmp_path / "moved")
    for place in (None, own, tmp_path / "moved"):  # the run has learned from most of these
        assert measure(LENET, run, place).lines[0] == "test part of folder, 3 examples"
    assert measure(LENET, run, part="all").note["examples"] == 18
    assert measure(LENET, run, other, part="test").note["examples"] == 3
    shutil.rmtree(own)
    assert measure(LENET, run, other).note["baseline"] is None
    (run / "checkpoint.safetensors").unlink()  # who knows what it has learned from
    assert measure(LENET, run, other).note["part"] == "test"
    for number, name in enumerate(("left", "right", "top")):
        for part in ("train", "test"):
            (tmp_path / "parted" / part / name).mkdir(parents=True)
            shutil.copy(
                other / name / f"{number}.jpg" if number != 1 else other / name / "1.png",
                tmp_path / "parted" / part / name,
            )
    assert measure(LENET, run, tmp_path / "parted").note["examples"] == 3
