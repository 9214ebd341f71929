"""Runs that stop and go on: to the bits of those that nothing stopped."""

from __future__ import annotations

import json
import math
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.runs import LENET, STEPS, Remarks, StopAt, assert_goes_on, assert_same_run, metrics, options
from tests.train.samples import write_idx
from tritoncnn.data import load_data
from tritoncnn.errors import CheckpointError, InputError
from tritoncnn.train import Interrupted, Lines, resume, train
from tritoncnn.train.checkpoint import Checkpoint
from tritoncnn.train.events import NAME
from tritoncnn.train.tensorfile import read_tensors, write_tensors
from tritoncnn.train.trainer import epoch_order


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


def test_a_run_of_a_version_with_fewer_flags_goes_on_to_the_same_bits_and_says_so(
    whole: Path, stopped: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(stopped, run)
    tensors, note = read_tensors(run / "checkpoint.safetensors")
    for name in ("ema", "augment", "tensorboard"):
        del note["options"][name]
    write_tensors(run / "checkpoint.safetensors", tensors, note)
    told = Remarks()
    resume(LENET, run, {}, told)
    assert told.said[0] == (
        "the run is of an older version, and goes on as before: --ema 0.0, --augment none, --tensorboard False"
    )
    assert_same_run(run, whole)
    told.said.clear()
    resume(LENET, run, {}, told)
    assert not any("older version" in remark for remark in told.said), "its checkpoint is of this version now"


def test_a_run_from_before_there_was_a_metric_goes_on_to_the_same_bits_and_says_so(
    tiny_mnist: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(options(tiny_mnist, csv=True), run, StopAt(12))  # in the second epoch of three
    tensors, note = read_tensors(run / "checkpoint.safetensors")
    del note["history"][0]["test_loss"]
    write_tensors(run / "checkpoint.safetensors", tensors, note)
    told = Remarks()
    outcome = resume(LENET, run, {}, told)
    assert told.said[0] == "the run is of an older version, whose lines of metrics.jsonl lack test loss"
    first, *rest = metrics(whole)
    assert metrics(run) == [{name: value for name, value in first.items() if name != "test_loss"}, *rest]
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert outcome.summary["metrics"] == {name: rest[-1][name] for name in LENET.metrics}
    header, *rows = (line.split(",") for line in (run / "metrics.csv").read_text().splitlines())
    assert [row[header.index("test_loss")] for row in rows] == ["", *(repr(row["test_loss"]) for row in rest)]
    told.said.clear()
    assert resume(LENET, run, {}, told).done_before
    assert not told.said, "the last line has it now"


def test_an_ended_run_without_a_metric_is_told_as_it_is(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    tensors, note = read_tensors(run / "checkpoint.safetensors")
    for row in note["history"]:
        del row["test_loss"]
    write_tensors(run / "checkpoint.safetensors", tensors, note)
    assert resume(LENET, run, {}).summary["metrics"].keys() == {"accuracy"}


def test_a_metric_that_is_missing_later_on_is_damage(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    tensors, note = read_tensors(run / "checkpoint.safetensors")
    del note["history"][1]["test_loss"]
    write_tensors(run / "checkpoint.safetensors", tensors, note)
    with pytest.raises(CheckpointError, match="is damaged: a line of history must have epoch, step, loss, test_loss"):
        resume(LENET, run, {})


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


def test_lbfgs_learns_from_all_examples_at_once_as_torchs_does_and_resumes_to_the_same_bits(
    tiny_mnist: Path, tmp_path: Path
) -> None:
    given = options(tiny_mnist, optimizer="lbfgs", epochs=6, batch_size=None, schedule="constant")
    outcome = train(given, tmp_path / "whole")
    assert_goes_on(LENET, given, outcome.run, tmp_path)
    found = [row["loss"] for row in metrics(outcome.run)]
    assert [row["step"] for row in metrics(outcome.run)] == [1, 2, 3, 4, 5, 6]

    data = load_data("mnist", tiny_mnist, LENET.read)
    module = given.build_model(data.facts).double()
    torchs = torch.optim.LBFGS(module.parameters(), lr=1.0, max_iter=1, history_size=10)
    wanted = []

    def closure() -> torch.Tensor:
        torchs.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(data.train.x.double()), data.train.y)
        loss.backward()
        wanted.append(float(loss.detach()))
        return loss

    for step in range(6):
        torchs.param_groups[0]["lr"] = given.fitted(70).lr_at(step, 1)
        torchs.step(closure)
    # Each step's direction hangs on differences of gradients, which lose digits from step to step.
    assert found == pytest.approx(wanted, rel=1e-3)
    assert found[-1] < 0.9 * found[0]


def test_tables_on_request_survive_a_resumption(tiny_mnist: Path, tmp_path: Path, capsys: Any) -> None:
    given = options(tiny_mnist, epochs=2, csv=True)
    with pytest.raises(KeyboardInterrupt):
        train(given, tmp_path / "run", StopAt(11))
    resume(LENET, tmp_path / "run", {}, Lines(verbose=True))
    rows = metrics(tmp_path / "run")
    first, *lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert first.split(",") == list(rows[0])
    assert [[float(cell) for cell in line.split(",")] for line in lines] == [list(row.values()) for row in rows]
    told = capsys.readouterr().err
    for words in ("90 pictures in 10 classes (training + test): 0 7+2, 1 7+2", "lenet: 61,706 parameters; a step is ",
                  "sgd, cosine schedule from 0.03", "epoch 2 took "):  # fmt: skip
        assert words in told


def test_tensorboard_reads_the_rows_of_a_resumed_run(tiny_mnist: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with pytest.raises(KeyboardInterrupt):
        train(options(tiny_mnist, epochs=2, tensorboard=True), tmp_path / "run", StopAt(11))
    (killed,) = (tmp_path / "run" / NAME).iterdir()
    with open(killed, "ab") as file:
        file.write(b"half a record")
    resume(LENET, tmp_path / "run", {})
    found = accumulator.EventAccumulator(str(tmp_path / "run" / NAME))
    found.Reload()
    rows = metrics(tmp_path / "run")
    assert sorted(found.Tags()["scalars"]) == sorted(list(rows[0])[2:])
    for name in list(rows[0])[2:]:
        events = found.Scalars(name)
        assert [event.step for event in events] == [8, 16]
        assert [event.value for event in events] == pytest.approx([row[name] for row in rows])


def test_tensorboard_is_asked_for_where_it_is_missing(
    tiny_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs the package tensorboard, .*: pip install 'tritoncnn\[tensorboard\]'$"):
        train(options(tiny_mnist, tensorboard=True), tmp_path / "run")
    assert not (tmp_path / "run").exists()


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


def test_a_run_killed_before_its_first_checkpoint_may_be_begun_again(tiny_mnist: Path, tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.safetensors.0123456789abcdef.tmp").write_bytes(b"half")
    train(options(tiny_mnist, epochs=1), tmp_path)
    assert not (tmp_path / ".checkpoint.safetensors.0123456789abcdef.tmp").exists()


def test_a_checkpoint_of_the_format_before_goes_on_to_the_same_bits(
    whole: Path, tiny_mnist: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(options(tiny_mnist), run, StopAt(5))
    tensors, note = read_tensors(run / "checkpoint.safetensors")
    assert "optimizer.momentum_buffer.model.conv1.weight" in tensors
    older = {"format": 8, "loss_sum": note["loss_sums"]["loss"]}
    kept = {name: value for name, value in note.items() if name not in ("loss_sums", "frozen")}
    names = {name: name.replace("_buffer.model.", "_buffer.") for name in tensors}
    write_tensors(
        run / "checkpoint.safetensors", {names[name]: tensor for name, tensor in tensors.items()}, kept | older
    )
    resume(LENET, run, {})
    assert_same_run(run, whole)


def test_what_is_written_into_the_config_of_a_run_changes_nothing_which_is_told(stopped: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    note = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(note | {"lr": 0.5, "threads": 7, "momentum": math.nan}))
    told = Remarks()
    resume(LENET, run, {}, told)
    edited = [line for line in told.said if " was changed: " in line]
    assert [line.partition(" was changed: ")[2] for line in edited] == [
        f"lr is 0.5 there; the run goes on with {note['lr']!r}",
        f"momentum is nan there; the run goes on with {note['momentum']!r}",
    ]
    after = json.loads((run / "config.json").read_text())
    assert (after["lr"], after["momentum"]) == (note["lr"], note["momentum"])
    resume(LENET, run, {}, told := Remarks())
    assert not any(" was changed: " in line for line in told.said)
