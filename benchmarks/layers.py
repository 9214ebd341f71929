"""Real layers of real networks, forward and both gradients, tritoncnn.functional against torch (oneDNN, channels-last).

    python benchmarks/layers.py [--threads 2] [--only resnet] [--dtype bf16] [--json FILE] [--plot FILE]

Each call is what a user calls: F.conv2d of torch, conv2d of ours, without gradients. A gradient is autograd's call for ours
and aten.convolution_backward alone for torch: what autograd adds counts against us. Outputs are compared before timing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from measure import Row, arguments, read, report, rows_of

from tritoncnn import functional as T

aten = torch.ops.aten


class Conv(NamedTuple):
    """A convolution as a network has it."""

    name: str
    N: int
    C: int
    size: tuple[int, ...]
    K: int
    taps: int
    stride: int = 1
    groups: int = 1
    dilation: int = 1
    transposed: bool = False

    @property
    def padding(self) -> int:
        return 0 if self.transposed else self.dilation * (self.taps // 2)


LAYERS = (
    Conv("resnet stem 7x7/2", 4, 3, (224, 224), 64, 7, 2),
    Conv("resnet18 layer1 3x3", 4, 64, (56, 56), 64, 3),
    Conv("resnet18 layer2 3x3/2", 4, 64, (56, 56), 128, 3, 2),
    Conv("resnet18 layer3 3x3", 4, 256, (14, 14), 256, 3),
    Conv("resnet18 layer4 3x3", 4, 512, (7, 7), 512, 3),
    Conv("resnet18 shortcut 1x1/2", 4, 128, (28, 28), 256, 1, 2),
    Conv("resnet50 1x1 in", 4, 256, (56, 56), 64, 1),
    Conv("resnet50 1x1 out", 4, 64, (56, 56), 256, 1),
    Conv("resnet50 1x1 deep", 4, 1024, (14, 14), 256, 1),
    Conv("vgg16 conv1_1", 1, 3, (224, 224), 64, 3),
    Conv("vgg16 conv2_2", 1, 128, (112, 112), 128, 3),
    Conv("vgg16 conv4_2", 1, 512, (28, 28), 512, 3),
    Conv("alexnet conv1 11x11/4", 4, 3, (224, 224), 64, 11, 4),
    Conv("alexnet conv2 5x5", 4, 64, (27, 27), 192, 5),
    Conv("googlenet 3a 1x1", 4, 192, (28, 28), 64, 1),
    Conv("googlenet 3a 5x5", 4, 16, (28, 28), 32, 5),
    Conv("mobilenet depthwise 3x3", 4, 144, (56, 56), 144, 3, 1, 144),
    Conv("mobilenet depthwise 3x3/2", 4, 192, (28, 28), 192, 3, 2, 192),
    Conv("mobilenet 1x1 out", 4, 144, (56, 56), 24, 1),
    Conv("unet down 3x3", 1, 64, (128, 128), 128, 3),
    Conv("unet up 2x2/2", 1, 128, (64, 64), 64, 2, 2, transposed=True),
    Conv("wavenet dilated 2", 4, 64, (4000,), 128, 3, dilation=8),
)


class Timed(NamedTuple):
    """Two ways to the same tensors."""

    kind: str
    name: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]


def tensors(layer: Conv, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    axes = len(layer.size)
    x = torch.randn(layer.N, layer.C, *layer.size, generator=generator).to(dtype)
    shape = (layer.C, layer.K) if layer.transposed else (layer.K, layer.C // layer.groups)
    w = torch.randn(*shape, *(layer.taps,) * axes, generator=generator).to(dtype) / math.sqrt(
        layer.C * layer.taps**axes
    )
    b = torch.randn(layer.K, generator=generator).to(dtype)
    if axes == 2:
        x, w = x.to(memory_format=torch.channels_last), w.to(memory_format=torch.channels_last)
    else:
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    return x, w, b


def convolutions(layer: Conv, dtype: torch.dtype) -> Iterator[Timed]:
    x, w, b = tensors(layer, dtype)
    axes = len(layer.size)
    steps: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding}
    steps |= {} if layer.transposed else {"dilation": layer.dilation, "groups": layer.groups}
    name = f"conv{'_transpose' if layer.transposed else ''}{axes}d"
    mine, torchs = getattr(T, name), getattr(F, name)
    yield Timed("forward", layer.name, lambda: mine(x, w, b, **steps), lambda: torchs(x, w, b, **steps))
    y = torchs(x, w, b, **steps)
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    dy = torch.empty_like(y).copy_(dy)
    if not layer.transposed:
        r = dy * 0.5
        yield Timed(
            "fused bias, residual, relu", layer.name,
            lambda: mine(x, w, b, **steps, residual=r, activation="relu"), lambda: torchs(x, w, b, **steps).add_(r).relu_(),
        )  # fmt: skip
    lists = [layer.stride] * axes, [layer.padding] * axes, [layer.dilation] * axes
    for kind, mask in (("input gradient", [True, False, False]), ("filter gradient", [False, True, True])):
        leaves = [t.detach().requires_grad_(asked) for t, asked in zip((x, w, b), mask, strict=True)]
        result = mine(*leaves, **steps)
        wanted = [t for t in leaves if t.requires_grad]

        def ours(result: Any = result, wanted: Any = wanted) -> Any:
            return torch.autograd.grad(result, wanted, dy, retain_graph=True)

        def theirs(mask: Any = mask) -> Any:
            zeros = [0] * axes
            found = aten.convolution_backward(dy, x, w, [layer.K], *lists, layer.transposed, zeros, layer.groups, mask)
            return tuple(t for t, asked in zip(found, mask, strict=True) if asked)

        yield Timed(kind, layer.name, ours, theirs)


def others(dtype: torch.dtype) -> Iterator[Timed]:
    """Pools, norms, residual adds."""
    x = torch.randn(4, 64, 56, 56).to(dtype).to(memory_format=torch.channels_last)
    big = torch.randn(4, 64, 112, 112).to(dtype).to(memory_format=torch.channels_last)
    w, b = torch.rand(64).to(dtype), torch.rand(64).to(dtype)
    m, v = torch.rand(64).to(dtype), torch.rand(64).to(dtype) + 0.5
    rows = torch.randn(4096, 768).to(dtype)
    g, h = torch.rand(768).to(dtype), torch.rand(768).to(dtype)
    yield Timed("other", "residual add, relu", lambda: T.batch_norm(x, m, v, w, b, residual=x, activation="relu"),
                lambda: F.batch_norm(x, m, v, w, b).add_(x).relu_())  # fmt: skip
    yield Timed("other", "batch norm, training", lambda: T.batch_norm(x, m.clone(), v.clone(), w, b, True),
                lambda: F.batch_norm(x, m.clone(), v.clone(), w, b, True))  # fmt: skip
    yield Timed(
        "other", "batch norm, inference", lambda: T.batch_norm(x, m, v, w, b), lambda: F.batch_norm(x, m, v, w, b)
    )
    yield Timed("other", "group norm", lambda: T.group_norm(x, 32, w, b), lambda: F.group_norm(x, 32, w, b))
    yield Timed(
        "other",
        "layer norm 4096x768",
        lambda: T.layer_norm(rows, (768,), g, h),
        lambda: F.layer_norm(rows, (768,), g, h),
    )
    yield Timed("other", "softmax 4096x768", lambda: T.softmax(rows, 1), lambda: F.softmax(rows, 1))
    for name in ("max_pool2d", "avg_pool2d"):
        if hasattr(T, name):
            yield Timed("other", f"{name} 3x3/2", lambda name=name: getattr(T, name)(big, 3, 2, 1),  # type: ignore[misc]
                        lambda name=name: getattr(F, name)(big, 3, 2, 1))  # fmt: skip


def compare(timed: Timed, dtype: torch.dtype) -> None:
    ours, theirs = timed.ours(), timed.theirs()
    for a, b in zip(
        ours if isinstance(ours, tuple) else (ours,), theirs if isinstance(theirs, tuple) else (theirs,), strict=True
    ):
        worst = float((a.float() - b.float()).abs().max() / b.float().abs().max())
        assert worst < (1e-4 if dtype == torch.float32 else 3e-2), f"{timed.name} {timed.kind}: differs by {worst:.1e}"


def plot(rows: list[Row], file: Path) -> None:
    import matplotlib.pyplot as plt

    fig, axis = plt.subplots(figsize=(9, 0.18 * len(rows) + 1))
    axis.barh([str(row["case"]) for row in rows], [float(row["ratio"]) for row in rows])
    axis.axvline(1.0, color="black", linewidth=1)
    axis.invert_yaxis()
    axis.set_xlabel("torch's time / ours")
    axis.tick_params(axis="y", labelsize=6)
    fig.tight_layout()
    fig.savefig(file)


def geomean(ratios: list[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", default="", help="layers whose name has this in it")
    parser.add_argument("--kind", default="", help="forward, fused, input, filter or other: kinds that start so")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--plot", type=Path, help="draw the ratios into this file")
    asked, interleave = read(parser)
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[asked.dtype]
    rows: list[Row] = []
    ratios: dict[str, list[float]] = {}
    for source in (*(convolutions(layer, dtype) for layer in LAYERS if asked.only in layer.name), others(dtype)):
        for timed in source:
            if not timed.kind.startswith(asked.kind) or (timed.kind == "other" and asked.only not in timed.name):
                continue
            compare(timed, dtype)
            (row,) = rows_of(f"{timed.name}: {timed.kind}", interleave({"ours": timed.ours, "torch": timed.theirs}))
            rows.append(row)
            ratios.setdefault(timed.kind, []).append(float(row["ratio"]))
    report(rows, asked.json)
    for kind, found in ratios.items():
        print(f"{kind:30} geomean {geomean(found):5.2f}   least {min(found):5.2f}   of {len(found)}")
    if asked.plot:
        plot(rows, asked.plot)


if __name__ == "__main__":
    main()
