from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.runs import LENET, metrics, options
from tests.train.samples import idx, strokes, write_pictures
from tritoncnn.data import load_data
from tritoncnn.errors import CheckpointError, DataError
from tritoncnn.models.lenet import LeNet
from tritoncnn.train import measure, train
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
