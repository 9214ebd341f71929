"""A run from its options to the files of its folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import tritoncnn
from tests.train.runs import LENET, RESULTS, STEPS, assert_same_run, metrics, options
from tests.train.samples import write_pictures
from tritoncnn.atomic import write_file
from tritoncnn.data import load_data
from tritoncnn.errors import CheckpointError, InputError, SaveError
from tritoncnn.train import Lines, Options, folder, resume, tensorfile, train
from tritoncnn.train.tensorfile import read_tensors
from tritoncnn.train.trainer import epoch_order


def test_a_run_folder_has_all_its_files(whole: Path, tiny_mnist: Path) -> None:
    files = {
        "config.json",
        "config.yaml",
        "metrics.jsonl",
        "summary.json",
        "model.safetensors",
        "best.safetensors",
        "checkpoint.safetensors",
        "curves.png",
        "confusion.png",
        "mistakes.png",
    }
    assert {path.name for path in whole.iterdir()} == files
    config, summary = (json.loads((whole / name).read_text()) for name in ("config.json", "summary.json"))
    assert config["data_dir"] == str(tiny_mnist)
    assert config["classes"] == list("0123456789")
    assert (config["train_pictures"], config["test_pictures"]) == (70, 20)
    names = [
        "task",
        "model",
        "data",
        "epochs",
        "metrics",
        "best",
        "baseline",
        "files",
        "seconds",
        "launches",
        "fused",
        "peak_memory",
        "seed",
        "device",
    ]
    assert list(summary) == [*names, "versions"]
    assert summary["files"] == ["curves.png", "confusion.png", "mistakes.png"]
    assert summary["baseline"] == {"by": "the nearest mean picture", "metric": "accuracy", "value": 1.0}
    rows = metrics(whole)
    assert list(rows[0]) == ["epoch", "step", "loss", "test_loss", "accuracy"]
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 8), (2, 16), (3, 24)]
    assert summary["metrics"] == {name: rows[-1][name] for name in ("test_loss", "accuracy")}
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert all((whole / name).read_bytes().startswith(b"\x89PNG") for name in summary["files"])


def test_the_figures_are_those_of_the_model_file(whole: Path, tiny_mnist: Path) -> None:
    from tritoncnn.models.lenet import LeNet

    data, model = load_data("mnist", tiny_mnist, LENET.read), LeNet()
    model.load_state_dict(read_tensors(whole / "model.safetensors")[0])
    with torch.no_grad():
        logits = model(data.test.x)
    row = metrics(whole)[-1]
    assert row["accuracy"] == float((logits.argmax(1) == data.test.y).double().mean())
    # f32 logits of two orders of summation: a few roundings of numbers near 1
    assert row["test_loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, data.test.y)), abs=1e-5)


def test_equal_seeds_give_equal_bits_and_other_seeds_do_not(whole: Path, tiny_mnist: Path, tmp_path: Path) -> None:
    train(options(tiny_mnist, threads=1, save_every=0.0), tmp_path / "same")
    assert_same_run(tmp_path / "same", whole)
    train(options(tiny_mnist, seed=1), tmp_path / "other")
    assert (tmp_path / "other" / RESULTS[0]).read_bytes() != (whole / RESULTS[0]).read_bytes()


def test_weights_of_another_number_of_classes_begin_a_run_without_their_head(whole: Path, tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "pictures")
    given = {"data": "folder", "data_dir": str(data), "epochs": 1, "batch_size": 4, "lr": 1e-30, "weight_decay": 0.0}
    path = whole / "model.safetensors"
    with pytest.raises(
        CheckpointError, match=r"made for 10 classes and the data have 3: fc3.bias must be float32 \[3\]"
    ):
        train(Options.of(LENET, weights=str(path), **given), tmp_path / "run")
    run = train(Options.of(LENET, weights=str(path), new_head=True, **given), tmp_path / "run").run
    taken, wanted = (read_tensors(file)[0] for file in (run / "model.safetensors", path))
    assert taken["fc3.weight"].shape == (3, 84)
    assert all(torch.equal(taken[name], wanted[name]) for name in taken if not name.startswith("fc3"))


def test_an_epochs_order_depends_on_seed_and_epoch_only() -> None:
    assert torch.equal(epoch_order(3, 5, 100), epoch_order(3, 5, 100))
    assert sorted(epoch_order(3, 5, 100).tolist()) == list(range(100))
    orders = {tuple(epoch_order(seed, epoch, 100).tolist()) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


def test_folders_of_pictures_train_with_their_own_number_of_classes(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", each=20)
    given = Options.of(LENET, data="folder", data_dir=str(data), batch_size=8, epochs=10)
    outcome = train(given, tmp_path / "run")
    assert outcome.summary["metrics"]["accuracy"] == 1.0
    tensors, _ = read_tensors(tmp_path / "run" / "model.safetensors")
    assert tensors["fc3.weight"].shape == (3, 84)


def test_a_batch_larger_than_the_data_is_refused(tiny_mnist: Path, tmp_path: Path) -> None:
    sentence = r"--batch-size 71 is larger than the data set: mnist has 70 training examples"
    with pytest.raises(InputError, match=sentence):
        train(options(tiny_mnist, batch_size=71), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_out_must_be_new_or_empty(whole: Path, tiny_mnist: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--out .* already holds a run; go on with it by --resume .*run, or name"):
        train(options(tiny_mnist), whole)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"--out .* is not empty and holds no run; name a new or empty folder"):
        train(options(tiny_mnist), tmp_path)
    with pytest.raises(InputError, match=r"--out .*thesis.tex is not a folder"):
        train(options(tiny_mnist), tmp_path / "thesis.tex")
    with pytest.raises(SaveError, match=r"run folder .* could not be made: Not a directory"):
        train(options(tiny_mnist), tmp_path / "thesis.tex" / "run")


def test_runs_are_numbered_where_no_name_is_given(
    tiny_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [train(options(tiny_mnist, epochs=1)).run for _ in range(2)]
    assert [run.parent for run in runs] == [Path("runs")] * 2
    assert [run.name[:6] + run.name[-2:] for run in runs] == ["lenet--1", "lenet--2"]


def test_training_uses_the_compiled_step(tiny_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not torch's autograd: every loss of the run comes out of compile_step's plan."""
    calls: list[float] = []
    true_compile = tritoncnn.compile_step

    def watched(*args: Any, **more: Any) -> Any:
        step = true_compile(*args, **more)
        true_call = type(step).__call__
        monkeypatch.setattr(type(step), "__call__", lambda self, *batch: calls.append(1.0) or true_call(self, *batch))
        return step

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("torch's autograd ran")

    monkeypatch.setattr(tritoncnn, "compile_step", watched, raising=False)
    monkeypatch.setattr(torch.autograd, "backward", forbidden)
    monkeypatch.setattr(torch.Tensor, "backward", forbidden)
    train(options(tiny_mnist), tmp_path / "run")
    assert len(calls) == STEPS


