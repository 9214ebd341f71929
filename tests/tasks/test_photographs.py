"""The whole road of each row that learns photographs: a folder of pictures, a run, answers about other pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch.nn import functional as F

from tests.train.runs import StopAt, go_the_whole_road, metrics
from tritoncnn.data import SOURCES, load_data
from tritoncnn.data.define import BlankError
from tritoncnn.data.digits import InkReader
from tritoncnn.errors import CheckpointError, DataError
from tritoncnn.models.googlenet import Outputs
from tritoncnn.tasks import TASKS, find_task
from tritoncnn.tasks.googlenet import AUX, loss
from tritoncnn.tasks.kinds.baselines import nearest_mean
from tritoncnn.train import Interrupted, Options, measure, predict, resume, train
from tritoncnn.train.folder import load_trained, open_run

ROWS = [name for name in TASKS if "photographs" in find_task(name).data]
EACH = 10  # pictures of a class


def write(folder: Path, name: str, colour: int, count: int, seed: int) -> list[Path]:
    """Noise that is brighter in one of the three channels."""
    random = np.random.RandomState(seed)
    (folder / name).mkdir(parents=True)
    paths = [folder / name / f"{number}.png" for number in range(count)]
    for path in paths:
        values = random.randint(0, 120, (40, 50, 3))
        values[..., colour] += 120
        Image.fromarray(values.astype(np.uint8)).save(path)
    return paths


def two_colours(folder: Path) -> Path:
    for seed, (name, channel) in enumerate({"blue": 2, "red": 0}.items()):
        write(folder, name, channel, EACH, seed)
    return folder


def half_size(folder: Path) -> Options:
    """AlexNet on pictures half as large as usual: the tests that train it share their kernels."""
    return Options.of(
        find_task("alexnet"),
        data="folder",
        data_dir=str(folder),
        size=16,
        epochs=2,
        batch_size=4,
        lr=0.01,
        save_every=0.0,
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_colours(tmp_path_factory.mktemp("folder") / "pictures")


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing interrupted."""
    torch.manual_seed(1)
    return train(half_size(pictures), tmp_path_factory.mktemp("whole") / "run").run


@pytest.mark.parametrize("name", ROWS)
def test_the_whole_road_of_a_row(name: str, pictures: Path, tmp_path: Path) -> None:
    task, options = find_task(name), half_size(pictures)
    if name != "alexnet":
        least = task.sides[next(iter(task.models))].least
        options = Options.of(
            task, data="folder", data_dir=str(pictures), size=least, epochs=1, batch_size=8, lr=0.01, save_every=0.0
        )
    unseen = write(tmp_path / "unseen", "red", 0, 3, 7)
    answers = go_the_whole_road(options, tmp_path, tmp_path / "unseen")
    rows = metrics(tmp_path / "killed")
    assert [row["epoch"] for row in rows] == [1, 2][: options.epochs]
    assert rows[-1]["top5"] == 1.0  # there are two classes
    assert [answer["picture"] for answer in answers] == [str(path) for path in unseen]
    for answer in answers:
        assert {found["class"] for found in answer["top"]} == {"blue", "red"}
        assert sum(found["probability"] for found in answer["top"]) == pytest.approx(1)


