"""Checkpoints: kept when a run fails, refused when they are damaged."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.runs import LENET, assert_same_run, options
from tritoncnn.errors import CheckpointError, InputError, NonFiniteError, SaveError
from tritoncnn.train import Options, Silent, resume, train
from tritoncnn.train.checkpoint import FORMAT, Checkpoint
from tritoncnn.train.tensorfile import read_tensors, write_tensors


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


def change_note(path: Path, **more: Any) -> None:
    tensors, note = read_tensors(path)
    write_tensors(path, tensors, note | more)


DAMAGED_NOTES = {
    "format": ({"format": FORMAT - 2}, f"has checkpoint format {FORMAT - 2}; this version reads {FORMAT}"),
    "options": ({"options": {}}, "is damaged: the run is of task None; got 'lenet'"),
    "option value": ({"options": Options.of(LENET).note() | {"lr": -1}}, "is damaged: --lr must be a finite number"),
    "epoch": ({"epoch": 99}, "is damaged: epoch 99 and batch 5 are no step of the run"),
    "batch": ({"batch": 8}, "is damaged: batch 8 of an epoch of 8"),
    "batch kind": ({"batch": "5"}, "is damaged: batch must be int; got '5'"),
    "history": (
        {"epoch": 1, "history": [{"epoch": 1}]},
        "a line of history must have epoch, step, loss, accuracy; got {'epoch': 1}",
    ),
    "loss": ({"loss_sums": {"loss": None}}, "is damaged: loss must be a finite number; got None"),
    "losses": ({"loss_sums": {}}, "is damaged: loss_sums must have loss; got {}"),
    "frozen nets": ({"frozen": "0"}, "was trained with other frozen nets"),
}


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
    bias = "optimizer.momentum_buffer.model.conv1.bias"
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


def test_bits_that_rot_in_a_file_of_a_run_are_found_out(checkpoint: Path) -> None:
    data = bytearray(checkpoint.read_bytes())
    data[-100] ^= 1  # the last bits of a weight: still finite, still of the right shape
    checkpoint.write_bytes(data)
    with pytest.raises(
        CheckpointError, match="checkpoint.safetensors is damaged: its content does not have the checksum"
    ):
        resume(LENET, checkpoint.parent, {})
