from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.train.samples import strokes, write_pictures
from tritoncnn.errors import CheckpointError, DataError, InputError
from tritoncnn.models.lenet import LeNet
from tritoncnn.task import Answer
from tritoncnn.tasks import find_task
from tritoncnn.train import Options, predict, train
from tritoncnn.train.tensorfile import read_tensors, write_tensors

LENET = find_task("lenet")


def top_of(answer: Answer | DataError) -> list[tuple[str, float]]:
    assert isinstance(answer, Answer)
    return [(found["class"], found["probability"]) for found in answer.note["top"]]


@pytest.fixture(scope="module")
def run(tiny_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict") / "run"
    train(Options.of(LENET, data="mnist", data_dir=str(tiny_mnist), epochs=8, batch_size=8), folder)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{i}.png" for i in range(70)]
    for path, picture in zip(paths, strokes(70, 2)[0], strict=True):
        picture[0, 0], picture[0, 1] = 0, 255  # full contrast, so that stretching changes nothing
        Image.fromarray(picture).save(path)
    return paths


def test_probabilities_are_those_of_torch_on_the_same_pictures(run: Path, pictures: list[Path]) -> None:
    found = predict(LENET, run, pictures, top=10)  # one batch of 64 and a part of another
    config = json.loads((run / "config.json").read_text())
    model = LeNet()
    model.load_state_dict(read_tensors(run / "model.safetensors")[0])
    x = torch.stack([torch.from_numpy(np.asarray(Image.open(path), np.float32) / 255)[None] for path in pictures])
    with torch.no_grad():
        wanted = torch.softmax(model((x - config["mean"][0]) / config["std"][0]).double(), 1)
    for answer, row in zip(found, wanted, strict=True):
        values = [value for _, value in top_of(answer)]
        assert values == sorted(values, reverse=True)
        assert sum(values) == pytest.approx(1)
        # logits of size near 10 from sums of 400 f32 terms: far below 1e-4 in a probability
        assert dict(top_of(answer)) == pytest.approx({str(i): float(p) for i, p in enumerate(row)}, abs=1e-4)


def test_a_trained_model_reads_other_pictures_of_its_kind(run: Path, pictures: list[Path]) -> None:
    labels = strokes(70, 2)[1]
    right = [int(top_of(p)[0][0]) == label for p, label in zip(predict(LENET, run, pictures), labels, strict=True)]
    assert sum(right) >= 63


def test_one_picture_gives_what_it_gives_in_a_batch(run: Path, pictures: list[Path]) -> None:
    alone, (together, _, _) = predict(LENET, run, pictures[:1])[0], predict(LENET, run, pictures[:3])
    assert dict(top_of(alone)) == pytest.approx(
        dict(top_of(together)), abs=1e-5
    )  # other tiles, other order of summation


def test_top_is_cut_to_the_classes_there_are(run: Path, pictures: list[Path]) -> None:
    assert len(top_of(predict(LENET, run, pictures[:1], top=99)[0])) == 10
    assert len(top_of(predict(LENET, run, pictures[:1], top=1)[0])) == 1
    with pytest.raises(InputError, match="--top must be at least 1; got 0"):
        predict(LENET, run, pictures[:1], top=0)


def test_classes_of_a_folder_keep_their_names(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", each=20)
    train(Options.of(LENET, data="folder", data_dir=str(data), batch_size=8, epochs=10), tmp_path / "run")
    for name in ("left", "right", "top"):
        for suffix in ("0.jpg", "1.png"):
            assert top_of(predict(LENET, tmp_path / "run", [data / name / suffix])[0])[0][0] == name


def test_pictures_that_cannot_be_read_have_their_error_in_the_place_of_an_answer(
    run: Path, pictures: list[Path], tmp_path: Path
) -> None:
    bad = [tmp_path / f"gone{i}.png" for i in range(70)]
    found = predict(LENET, run, [pictures[0], *bad, pictures[1]])  # a batch of 64 with one picture in it, and a part
    assert [isinstance(answer, DataError) for answer in found] == [False, *[True] * 70, False]
    assert str(found[3]) == f"picture {bad[2]} does not exist"
    assert dict(top_of(found[-1])) == pytest.approx(dict(top_of(predict(LENET, run, pictures[:2])[1])), abs=1e-5)
    assert all(isinstance(answer, DataError) for answer in predict(LENET, run, bad[:2]))
    assert predict(LENET, run, []) == []


def test_a_picture_with_a_value_that_is_not_finite_gets_no_class(run: Path, tmp_path: Path) -> None:
    values = np.zeros((50, 40), np.float32)
    values[10:40, 18:22] = 200
    for name, value in (("nan", np.nan), ("inf", np.inf), ("minus", -np.inf)):
        values[3, 3] = value
        Image.fromarray(values).save(tmp_path / f"{name}.tif")
    for answer in predict(LENET, run, sorted(tmp_path.iterdir())):
        assert isinstance(answer, DataError)
        assert "has values that are not finite (NaN or infinite)" in str(answer)


def test_run_folders_that_are_none(tmp_path: Path, pictures: list[Path]) -> None:
    with pytest.raises(InputError, match="is not a run folder; wanted a folder made by train"):
        predict(LENET, pictures[0], pictures[:1])
    with pytest.raises(InputError, match="is not a run folder: it holds no config.json"):
        predict(LENET, tmp_path, pictures[:1])


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    return tmp_path


CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "classes": ({"classes": ["a"]}, r"config.json: classes must be a list of 2 or more names; got \['a'\]"),
    "class": ({"classes": ["a", 3]}, r"classes must be a list of names; got \['a', 3\]"),
    "mean": ({"mean": None}, "mean must be a list of numbers; got None"),
    "mean text": ({"mean": ["0"]}, "mean must be a list of numbers; got '0' in it"),
    "nan": ({"mean": [float("nan")]}, "mean must be a list of numbers; got nan in it"),
    "std": ({"std": [0]}, r"std must be above 0; got \[0.0\]"),
    "no channel": ({"mean": [], "std": []}, "mean and std must have one number per channel; got 0"),
    "channels": ({"std": [1, 1]}, "mean and std must have one number per channel; got 1 and 2"),
    "model": ({"model": 3}, "model must be a name; got 3"),
    "unknown model": ({"model": "lenot"}, r"unknown model of task 'lenet' 'lenot'; did you mean lenet\?"),
    "another size": (
        {"classes": ["a", "b"]},
        r"tensor 'fc3.weight' must be float32 \[2, 84\]; got float32 \[10, 84\]; it belongs to another model, or model "
        r"'lenet' has changed since this run was trained: train it again by tritoncnn train --config .*/config.yaml$",
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_damaged_configs_are_refused(copy: Path, pictures: list[Path], name: str) -> None:
    change, sentence = CONFIGS[name]
    config = json.loads((copy / "config.json").read_text()) | change
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=sentence):
        predict(LENET, copy, pictures[:1])


def test_damaged_files_of_a_run_are_refused(copy: Path, pictures: list[Path]) -> None:
    tensors, _ = read_tensors(copy / "model.safetensors")
    write_tensors(copy / "model.safetensors", tensors | {"fc1.bias": torch.full((120,), torch.inf)})
    with pytest.raises(CheckpointError, match="model.safetensors: tensor 'fc1.bias' holds values that are not finite"):
        predict(LENET, copy, pictures[:1])
    (copy / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="does not exist: the run has not finished its first epoch; --resume it"):
        predict(LENET, copy, pictures[:1])
    (copy / "config.json").write_text('{"model": "lenet", "model": "lenet"}')
    with pytest.raises(CheckpointError, match="config.json has the key 'model' twice in its JSON"):
        predict(LENET, copy, pictures[:1])
    (copy / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="config.json has a damaged JSON"):
        predict(LENET, copy, pictures[:1])
