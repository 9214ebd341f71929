"""Runs that stop early, go on, begin from another run, or are told by a file."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.runs import LENET, Remarks, StopAt, assert_same_run, metrics, options
from tests.train.samples import write_idx
from tritoncnn.errors import InputError, NonFiniteError
from tritoncnn.tasks import find_task
from tritoncnn.train import Interrupted, Options, lay_over, read_config, rehearse, resume, task_of_config, train
from tritoncnn.train.best import best_of, waited
from tritoncnn.train.configfile import write_config
from tritoncnn.train.finetune import weights_of
from tritoncnn.train.legs import read_legs
from tritoncnn.train.tensorfile import read_tensors


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learns nothing and was to stop after two epochs of that."""
    folder = tmp_path_factory.mktemp("longer")
    progress = Remarks()
    given = options(write_idx(folder / "data"), lr=1e-9, weight_decay=0.0, ema=0.5, epochs=9, early_stop=2)
    outcome = train(given, folder / "run", progress)
    assert outcome.summary["epochs"] == len(metrics(outcome.run)) == 3
    assert progress.said[-1] == "stopped early, after epoch 3 of 9: no better accuracy since epoch 1"
    return outcome.run


def test_the_best_weights_are_those_of_the_best_epoch(stopped: Path) -> None:
    best, note = read_tensors(stopped / "best.safetensors")
    last, _ = read_tensors(stopped / "model.safetensors")
    assert note == metrics(stopped)[0]
    assert json.loads((stopped / "summary.json").read_text())["best"]["epoch"] == 1
    assert best.keys() == last.keys()
    assert not all(torch.equal(best[name], last[name]) for name in best)


def test_an_ended_run_goes_on_for_more_epochs_and_its_file_trains_all_of_it_again(
    stopped: Path, tmp_path: Path
) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    for folder in (whole, run):
        shutil.copytree(stopped, folder)
    assert resume(LENET, whole, {}).done_before
    resume(LENET, whole, {"epochs": 4})
    assert len(metrics(whole)) == 4
    with pytest.raises(KeyboardInterrupt):
        resume(LENET, run, {"epochs": 4}, StopAt(3))
    with pytest.raises(InputError, match=r"differ: --epochs 5 .the run: 4.; .* more --epochs may be given once it has"):
        resume(LENET, run, {"epochs": 5})
    resume(LENET, run, {})
    assert_same_run(run, whole)
    said = read_config(whole / "config.yaml", LENET.own_rows())
    assert (said["legs"], said["epochs"], task_of_config(whole / "config.yaml")) == ("3/9", 4, "lenet")
    train(Options.of(LENET, **said), tmp_path / "again")
    assert_same_run(tmp_path / "again", whole)


def test_only_an_ended_run_takes_more_epochs_and_only_more(tiny_mnist: Path) -> None:
    given = options(tiny_mnist, epochs=9, early_stop=2)
    assert given.resumed({"epochs": 20}, 9, True).legs == "9/9"
    assert given.resumed({"epochs": 8}, 3, True).legs == "3/9"
    assert given.resumed({"epochs": 9}, 3, True) == given
    longer = given.resumed({"epochs": 20}, 9, True).resumed({"epochs": 30}, 15, True)
    assert (longer.legs, longer.epochs) == ("9/9,15/20", 30)
    with pytest.raises(InputError, match="--epochs 3: the run has done 3 already; name more of them in all"):
        given.resumed({"epochs": 3}, 3, True)
    with pytest.raises(InputError, match=r"differ: --epochs 20 \(the run: 9\)"):
        given.resumed({"epochs": 20}, 3, False)


def test_each_leg_has_a_schedule_of_its_own(tiny_mnist: Path) -> None:
    whole = options(tiny_mnist, epochs=10)
    longer = options(tiny_mnist, epochs=14, legs="10/10")
    cut = options(tiny_mnist, epochs=12, legs="4/10")
    rates, more, less = ([given.lr_at(step, 8) for step in range(given.epochs * 8)] for given in (whole, longer, cut))
    assert more[:80] == rates
    assert more[80:] == [options(tiny_mnist, epochs=4).lr_at(step, 8) for step in range(32)]
    assert less[:32] == rates[:32]
    assert less[32:] == [options(tiny_mnist, epochs=8).lr_at(step, 8) for step in range(64)]


