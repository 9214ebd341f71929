"""Weights from files: those of the same names and shapes are taken, all misfits are told at once, nothing is run."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tritoncnn.data import Facts
from tritoncnn.errors import CheckpointError
from tritoncnn.tasks import TASKS, find_task
from tritoncnn.train.tensorfile import write_tensors
from tritoncnn.train.weights import head_of, read_weights, start_from, take_weights

RESNET = find_task("resnet")
BUILD = RESNET.models["resnet20"]


def facts(classes: int) -> Facts:
    return Facts(tuple(map(str, range(classes))), (0.0,) * 3, (1.0,) * 3)


def net(classes: int = 12, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    module = BUILD(facts(classes))
    for name, value in module.named_buffers():
        value.copy_(torch.rand(value.shape) + 0.5 if value.is_floating_point() else torch.tensor(7))
        assert name
    return module


def state(classes: int = 12, seed: int = 1) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in net(classes, seed).state_dict().items()}


def save_pth(tensors: Any, path: Path) -> None:
    torch.save(tensors, path)


def save_legacy(tensors: Any, path: Path) -> None:
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


WAYS: dict[str, tuple[str, Callable[[Any, Path], None]]] = {
    "safetensors": ("w.safetensors", safetensors.torch.save_file),
    "ours": ("w.safetensors", lambda tensors, path: write_tensors(path, tensors)),
    "pth": ("w.pth", save_pth),
    "pt": ("w.pt", save_pth),
    "legacy": ("w.pth", save_legacy),
    "wrapped": ("w.pth", lambda tensors, path: save_pth({"state_dict": tensors, "epoch": 3, "best": 0.5}, path)),
    "ddp": ("w.pth", lambda tensors, path: save_pth({"model": {f"module.{k}": v for k, v in tensors.items()}}, path)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_file_gives_its_weights_to_the_last_bit(tmp_path: Path, way: str) -> None:
    name, save = WAYS[way]
    wanted, module = state(), net()
    save(wanted, tmp_path / name)
    start_from(tmp_path / name, module, BUILD, facts(12), new_head=False)
    for key, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, wanted[key], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_precision_is_converted(tmp_path: Path, dtype: torch.dtype) -> None:
    other = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state().items()}
    safetensors.torch.save_file(other, tmp_path / "w.safetensors")
    module = net()
    start_from(tmp_path / "w.safetensors", module, BUILD, facts(12), new_head=False)
    for key, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, other[key].to(tensor.dtype), rtol=0, atol=0)


def test_old_files_lack_the_counters_of_batch_norm(tmp_path: Path) -> None:
    old = {name: tensor for name, tensor in state().items() if not name.endswith("num_batches_tracked")}
    save_pth(old, tmp_path / "old.pth")
    module = net()
    start_from(tmp_path / "old.pth", module, BUILD, facts(12), new_head=False)
    torch.testing.assert_close(module.state_dict()["fc.weight"], old["fc.weight"], rtol=0, atol=0)


def test_all_misfits_are_told_in_one_sentence_and_nothing_is_taken() -> None:
    weights, module = state(), net()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    del weights["bn1.weight"], weights["fc.bias"]
    weights["conv1.weight"] = torch.zeros(64, 3, 7, 7)
    weights["layer1.0.bn1.bias"] = torch.zeros(16, dtype=torch.int64)
    weights["aux.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as error:
        take_weights(module, weights, Path("w.pth"), frozenset())
    assert str(error.value) == (
        "w.pth does not fit the model; it lacks: bn1.weight, fc.bias; it has the unknown: aux.weight; misfits: "
        "conv1.weight must be float32 [16, 3, 3, 3], got float32 [64, 3, 7, 7], "
        "layer1.0.bn1.bias must be float32 [16], got int64 [16]"
    )
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_another_number_of_classes_is_told_and_its_layer_can_be_left_out(tmp_path: Path) -> None:
    weights, module = state(1000), net()
    save_pth(weights, tmp_path / "w.pth")
    own = module.state_dict()["fc.weight"].clone()
    sentence = (
        r"w\.pth was made for 1000 classes and the data have 12: fc\.bias must be float32 \[12\], got float32 \[1000\]; "
        r"--new-head begins with new ones of fc\.bias, fc\.weight$"
    )
    with pytest.raises(CheckpointError, match=sentence):
        start_from(tmp_path / "w.pth", module, BUILD, facts(12), new_head=False)
    start_from(tmp_path / "w.pth", module, BUILD, facts(12), new_head=True)
    taken = module.state_dict()
    torch.testing.assert_close(taken["fc.weight"], own, rtol=0, atol=0)
    torch.testing.assert_close(taken["layer3.2.conv2.weight"], weights["layer3.2.conv2.weight"], rtol=0, atol=0)
    del weights["conv1.weight"]
    save_pth(weights, tmp_path / "w.pth")
    all_of_it = (
        r"; misfits: fc\.weight must be float32 \[12, 64\], got float32 \[1000, 64\], fc\.bias must be .* \[1000\]$"
    )
    for new_head, more in ((False, all_of_it), (True, "$")):  # what else does not fit is told too
        with pytest.raises(CheckpointError, match=r"w.pth does not fit the model; it lacks: conv1.weight" + more):
            start_from(tmp_path / "w.pth", net(), BUILD, facts(12), new_head)


HEADS = {
    "lenet": "fc3", "alexnet32": "classifier.6", "vgg11_bn": "classifier.6", "vgg11_32": "classifier.0", "resnet50": "fc",
}  # fmt: skip


def test_the_head_of_every_classifier_is_what_follows_the_number_of_classes() -> None:
    found = {}
    for name in TASKS:
        task = find_task(name)
        for model, build in task.models.items():
            found[model] = head_of(build, task.example(1).facts)
    for model, layer in HEADS.items():
        assert found[model] == {f"{layer}.weight", f"{layer}.bias"}
    assert found["googlenet"] == {
        f"{layer}.{what}" for layer in ("fc", "aux1.fc2", "aux2.fc2") for what in ("weight", "bias")
    }


class Evil:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


def test_nothing_that_a_pth_file_names_is_run(tmp_path: Path) -> None:
    for save in (save_pth, save_legacy):
        save({"a": Evil(tmp_path / "trace")}, tmp_path / "evil.pth")
        with pytest.raises(
            CheckpointError, match=r"evil.pth is damaged or holds more than tensors: torch.load\(weights_only"
        ):
            read_weights(tmp_path / "evil.pth", ())
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no weights at all", b"\x80\x02."])
def test_broken_files_are_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"^{re.escape(str(tmp_path / name))} is [^\n]*$"):
        read_weights(tmp_path / name, ())


THINGS = {
    "number": ({"a": 3}, "must hold named tensors of plain values; 'a' is none"),
    "sparse": ({"a": torch.eye(3).to_sparse()}, "must hold named tensors of plain values; 'a' is none"),
    "meta": ({"a": torch.zeros(3, device="meta")}, "must hold named tensors of plain values; 'a' is none"),
    "unnamed": ({3: torch.zeros(3)}, "must hold named tensors of plain values; 3 is none"),
    "list": ([torch.zeros(3)], "must hold named tensors; got list"),
    "tensor": (torch.zeros(3), "must hold named tensors; got Tensor"),
    "empty": ({}, "must hold named tensors; it holds nothing"),
    "nan": ({"a": torch.tensor([1.0, float("nan")])}, "tensor 'a' holds values that are not finite"),
}


@pytest.mark.parametrize("name", THINGS)
def test_other_things_than_named_tensors_are_refused(tmp_path: Path, name: str) -> None:
    thing, sentence = THINGS[name]
    save_pth(thing, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=re.escape(sentence)):
        read_weights(tmp_path / "w.pth", ())


def test_files_that_are_not_there_or_of_another_kind_are_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone.pth does not exist"):
        read_weights(tmp_path / "gone.pth", ())
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(CheckpointError, match=r"folder.pth cannot be read: Is a directory"):
        read_weights(tmp_path / "folder.pth", ())
    with pytest.raises(CheckpointError, match=r"--weights w.onnx must end in .safetensors, .pth, .pt, .ckpt or .bin$"):
        read_weights(Path("w.onnx"), ())