def test_a_clock_that_stands_still_does_not_end_a_run(
    tiny_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 5.0)
    outcome = train(options(tiny_mnist, epochs=1), tmp_path / "run", Lines())
    assert outcome.summary["seconds"] == 0


def test_a_run_without_matplotlib_is_finished_all_the_same(
    tiny_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    train(options(tiny_mnist, epochs=1), tmp_path / "run", Lines())
    assert (tmp_path / "run" / "summary.json").exists()
    assert not list((tmp_path / "run").glob("*.png"))
    assert "no picture was drawn: " in capsys.readouterr().err


def test_folders_made_for_a_run_that_cannot_begin_are_taken_away(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    given = Options.of(LENET, data="folder", data_dir=str(tmp_path / "data"))
    with pytest.raises(InputError, match="must hold at least 2 folders"):
        train(given, tmp_path / "deep" / "deeper" / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="must hold at least 2 folders"):
        train(given, tmp_path / "there")
    assert (tmp_path / "there").is_dir()


def test_a_run_whose_first_checkpoint_finds_no_room_leaves_nothing(
    tiny_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        if path.suffix == ".safetensors":
            raise SaveError(f"{path} could not be written")
        write_file(path, data)

    monkeypatch.setattr(tensorfile, "write_file", full)
    with pytest.raises(SaveError):
        train(options(tiny_mnist), tmp_path / "new")
    (tmp_path / "there").mkdir()
    with pytest.raises(SaveError):
        train(
            options(tiny_mnist), tmp_path / "there"
        )  # another's folder: what was written stays, and may be trained into
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_folder_in_which_another_process_trains_is_refused(tiny_mnist: Path, whole: Path, tmp_path: Path) -> None:
    held = pytest.raises(InputError, match="is being trained by another process; wait until it ends")
    with folder.alone(folder.RunFolder(whole)), held:
        resume(LENET, whole, {})
    (tmp_path / "new").mkdir()
    with folder.alone(folder.RunFolder(tmp_path / "new")), held:
        train(options(tiny_mnist), tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