@pytest.mark.parametrize("legs", ["12", "12/11", "0/3", "5/5,4/9", "5/5,5/9", "a/b", "3/3,", "30/30"])
def test_legs_that_make_no_sense_are_refused(legs: str) -> None:
    with pytest.raises(InputError, match=r"legs must be as 12/12,20/50, epochs that grow up to --epochs 20; got"):
        read_legs(legs, 20)


def test_the_best_is_the_first_of_the_best_and_less_is_better_of_losses() -> None:
    rows = [{"epoch": i + 1, "accuracy": a, "test_loss": 1 - a} for i, a in enumerate([0.1, 0.7, 0.3, 0.7, 0.6])]
    for task in (LENET, replace(LENET, best="test_loss")):
        assert best_of(task, rows)["epoch"] == 2
        assert [waited(task, rows, since) for since in (0, 2, 4)] == [3, 3, 1]
        assert waited(task, rows[:2], 0) == waited(task, [], 0) == 0


def test_fine_tuning_begins_with_the_weights_of_the_run(stopped: Path, tiny_mnist: Path, tmp_path: Path) -> None:
    given = options(tiny_mnist, lr=1e-9, weight_decay=0.0, epochs=1, seed=7, from_run=str(stopped))
    train(given, tmp_path / "run")
    wanted, found = (read_tensors(folder / "model.safetensors")[0] for folder in (stopped, tmp_path / "run"))
    assert all(torch.allclose(found[name], wanted[name], atol=1e-6) for name in wanted)

    other = tmp_path / "other"
    shutil.copytree(stopped, other)
    shutil.rmtree(tmp_path / "run")
    given = replace(given, from_run=str(other))
    with pytest.raises(KeyboardInterrupt):
        train(given, tmp_path / "run", StopAt(1))
    config = json.loads((stopped / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"model": "lenet7"}))
    with pytest.raises(InputError, match=r"is a run of task 'lenet', model 'lenet7'; wanted 'lenet', 'lenet'"):
        train(given, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    shutil.rmtree(other)
    with pytest.raises(InputError, match="other does not exist; wanted a folder made by train"):
        weights_of(given)
    resume(LENET, tmp_path / "run", {})  # which needs it no more
    assert weights_of(replace(given, from_run=None)) is None


def test_a_rehearsal_leaves_nothing(tiny_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    outcome = rehearse(options(tiny_mnist, epochs=50))
    assert (outcome.summary["epochs"], list(tmp_path.iterdir())) == (1, [])
    with pytest.raises(
        NonFiniteError, match=r"^the loss became .* at step 2 \(learning rate 1e\+30\); try a smaller --lr$"
    ):
        rehearse(options(tiny_mnist, lr=1e30))
    with pytest.raises(Interrupted, match="^interrupted; nothing was kept$"):
        rehearse(options(tiny_mnist), StopAt(1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", [{}, {"optimizer": "lbfgs", "ema": 0.5},
                                  {"optimizer": "adam", "threads": 2, "schedule": "one-cycle", "augment": "crop"},
                                  {"data": "folder", "data_dir": "/a: b # 'c'\u00e4\udcff\n\x7f", "early_stop": 3}])  # fmt: skip
def test_options_come_back_from_the_file_of_a_run(tmp_path: Path, more: dict[str, Any]) -> None:
    given = Options.of(LENET, **more).fitted(1000)
    path = tmp_path / "config.yaml"
    path.write_text(write_config(given))
    said = read_config(path, LENET.own_rows())
    assert task_of_config(path) == "lenet"
    assert Options.of(LENET, **said) == given


OTHERWISE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}),
    "the same": ({"optimizer": "sgd", "data": "folder", "epochs": 9}, {}),
    "optimizer": ({"optimizer": "rmsprop"}, {"nesterov": None}),
    "another": ({"optimizer": "adam"}, {"nesterov": None, "momentum": None}),
    "momentum": ({"optimizer": "adam", "momentum": 0.5}, {"nesterov": None}),
    "all at once": ({"optimizer": "lbfgs"}, {"nesterov": None, "momentum": None}),
    "data": ({"data": "digits"}, {"data_dir": None, "hold_out": None, "stream": None}),
    "a place": ({"data": "mnist", "data_dir": "/m"}, {"hold_out": None, "stream": None}),
    "epochs": ({"epochs": 20}, {"legs": None}),
    "start": ({"from_run": "/run"}, {"weights": None}),
    "model": ({"model": "full"}, {"pool": None, "pairs": None, "residual": None}),
    "no such": ({"data": "none"}, {"data_dir": None}),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERWISE)
