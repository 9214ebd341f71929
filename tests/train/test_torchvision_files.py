"""Files of torchvision's models: names and shapes written down from its source, in all the forms that people save them in."""

from __future__ import annotations

from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tritoncnn.data import Facts
from tritoncnn.errors import CheckpointError
from tritoncnn.tasks import find_task
from tritoncnn.train.weights import start_from

Shapes = dict[str, tuple[int, ...]]


def facts(classes: int) -> Facts:
    return Facts(tuple(map(str, range(classes))), (0.0,) * 3, (1.0,) * 3)


def layer(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def norm(name: str, channels: int) -> Shapes:
    of_channels = {f"{name}.{what}": (channels,) for what in ("weight", "bias", "running_mean", "running_var")}
    return of_channels | {f"{name}.num_batches_tracked": ()}


def alexnet() -> Shapes:
    convs = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    linears = {1: (4096, 9216), 4: (4096, 4096), 6: (1000, 4096)}
    found: Shapes = {}
    for part, layers in (("features", convs), ("classifier", linears)):
        for number, shape in layers.items():
            found |= layer(f"{part}.{number}", *shape)
    return found


def vgg(column: str, normed: bool) -> Shapes:
    """``column``: widths in units of 64, M for a pool, as torchvision's lists of layers."""
    found: Shapes = {}
    place, before = 0, 3
    for word in column.split():
        if word == "M":
            place += 1
            continue
        found |= layer(f"features.{place}", width := 64 * int(word), before, 3, 3)
        found |= norm(f"features.{place + 1}", width) if normed else {}
        place, before = place + (3 if normed else 2), width
    for number, shape in {0: (4096, 25088), 3: (4096, 4096), 6: (1000, 4096)}.items():
        found |= layer(f"classifier.{number}", *shape)
    return found


def resnet(blocks: tuple[int, ...], bottleneck: bool) -> Shapes:
    found: Shapes = {"conv1.weight": (64, 3, 7, 7)} | norm("bn1", 64)
    before, expansion = 64, 4 if bottleneck else 1
    for number, count in enumerate(blocks):
        width = 64 << number
        for block in range(count):
            name, last = f"layer{number + 1}.{block}", width * expansion
            shapes = [(width, before, 1), (width, width, 3), (last, width, 1)]
            for conv, (K, C, R) in enumerate(shapes if bottleneck else [(width, before, 3), (width, width, 3)], 1):
                found |= {f"{name}.conv{conv}.weight": (K, C, R, R)} | norm(f"{name}.bn{conv}", K)
            if block == 0 and (number or bottleneck):
                found |= {f"{name}.downsample.0.weight": (last, before, 1, 1)} | norm(f"{name}.downsample.1", last)
            before = last
    return found | layer("fc", 1000, before)


def basic(name: str, K: int, C: int, R: int) -> Shapes:
    return {f"{name}.conv.weight": (K, C, R, R)} | norm(f"{name}.bn", K)


def googlenet(aux: bool = True) -> Shapes:
    blocks = {
        "3a": (192, 64, 96, 128, 16, 32, 32), "3b": (256, 128, 128, 192, 32, 96, 64), "4a": (480, 192, 96, 208, 16, 48, 64),
        "4b": (512, 160, 112, 224, 24, 64, 64), "4c": (512, 128, 128, 256, 24, 64, 64),
        "4d": (512, 112, 144, 288, 32, 64, 64), "4e": (528, 256, 160, 320, 32, 128, 128),
        "5a": (832, 256, 160, 320, 32, 128, 128), "5b": (832, 384, 192, 384, 48, 128, 128),
    }  # fmt: skip
    found = basic("conv1", 64, 3, 7) | basic("conv2", 64, 64, 1) | basic("conv3", 192, 64, 3)
    for number, (C, one, before3, three, before5, five, pooled) in blocks.items():
        for branch, K, of, R in (
            ("1", one, C, 1), ("2.0", before3, C, 1), ("2.1", three, before3, 3), ("3.0", before5, C, 1),
            ("3.1", five, before5, 3), ("4.1", pooled, C, 1),
        ):  # fmt: skip
            found |= basic(f"inception{number}.branch{branch}", K, of, R)
    for name, channels in (("aux1", 512), ("aux2", 528)) if aux else ():
        found |= basic(f"{name}.conv", 128, channels, 1) | layer(f"{name}.fc1", 1024, 2048)
        found |= layer(f"{name}.fc2", 1000, 1024)
    return found | layer("fc", 1000, 1024)


def fcos(block: str = ".0") -> Shapes:
    """With frozen norms, which have no counters. ``block``: before torchvision 0.13 there was none."""
    body = {f"backbone.body.{k}": v for k, v in resnet((3, 4, 6, 3), True).items() if not k.startswith("fc.")}
    found = {name: shape for name, shape in body.items() if not name.endswith("num_batches_tracked")}
    for level, channels in enumerate((512, 1024, 2048)):
        found |= layer(f"backbone.fpn.inner_blocks.{level}{block}", 256, channels, 1, 1)
        found |= layer(f"backbone.fpn.layer_blocks.{level}{block}", 256, 256, 3, 3)
    for level in ("p6", "p7"):
        found |= layer(f"backbone.fpn.extra_blocks.{level}", 256, 256, 3, 3)
    for head in ("classification_head", "regression_head"):
        for number in range(0, 12, 3):
            found |= layer(f"head.{head}.conv.{number}", 256, 256, 3, 3) | layer(f"head.{head}.conv.{number + 1}", 256)
    found |= layer("head.classification_head.cls_logits", 91, 256, 3, 3)
    found |= layer("head.regression_head.bbox_reg", 4, 256, 3, 3)
    return found | layer("head.regression_head.bbox_ctrness", 1, 256, 3, 3)


A, D = "1 M 2 M 4 4 M 8 8 M 8 8 M", "1 1 M 2 2 M 4 4 4 M 8 8 8 M 8 8 8 M"
FILES: dict[str, tuple[str, Shapes]] = {
    "alexnet": ("alexnet", alexnet()),
    "vgg11": ("vgg", vgg(A, False)),
    "vgg11_bn": ("vgg", vgg(A, True)),
    "vgg16": ("vgg", vgg(D, False)),
    "vgg16_bn": ("vgg", vgg(D, True)),
    "googlenet": ("googlenet", googlenet()),
    "resnet18": ("resnet", resnet((2, 2, 2, 2), False)),
    "resnet34": ("resnet", resnet((3, 4, 6, 3), False)),
    "resnet50": ("resnet", resnet((3, 4, 6, 3), True)),
}


@pytest.mark.parametrize("name", FILES)
def test_a_model_has_the_names_and_shapes_of_torchvisions(name: str) -> None:
    task, wanted = FILES[name]
    with torch.device("meta"):
        state = find_task(task).models[name](facts(1000)).state_dict()
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == wanted


def weights(shapes: Shapes) -> dict[str, torch.Tensor]:
    """Other values in every tensor, exact in half precision too."""
    return {
        name: torch.full(shape, 1 + number / 512) if shape else torch.tensor(number)
        for number, (name, shape) in enumerate(shapes.items())
    }


def half(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


FORMS: dict[str, Any] = {
    "plain": lambda tensors: tensors,
    "half": half,
    "nested": lambda tensors: {"state_dict": tensors, "epoch": 90, "arch": "resnet18"},
    "parallel": lambda tensors: {"model": {f"module.{name}": tensor for name, tensor in tensors.items()}},
    "torchvision": lambda tensors: {
        "model": tensors,
        "optimizer": {"state": {}},
        "args": Namespace(lr=0.1),
        "epoch": 9,
    },
    "cifar": lambda tensors: {"net": {f"module.{name}": tensor for name, tensor in tensors.items()}, "acc": 95.2},
    "lightning": lambda tensors: {
        "state_dict": {f"model.backbone.{name}": tensor for name, tensor in tensors.items()},
        "loops": {},
        "callbacks": {},
    },
    "twice": lambda tensors: {"model": {"state_dict": OrderedDict(tensors)}, "model_ema": half(tensors)},
    "compiled": lambda tensors: {f"module._orig_mod.{name}": tensor for name, tensor in half(tensors).items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_in_every_form_fine_tunes_a_net_of_other_classes(tmp_path: Path, form: str) -> None:
    tensors, build = weights(FILES["resnet18"][1]), find_task("resnet").models["resnet18"]
    torch.save(FORMS[form](tensors), tmp_path / "w.pth")
    module = build(facts(7))
    head = module.state_dict()["fc.weight"].clone()
    with pytest.raises(CheckpointError, match=r"was made for 1000 classes and the data have 7: fc.bias must be"):
        start_from(tmp_path / "w.pth", module, build, facts(7), new_head=False)
    assert start_from(tmp_path / "w.pth", module, build, facts(7), new_head=True) == ()
    taken = module.state_dict()
    assert torch.equal(taken.pop("fc.weight"), head)
    for name in taken.keys() - {"fc.bias"}:
        assert torch.equal(taken[name], tensors[name])


def test_a_googlenet_saved_without_its_classifiers_on_the_way_begins_new_ones_and_says_so(tmp_path: Path) -> None:
    build = find_task("googlenet").models["googlenet"]
    tensors = half(weights(googlenet(aux=False)))
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(tensors, path)
    for classes, new_head in ((1000, False), (12, True)):
        module = build(facts(classes))
        own = {name: tensor.clone() for name, tensor in module.state_dict().items() if name.startswith("aux")}
        said = start_from(path, module, build, facts(classes), new_head)
        assert said == (f"{path} has nothing for aux1, aux2, which only training uses: they begin anew",)
        taken = module.state_dict()
        assert all(torch.equal(taken[name], tensor) for name, tensor in own.items())
        assert torch.equal(
            taken["inception5b.branch4.1.bn.running_var"].half(), tensors["inception5b.branch4.1.bn.running_var"]
        )
    with pytest.raises(CheckpointError, match="was made for 1000 classes and the data have 12: fc.bias must"):
        start_from(path, build(facts(12)), build, facts(12), new_head=False)
    safetensors.torch.save_file(tensors | {"aux1.fc2.bias": torch.zeros(1000)}, path)
    with pytest.raises(CheckpointError, match=r"it lacks: aux1\.conv\.conv\.weight, .*aux1\.fc2\.weight$"):
        start_from(path, build(facts(1000)), build, facts(1000), new_head=False)


@pytest.mark.parametrize("block", [".0", ""])
def test_an_fcos_begins_with_the_files_of_all_versions_of_torchvision(tmp_path: Path, block: str) -> None:
    build = find_task("detection").models["fcos-resnet50"]
    with torch.device("meta"):
        state = build(facts(91)).state_dict()
    own = {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert own == fcos()
    tensors, module = weights(fcos(block)), build(facts(7))
    torch.save(tensors, tmp_path / "w.pth")
    with pytest.raises(
        CheckpointError, match=r"was made for 91 classes and the data have 7: head\.classification_head\.cls"
    ):
        start_from(tmp_path / "w.pth", module, build, facts(7), new_head=False)
    start_from(tmp_path / "w.pth", module, build, facts(7), new_head=True)
    taken, values = module.state_dict(), dict(zip(fcos(), tensors.values(), strict=True))
    for name in values.keys() - {f"head.classification_head.cls_logits.{what}" for what in ("weight", "bias")}:
        assert torch.equal(taken[name], values[name])
