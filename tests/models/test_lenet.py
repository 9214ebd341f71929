from __future__ import annotations

from tritoncnn.models.lenet import LeNet


def test_lenet_has_the_parameters_of_the_paper_with_full_connections() -> None:
    shapes = {name: tuple(p.shape) for name, p in LeNet().named_parameters()}
    assert shapes == {
        "conv1.weight": (6, 1, 5, 5), "conv1.bias": (6,), "conv2.weight": (16, 6, 5, 5), "conv2.bias": (16,),
        "fc1.weight": (120, 400), "fc1.bias": (120,), "fc2.weight": (84, 120), "fc2.bias": (84,),
        "fc3.weight": (10, 84), "fc3.bias": (10,),
    }  # fmt: skip
    assert sum(p.numel() for p in LeNet().parameters()) == 61_706