def test_what_belongs_to_another_choice_goes_with_it(case: str) -> None:
    said, changed = OTHERWISE[case]
    file = {
        "optimizer": "sgd", "momentum": 0.8, "nesterov": True, "data": "folder", "data_dir": "/a", "hold_out": 0.5,
        "stream": True, "epochs": 9, "legs": "3/3", "weights": "/w.pth", "depth": 2, "pool": "avg", "pairs": 1,
        "residual": True, "model": "filters", "seed": 3,
    }  # fmt: skip
    wanted = {name: value for name, value in file.items() if name not in changed} | said
    assert lay_over(find_task("stack"), file, {"size": None, **said}) == wanted


def test_paths_in_a_file_are_as_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f.yaml").write_text("data_dir: pictures\nweights: ../w.pth\n")
    assert read_config(Path("f.yaml"), {}) == {
        "data_dir": str(tmp_path / "pictures"),
        "weights": str(tmp_path.parent / "w.pth"),
    }


def test_a_file_may_say_little_and_write_as_people_do(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("batch-size: 32\nlr: 1e-3\nmomentum: 0\nnesterov: no\nfrom: /a/run\ndata_dir: ~\n")
    assert task_of_config(path) is None
    assert read_config(path, {}) == {
        "batch_size": 32,
        "lr": 0.001,
        "momentum": 0.0,
        "nesterov": False,
        "from_run": "/a/run",
    }


WRONG_FILES = {
    "epoch: 3": r"unknown flag in .*f.yaml 'epoch'; did you mean epochs\?",
    "epochs: many": "f.yaml: epochs must be a whole number; got 'many'",
    "epochs: 3.0": "f.yaml: epochs must be a whole number; got 3.0",
    "epochs: true": "f.yaml: epochs must be a whole number; got True",
    "lr: fast": "f.yaml: lr must be a number; got 'fast'",
    "nesterov: 1": "f.yaml: nesterov must be true or false; got 1",
    "data: [a]": r"f.yaml: data must be a word; got \['a'\]",
    "epochs: 3\nepochs: 4": "f.yaml has epochs twice",
    "batch-size: 3\nbatch_size: 4": "f.yaml has batch_size twice",
    "- 3": "f.yaml must hold lines as 'epochs: 12'; got a list",
    "": "f.yaml must hold lines as 'epochs: 12'; got nothing",
    "a: [": "f.yaml is no YAML: ",
    "a: !!python/object/apply:os.system [ls]": "f.yaml is no YAML: could not determine a constructor",
    "a: 2026-99-99": "f.yaml is no YAML: month must be in 1..12",
}


def test_a_file_that_names_no_word_as_task_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("task: [lenet]\n")
    with pytest.raises(InputError, match=r"f.yaml: task must be a word; got \['lenet'\]"):
        task_of_config(tmp_path / "f.yaml")


@pytest.mark.parametrize("text", WRONG_FILES)
def test_files_that_say_something_else_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "f.yaml").write_text(text)
    with pytest.raises(InputError, match=WRONG_FILES[text]):
        read_config(tmp_path / "f.yaml", {})


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_bytes(b"lr: \xff")
    with pytest.raises(InputError, match="f.yaml is no text in UTF-8"):
        read_config(tmp_path / "f.yaml", {})
    with pytest.raises(InputError, match="gone.yaml does not exist"):
        read_config(tmp_path / "gone.yaml", {})
