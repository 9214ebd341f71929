from __future__ import annotations

import errno
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import tritoncnn
from tests.train.events import read_events
from tests.train.samples import write_idx, write_pictures
from tritoncnn.data import load_data
from tritoncnn.errors import CheckpointError, InputError, NonFiniteError, SaveError
from tritoncnn.tasks import find_task
from tritoncnn.train import Interrupted, Lines, Options, Silent, resume, train
from tritoncnn.train.checkpoint import Checkpoint
from tritoncnn.train.events import NAME, crc32c
from tritoncnn.train.loop import epoch_order
from tritoncnn.train.tensorfile import read_tensors, write_tensors

LENET = find_task("lenet")
STEPS = 24  # 3 epochs of 8 batches of 8 pictures; 6 of the 70 pictures are left over in each
RESULTS = ("model.safetensors", "checkpoint.safetensors")


class StopAt(Silent):
    """Ctrl-C during the given step."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGINT) -> None:
        self.left, self.number = step, number

    def step(self, examples: int, loss: float) -> None:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(self.number)


def options(data: Path, **more: Any) -> Options:
    return Options.of(LENET, data="mnist", data_dir=str(data), **({"epochs": 3, "batch_size": 8} | more))


@pytest.fixture(scope="module")
def whole(tiny_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(options(tiny_mnist), run)
    return run


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_same_run(run: Path, whole: Path) -> None:
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    one, other = (read_tensors(folder / "checkpoint.safetensors")[0] for folder in (run, whole))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (run / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()
    assert metrics(run) == metrics(whole)


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
    names = ["task", "model", "data", "epochs", "metrics", "best", "baseline", "files", "seconds", "seed", "device"]
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


@pytest.mark.parametrize("seed", range(4))
def test_a_run_interrupted_anywhere_ends_with_the_same_bits(
    whole: Path, tiny_mnist: Path, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    run, done = tmp_path / "run", 0
    while done < STEPS - 1 and done < 20:
        ahead = draw.randint(1, STEPS - 1 - done)
        kind = draw.choice([signal.SIGINT, signal.SIGTERM])
        done += ahead
        with pytest.raises(
            KeyboardInterrupt, match=rf"interrupted and saved after step {done}; go on with: .*--resume"
        ):
            if ahead == done:
                train(options(tiny_mnist), run, StopAt(ahead, kind))
            else:
                resume(LENET, run, {}, StopAt(ahead, kind))
        moment = Checkpoint.load(run / "checkpoint.safetensors", LENET)
        assert moment.epoch * 8 + moment.batch == done
    resume(LENET, run, {})
    assert_same_run(run, whole)


def test_resuming_a_finished_run_changes_nothing(whole: Path, tiny_mnist: Path, tmp_path: Path) -> None:
    train(options(tiny_mnist), tmp_path / "run")
    for name in ("summary.json", "confusion.png", "mistakes.png"):
        (tmp_path / "run" / name).unlink()  # killed after the last step
    outcome = resume(LENET, tmp_path / "run", {})
    assert outcome.summary["metrics"]["accuracy"] == metrics(whole)[-1]["accuracy"]
    assert (tmp_path / "run" / "summary.json").exists()
    for name in ("confusion.png", "mistakes.png"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes()
    assert_same_run(tmp_path / "run", whole)


def test_lines_after_the_checkpoint_are_dropped(whole: Path, tiny_mnist: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(options(tiny_mnist), run, StopAt(10))
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 2, "half a li')
    resume(LENET, run, {})
    assert_same_run(run, whole)


MANY = {
    "sgd": {"nesterov": True, "schedule": "step", "weight_decay": 0.01},
    "rmsprop": {"momentum": 0.5, "schedule": "one-cycle"},
}
SHARED = {"clip": 0.5, "ema": 0.8, "label_smoothing": 0.1}


@pytest.mark.parametrize("optimizer", MANY)
def test_flags_do_what_they_do_in_torch_and_resume_to_the_same_bits(
    tiny_mnist: Path, tmp_path: Path, optimizer: str
) -> None:
    given = options(tiny_mnist, optimizer=optimizer, epochs=1, **SHARED, **MANY[optimizer])
    train(given, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(given, tmp_path / "run", StopAt(3))
    resume(LENET, tmp_path / "run", {})
    assert_same_run(tmp_path / "run", tmp_path / "whole")

    data = load_data("mnist", tiny_mnist, LENET.read)
    module = given.build_model(data.facts)
    kinds: dict[str, Any] = {"sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop}
    own = {"nesterov": True} if optimizer == "sgd" else {}
    torchs = kinds[optimizer](
        module.parameters(), lr=1.0, momentum=given.momentum, weight_decay=given.weight_decay, **own
    )
    averages = {}
    for batch, rows in enumerate(epoch_order(0, 0, 70).split(8)[:8]):
        torchs.param_groups[0]["lr"] = given.lr_at(batch, 8)
        torchs.zero_grad()
        logits = module(data.train.x[rows])
        torch.nn.functional.cross_entropy(logits, data.train.y[rows], label_smoothing=0.1).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 0.5)
        torchs.step()
        for name, p in module.named_parameters():
            averages[name] = p.detach().clone() if batch == 0 else averages[name].lerp(p.detach(), 0.2)
    kept, _ = read_tensors(tmp_path / "whole" / "model.safetensors")
    last, _ = read_tensors(tmp_path / "whole" / "checkpoint.safetensors")
    for name, p in module.named_parameters():
        # eight steps of f32 sums in other orders; RMSprop divides by the root of squares that start at 0
        torch.testing.assert_close(last[f"model.{name}"], p.detach(), rtol=1e-3, atol=2e-4)
        torch.testing.assert_close(kept[name], averages[name], rtol=1e-3, atol=2e-4)
    module.load_state_dict(kept)
    with torch.no_grad():
        loss = float(torch.nn.functional.cross_entropy(module(data.test.x), data.test.y))
    assert metrics(tmp_path / "whole")[-1]["test_loss"] == pytest.approx(loss, abs=1e-5)  # of the averages


def test_tables_on_request_survive_a_resumption(tiny_mnist: Path, tmp_path: Path, capsys: Any) -> None:
    given = options(tiny_mnist, epochs=2, csv=True, tensorboard=True)
    with pytest.raises(KeyboardInterrupt):
        train(given, tmp_path / "run", StopAt(11))
    with open(tmp_path / "run" / NAME, "ab") as file:
        file.write(b"half a record")
    resume(LENET, tmp_path / "run", {}, Lines(verbose=True))
    rows = metrics(tmp_path / "run")
    first, *lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert first.split(",") == list(rows[0])
    assert [[float(cell) for cell in line.split(",")] for line in lines] == [list(row.values()) for row in rows]
    events = read_events(tmp_path / "run" / NAME)
    assert [(step, sorted(values)) for step, values in events] == [
        (8 * i, sorted(list(rows[0])[2:])) for i in (1, 2)
    ]  # fmt: skip
    assert events[1][1]["accuracy"] == pytest.approx(rows[1]["accuracy"])
    told = capsys.readouterr().err
    for words in ("90 pictures in 10 classes (training + test): 0 7+2, 1 7+2", "lenet: 61,706 parameters; a step is ",
                  "sgd, cosine schedule from 0.03", "epoch 2 took "):  # fmt: skip
        assert words in told


def test_the_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720's and every catalogue's check value


def test_changed_pictures_resume_to_the_same_bits(tiny_mnist: Path, tmp_path: Path) -> None:
    given = options(tiny_mnist, augment="crop,flip,colour,cutout,mixup", epochs=1)
    train(given, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(given, tmp_path / "run", StopAt(3))
    resume(LENET, tmp_path / "run", {})
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_run_begins_with_the_weights_of_a_file_and_goes_on_without_it(
    whole: Path, tiny_mnist: Path, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(read_tensors(whole / "model.safetensors")[0], path)
    still = train(options(tiny_mnist, epochs=1, lr=1e-30, weight_decay=0.0, weights=str(path)), tmp_path / "still").run
    assert (still / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    begun = options(tiny_mnist, epochs=2, weights=str(path))
    wanted = train(begun, tmp_path / "wanted").run
    with pytest.raises(Interrupted):
        train(begun, tmp_path / "run", StopAt(3))
    path.unlink()
    assert_same_run(resume(LENET, tmp_path / "run", {"weights": str(path)}).run, wanted)
    with pytest.raises(CheckpointError, match=r"weights.pth does not exist"):
        train(begun, tmp_path / "late")
    assert not (tmp_path / "late").exists()


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


def test_the_data_may_move_but_not_change(whole: Path, tiny_mnist: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(options(tiny_mnist), run, StopAt(5))
    moved = write_idx(tmp_path / "moved", compressed=True)
    label = bytearray((tiny_mnist / "t10k-labels-idx1-ubyte").read_bytes())
    label[-1] ^= 1
    (moved / "t10k-labels-idx1-ubyte").write_bytes(label)  # found before the .gz
    with pytest.raises(CheckpointError, match="was trained on other data than mnist now holds; begin a new run"):
        resume(LENET, run, {"data_dir": str(moved)})
    (moved / "t10k-labels-idx1-ubyte").unlink()
    resume(LENET, run, {"data_dir": str(moved)})
    assert_same_run(run, whole)


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


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tiny_mnist: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sentence = (
        r"became (nan|inf) at step \d+ \(learning rate .*\); the last good checkpoint, after step \d, is kept in .*run"
    )
    with pytest.raises(NonFiniteError, match=sentence) as caught:
        train(options(tiny_mnist, lr=1e20), run)
    assert caught.value.exit_code == 1
    tensors, _ = read_tensors(run / "checkpoint.safetensors")
    assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())


def test_weights_that_are_not_finite_never_replace_a_checkpoint(tiny_mnist: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(NonFiniteError, match=r"is no longer finite after step 1 .*checkpoint, after step 0, is kept"):
        train(options(tiny_mnist, lr=1e38, weight_decay=1e10, save_every=0.0), run)
    assert Checkpoint.load(run / "checkpoint.safetensors", LENET).batch == 0


def test_a_disk_that_fills_up_keeps_the_old_checkpoint(
    whole: Path, tiny_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FillAt(Silent):
        count = 0

        def step(self, examples: int, loss: float) -> None:
            self.count += 1
            if self.count == 5:

                def full(_: int) -> None:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

                monkeypatch.setattr(os, "fsync", full)

    run = tmp_path / "run"
    with pytest.raises(SaveError, match=r"checkpoint.safetensors could not be written \(No space left on device\)"):
        train(options(tiny_mnist, save_every=0.0), run, FillAt())
    monkeypatch.undo()
    assert Checkpoint.load(run / "checkpoint.safetensors", LENET).batch == 4
    resume(LENET, run, {})
    assert_same_run(run, whole)


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


def test_a_run_killed_before_its_first_checkpoint_may_be_begun_again(tiny_mnist: Path, tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.safetensors.0123456789abcdef.tmp").write_bytes(b"half")
    train(options(tiny_mnist, epochs=1), tmp_path)
    assert not (tmp_path / ".checkpoint.safetensors.0123456789abcdef.tmp").exists()


def test_runs_are_numbered_where_no_name_is_given(
    tiny_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [train(options(tiny_mnist, epochs=1)).run for _ in range(2)]
    assert [run.parent for run in runs] == [Path("runs")] * 2
    assert [run.name[:6] + run.name[-2:] for run in runs] == ["lenet--1", "lenet--2"]


def change_note(path: Path, **more: Any) -> None:
    tensors, note = read_tensors(path)
    write_tensors(path, tensors, note | more)


DAMAGED_NOTES = {
    "format": ({"format": 9}, "has checkpoint format 9; this version reads 7"),
    "options": ({"options": {}}, "is damaged: the run is of task None; got 'lenet'"),
    "option value": ({"options": Options.of(LENET).note() | {"lr": -1}}, "is damaged: --lr must be a finite number"),
    "epoch": ({"epoch": 99}, "is damaged: epoch 99 and batch 5 are no step of the run"),
    "batch": ({"batch": 8}, "is damaged: batch 8 of an epoch of 8"),
    "batch kind": ({"batch": "5"}, "is damaged: batch must be int; got '5'"),
    "history": (
        {"epoch": 1, "history": [{"epoch": 1}]},
        "a line of history must have epoch, step, loss, test_loss, acc",
    ),
    "loss": ({"loss_sum": None}, "is damaged: loss_sum must be a finite number; got None"),
}


@pytest.fixture(scope="module")
def stopped(tiny_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted after 5 steps."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(KeyboardInterrupt):
        train(options(tiny_mnist), run, StopAt(5))
    return run


@pytest.fixture
def checkpoint(stopped: Path) -> Any:
    """Its checkpoint, to be damaged; put right afterwards."""
    path = stopped / "checkpoint.safetensors"
    good = path.read_bytes()
    yield path
    path.write_bytes(good)


@pytest.mark.parametrize("name", DAMAGED_NOTES)
def test_checkpoints_with_a_damaged_note_are_refused(checkpoint: Path, name: str) -> None:
    change, sentence = DAMAGED_NOTES[name]
    change_note(checkpoint, **change)
    with pytest.raises(CheckpointError, match=f"checkpoint.safetensors .*{sentence}"):
        resume(LENET, checkpoint.parent, {})


def test_checkpoints_with_wrong_tensors_are_refused(checkpoint: Path) -> None:
    tensors, note = read_tensors(checkpoint)
    bias = "optimizer.momentum_buffer.conv1.bias"
    wrong = {
        "lacks tensor 'model.": {},
        rf"lacks tensor '{bias}'": {k: v for k, v in tensors.items() if k != bias},
        r"has the unknown tensor 'model.fc4.bias'": tensors | {"model.fc4.bias": torch.zeros(1)},
        r"tensor 'model.fc3.bias' must be float32 \[10\]; got float32 \[9\]": tensors
        | {"model.fc3.bias": torch.zeros(9)},
        r"tensor 'model.fc3.bias' must be float32 \[10\]; got int64": tensors
        | {"model.fc3.bias": torch.zeros(10).long()},
        r"'model.fc3.bias' holds values that are not finite": tensors
        | {"model.fc3.bias": torch.full((10,), torch.nan)},
    }
    for sentence, content in wrong.items():
        write_tensors(checkpoint, content, note)
        with pytest.raises(CheckpointError, match=f"checkpoint.safetensors.* ?{sentence}"):
            resume(LENET, checkpoint.parent, {})


def test_files_that_are_no_checkpoint_are_refused(checkpoint: Path, whole: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="is truncated or no safetensors file"):
        resume(LENET, checkpoint.parent, {})
    checkpoint.write_bytes((whole / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="is no checkpoint of a training run: it holds tensors only"):
        resume(LENET, checkpoint.parent, {})
    torch.save({"model": 1}, checkpoint)
    with pytest.raises(CheckpointError, match="no safetensors file"):
        resume(LENET, checkpoint.parent, {})
    checkpoint.unlink()
    with pytest.raises(CheckpointError, match="checkpoint.safetensors does not exist"):
        resume(LENET, checkpoint.parent, {})


def test_only_run_folders_can_be_resumed(tmp_path: Path, stopped: Path) -> None:
    with pytest.raises(InputError, match=r"gone does not exist; wanted a folder made by train"):
        resume(LENET, tmp_path / "gone", {})
    with pytest.raises(InputError, match=r"is not a run folder: it holds no config.json"):
        resume(LENET, tmp_path, {})
    with pytest.raises(InputError, match=r"differ: --epochs 9 \(the run: 3\)"):
        resume(LENET, stopped, {"epochs": 9})


def test_training_uses_the_compiled_step(tiny_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not torch's autograd: every loss of the run comes out of compile_step's plan."""
    calls: list[float] = []
    true_compile = tritoncnn.compile_step

    def watched(*args: Any, **more: Any) -> Any:
        step = true_compile(*args, **more)
        true_call = type(step).__call__
        monkeypatch.setattr(type(step), "__call__", lambda self, x, y: calls.append(1.0) or true_call(self, x, y))
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


def test_bits_that_rot_in_a_file_of_a_run_are_found_out(checkpoint: Path) -> None:
    data = bytearray(checkpoint.read_bytes())
    data[-100] ^= 1  # the last bits of a weight: still finite, still of the right shape
    checkpoint.write_bytes(data)
    with pytest.raises(
        CheckpointError, match="checkpoint.safetensors is damaged: its content does not have the checksum"
    ):
        resume(LENET, checkpoint.parent, {})