def test_a_run_answers_about_pictures_of_the_size_that_it_was_trained_with(
    pictures: Path, whole: Path, tmp_path: Path
) -> None:
    alexnet, run = find_task("alexnet"), shutil.copytree(whole, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    assert config["size"] == 16
    picture = pictures / "red" / "0.png"
    module = half_size(pictures).build_model(alexnet.example(1).facts.from_note(config)).eval()
    module.load_state_dict(load_file(run / "model.safetensors"))
    mean, std = (np.array(config[key], np.float32)[:, None, None] for key in ("mean", "std"))
    small = Image.open(picture).crop((5, 0, 45, 40)).resize((16, 16), Image.Resampling.BOX)
    x = (np.asarray(small, np.float32).transpose(2, 0, 1) / 255 - mean) / std
    with torch.no_grad():
        wanted = torch.softmax(module(torch.from_numpy(x)[None]).double(), 1)[0].tolist()
    (answer,) = predict(alexnet, run, [picture])
    assert not isinstance(answer, DataError)
    found = {row["class"]: row["probability"] for row in answer.note["top"]}
    assert [found[name] for name in config["classes"]] == pytest.approx(wanted, abs=1e-4)
    for size, sentence in {None: "size must be a whole number; got None", 7: "--size must be from 16 to 1024"}.items():
        (run / "config.json").write_text(json.dumps(config | {"size": size}))
        with pytest.raises(CheckpointError, match=sentence):
            predict(alexnet, run, [picture])


def test_googlenets_loss_adds_a_share_of_the_classifiers_on_the_way() -> None:
    torch.manual_seed(0)
    outputs, target = Outputs(*torch.randn(3, 4, 5)), torch.tensor([0, 4, 2, 2])
    parts = [float(F.cross_entropy(output, target)) for output in outputs]
    assert float(loss(outputs, target)) == pytest.approx(parts[0] + AUX * (parts[1] + parts[2]), rel=1e-6)
    assert float(loss(outputs.logits, target)) == pytest.approx(parts[0], rel=1e-6)


def test_dropout_follows_the_seed_and_resumes_to_the_same_bits(pictures: Path, whole: Path, tmp_path: Path) -> None:
    torch.manual_seed(2)  # the world outside of a run does not matter
    with pytest.raises(Interrupted):
        train(half_size(pictures), tmp_path / "run", StopAt(2))
    resume(find_task("alexnet"), tmp_path / "run", {})
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes()


def test_digits_are_read_as_handwriting_in_training_and_in_answers(tmp_path: Path) -> None:
    """A dark scan on white paper comes to what the same scan was in training."""
    resnet = find_task("resnet")
    data = load_data("digits", None, resnet.reader(32))
    grey = load_data("digits", None, find_task("lenet").read)
    assert (len(data.train), len(data.test), data.test.x.shape[1:]) == (len(grey.train), len(grey.test), (3, 32, 32))
    assert data.test.y.tolist() == grey.test.y.tolist()
    seen, small = data.facts.restore(data.test.x[:1]), grey.facts.restore(grey.test.x[:1])
    assert (seen[:, 0] == seen[:, 1]).all()
    wanted = np.asarray(Image.fromarray(small[0, 0]).resize((32, 32), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(seen[0, 0], wanted, atol=1e-6)
    read = SOURCES["digits"].reader(resnet.reader(32))
    Image.fromarray((255 - 255 * small[0, 0]).round().astype(np.uint8)).save(tmp_path / "dark.png")
    np.testing.assert_allclose(read(tmp_path / "dark.png"), seen[0], atol=2 / 255)
    Image.new("L", (40, 40), 200).save(tmp_path / "blank.png")
    with pytest.raises(BlankError):
        read(tmp_path / "blank.png")
    found = nearest_mean(data.facts, data.train, data.test, {})
    assert found.words == "the nearest mean picture"
    assert found.value == pytest.approx(0.85, abs=0.02)


def test_a_run_of_digits_is_read_alike_by_infer_and_eval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tritoncnn.data.digits.COPIES", 0)
    resnet = find_task("resnet")
    given = Options.of(resnet, data="digits", epochs=1, batch_size=128, lr=0.004, size=16)
    run = train(given, tmp_path / "run").run
    measured = measure(resnet, run).note
    assert measured["metrics"] == json.loads((run / "summary.json").read_text())["metrics"]
    trained = load_trained(open_run(run), resnet)
    Image.fromarray(
        np.uint8(255) - np.uint8(16) * load_digits().images[0].astype(np.uint8)[..., None].repeat(3, 2)
    ).save(tmp_path / "scan.png")
    assert isinstance(trained.read, InkReader)
    assert trained.read(tmp_path / "scan.png").shape == (3, 16, 16)
    (answer,) = predict(resnet, run, [tmp_path / "scan.png"], 10)
    assert not isinstance(answer, DataError)
    assert len(answer.note["top"]) == 10
