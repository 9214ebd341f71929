"""LeNet's graph by hand, for tests of passes, autodiff and plans."""

from __future__ import annotations

import torch

from tritoncnn.ir import Graph, Rewriter, TensorType
from tritoncnn.ops import OPS, Sym

SHAPES = {
    "conv1.weight": (6, 1, 5, 5), "conv1.bias": (6,), "conv2.weight": (16, 6, 5, 5), "conv2.bias": (16,),
    "fc1.weight": (120, 400), "fc1.bias": (120,), "fc2.weight": (84, 120), "fc2.bias": (84,),
    "fc3.weight": (10, 84), "fc3.bias": (10,),
}  # fmt: skip
STEPS = {"stride": (1, 1), "dilation": (1, 1), "groups": 1}
POOL = {"window": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1), "ceil_mode": False}


def lenet_loss(N: int = 3) -> Graph:
    """LeNet and its cross-entropy as capture would write them: bias and relu as nodes of their own."""
    out = Rewriter("lenet")
    x = Sym(out, out.input("x", TensorType.dense("f32", (N, 1, 28, 28))))
    target = Sym(out, out.input("target", TensorType.dense("i64", (N,))))
    p = {name: Sym(out, out.input(name, TensorType.dense("f32", shape))) for name, shape in SHAPES.items()}
    for name, padding in (("conv1", (2, 2)), ("conv2", (0, 0))):
        out.source = f"lenet.py:{name}"
        y = OPS["conv2d"](x, p[f"{name}.weight"], padding=padding, **STEPS)
        bias = OPS["reshape"](p[f"{name}.bias"], shape=(1, SHAPES[f"{name}.bias"][0], 1, 1))
        x, _ = OPS["max_pool2d"](OPS["relu"](y + bias), **POOL)
    x = OPS["reshape"](x, shape=(N, 400))
    for name in ("fc1", "fc2", "fc3"):
        out.source = f"lenet.py:{name}"
        x = OPS["matmul"](x, OPS["permute"](p[f"{name}.weight"], dims=(1, 0))) + p[f"{name}.bias"]
        x = x if name == "fc3" else OPS["relu"](x)
    loss, _ = OPS["cross_entropy"](x, target)
    return out.finish((loss.value,))


def inputs(N: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    """fp64 tensors for every input of ``lenet_loss``; the labels are whole numbers."""
    g = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(shape, generator=g, dtype=torch.float64) * 0.1 for name, shape in SHAPES.items()}
    tensors["x"] = torch.randn(N, 1, 28, 28, generator=g, dtype=torch.float64)
    tensors["target"] = torch.randint(0, 10, (N,), generator=g)
    return tensors
