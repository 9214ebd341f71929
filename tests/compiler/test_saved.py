"""Saved models: the same bits from a file, no code in it, and one message for what is no model."""

from __future__ import annotations

import copy
import hashlib
import io
import pickle
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tritoncnn
from tritoncnn.errors import CheckpointError, InputError, ShapeError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4 * 16, 5)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))

    def forward(self, x: torch.Tensor, *, twice: bool = False) -> dict[str, Any]:
        self.calls += 1
        y = self.head(torch.relu(self.norm(self.conv(x))).flatten(1)) * self.scale
        return {"y": y * 2 if twice else y, "best": y.argmax(1), "twice": twice}


torch.manual_seed(0)
X = torch.randn(2, 3, 6, 6)


def new_model(example: torch.Tensor = X) -> tritoncnn.CompiledModel:
    torch.manual_seed(0)
    return tritoncnn.compile(Net().eval(), {"x": example, "twice": True})


@pytest.mark.parametrize("example", [X, X.to(memory_format=torch.channels_last)], ids=["nchw", "nhwc"])
def test_a_saved_model_gives_the_same_bits(example: torch.Tensor, tmp_path: Path) -> None:
    model = new_model(example)
    model.save(tmp_path / "model.safetensors")
    again = tritoncnn.load(tmp_path / "model.safetensors")
    ours, theirs = model(x=X, twice=True), again(x=X, twice=True)
    assert torch.equal(ours.y, theirs.y)
    assert torch.equal(ours.best, theirs.best)
    assert theirs.twice is True
    assert again.state_dict().keys() == model.state_dict().keys()
    assert int(again.state_dict()["calls"]) == 1
    again.load_state_dict({name: torch.zeros_like(t) for name, t in again.state_dict().items()})
    assert not again(x=X, twice=True).y.any()
    assert model(x=X, twice=True).y.any()
    with pytest.raises(
        ShapeError, match=r"a saved model takes inputs of the sizes it was saved with; got \[1, 3, 6, 6\]"
    ):
        again(x=X[:1], twice=True)


def test_pickles_deep_copies_and_torch_save_are_independent_copies() -> None:
    model = new_model()
    wanted = model(x=X, twice=True).y
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert torch.equal(again(x=X, twice=True).y, wanted)
    step = tritoncnn.compile_step(
        nn.Linear(3, 2), nn.functional.mse_loss, tritoncnn.SGD(0.1), (torch.ones(1, 3), torch.ones(1, 2))
    )
    with pytest.raises(InputError, match="a compiled step cannot be pickled or deep-copied"):
        copy.deepcopy(step)


def test_loading_takes_neither_torch_export_nor_the_class(tmp_path: Path) -> None:
    model = new_model()
    model.save(tmp_path / "model.safetensors")
    torch.save(X, tmp_path / "x.pt")
    code = (
        "import sys, torch, tritoncnn\n"
        f"model = tritoncnn.load({str(tmp_path / 'model.safetensors')!r})\n"
        f"y = model(x=torch.load({str(tmp_path / 'x.pt')!r}, weights_only=True), twice=True).y\n"
        "print(float(y.sum()), 'torch.export._trace' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    total, traced = done.stdout.split()
    assert float(total) == pytest.approx(float(model(x=X, twice=True).y.sum()))
    assert traced == "False"


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    model = new_model()
    file = tmp_path / "model.safetensors"
    model.save(file)
    good = file.read_bytes()
    with pytest.raises(CheckpointError, match="could not be read"):
        tritoncnn.load(tmp_path / "none")
    for data in (b"", b"nothing of the kind", good[:-7], good[:100], b"\xff" * 64):
        file.write_bytes(data)
        with pytest.raises(CheckpointError):
            tritoncnn.load(file)
    for old, new in ((b"conv2d(x", b"conv9d(x"), (b"flatten", b"flatter"), (b"f32[2,3,6,6]", b"f32[2,3,6,7]")):
        if old in good:
            file.write_bytes(signed(good.replace(old, new)))
            with pytest.raises(CheckpointError, match="is damaged or no compiled model"):
                tritoncnn.load(file)


def signed(data: bytes) -> bytes:
    """The data of a file that someone has changed on purpose, with the checksum that they then have."""
    (checksum,) = re.findall(rb'"sha256":"(\w{64})"', data)
    blank = data.replace(checksum, b"0" * 64)
    return blank.replace(b"0" * 64, hashlib.sha256(blank).hexdigest().encode(), 1)


def test_every_changed_bit_is_found_out(tmp_path: Path) -> None:
    """In weights too, which may hold any numbers; a file that is another's, an older one or one cut short says so."""
    file = tmp_path / "model.safetensors"
    new_model().save(file)
    good = file.read_bytes()
    drawn = random.Random(0)
    for at in [*(drawn.randrange(len(good)) for _ in range(150)), len(good) - 1, 8]:
        bit = bytes([good[at] ^ 1 << drawn.randrange(8)])
        for bad in (good[:at] + bit + good[at + 1 :], good[:at] + good[at + 1 :], good[: at + 1] + good[at:]):
            file.write_bytes(bad)
            with pytest.raises(CheckpointError):
                tritoncnn.load(file)
    assert signed(good) == good
    file.write_bytes(signed(good.replace(b'"version":"3"', b'"version":"2"')))
    with pytest.raises(CheckpointError, match="is of version 2; this tritoncnn reads version 3"):
        tritoncnn.load(file)
