from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from tritoncnn.models import MODELS
from tritoncnn.models.lenet import LeNet


def test_lenet_has_the_parameters_of_the_paper_with_full_connections() -> None:
    shapes = {name: tuple(p.shape) for name, p in LeNet().named_parameters()}
    assert shapes == {
        "conv1.weight": (6, 1, 5, 5), "conv1.bias": (6,), "conv2.weight": (16, 6, 5, 5), "conv2.bias": (16,),
        "fc1.weight": (120, 400), "fc1.bias": (120,), "fc2.weight": (84, 120), "fc2.bias": (84,),
        "fc3.weight": (10, 84), "fc3.bias": (10,),
    }  # fmt: skip
    assert sum(p.numel() for p in LeNet().parameters()) == 61_706


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("classes", [2, 10, 13])
def test_every_registered_model_takes_its_shape_and_gives_one_logit_per_class(name: str, classes: int) -> None:
    entry = MODELS[name]
    assert entry.build(classes)(torch.zeros(3, *entry.shape)).shape == (3, classes)


def test_the_registry_imports_no_torch() -> None:
    code = "import sys; import tritoncnn.models; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
