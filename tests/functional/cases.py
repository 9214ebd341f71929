"""Every fused op beside its torch reference, with inputs for both: what the tests of this room run over.

A case is (ours, torch's, inputs). An input is a shape (a float tensor that gets a gradient), ("labels", shape, end)
for i64 class numbers below end, ("fixed", shape) for a float tensor without gradient, ("unit", shape) for numbers in 0..1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from tritoncnn import functional as T


class Case(NamedTuple):
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    inputs: tuple[Any, ...]


IMAGE = (2, 6, 5, 7)
ROWS = (5, 33)


def same(name: str, *inputs: Any, **options: Any) -> Case:
    """An op that torch has under the same name with the same options."""
    return Case(lambda *x: getattr(T, name)(*x, **options), lambda *x: getattr(F, name)(*x, **options), inputs)


def focal_torch(x: torch.Tensor, t: torch.Tensor, alpha: float, gamma: float) -> torch.Tensor:
    s = x.sigmoid()
    p = s * t + (1 - s) * (1 - t)
    entropy = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    return (entropy * (1 - p) ** gamma * (alpha * t + (1 - alpha) * (1 - t))).mean()


def dice_torch(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    p, t = p.flatten(1), t.flatten(1)
    return (1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)).mean()


def gram_torch(x: torch.Tensor) -> torch.Tensor:
    f = x.flatten(2)
    return f @ f.transpose(1, 2) / x[0].numel()


def variation_torch(x: torch.Tensor) -> torch.Tensor:
    return x.diff(dim=2).abs().sum() + x.diff(dim=3).abs().sum()


def running(training: bool, activation: str = "none") -> Callable[..., Any]:
    """batch_norm with buffers of its own, so that calls do not depend on each other."""

    def run(module: Any, x: Any, w: Any, b: Any) -> Any:
        mean, var = torch.linspace(-1, 1, x.shape[1]).to(x.dtype), torch.linspace(0.5, 2, x.shape[1]).to(x.dtype)
        y = module.batch_norm(x, mean, var, w, b, training)
        return (y, mean, var) if training else y

    return run


def running_instances(module: Any, x: Any, w: Any, b: Any) -> Any:
    mean, var = torch.linspace(-1, 1, x.shape[1]).to(x.dtype), torch.linspace(0.5, 2, x.shape[1]).to(x.dtype)
    return module.instance_norm(x, mean, var, w, b, momentum=0.3), mean, var


def norm_case(training: bool, shape: tuple[int, ...]) -> Case:
    run = running(training)
    return Case(lambda *x: run(T, *x), lambda *x: run(F, *x), (shape, shape[1:2], shape[1:2]))


def conv_norm_case(training: bool, activation: str = "none", **steps: Any) -> Case:
    """Convolution and batch norm, with a residual where there is an activation."""
    groups = steps.get("groups", 1)

    def buffers(x: Any) -> tuple[Any, Any]:
        return torch.linspace(-1, 1, 12).to(x.dtype), torch.linspace(0.5, 2, 12).to(x.dtype)

    def ours(x: Any, w: Any, g: Any, b: Any, *r: Any) -> Any:
        mean, var = buffers(x)
        y = T.conv2d_batch_norm(
            x, w, mean, var, g, b, training, **steps, residual=r[0] if r else None, activation=activation
        )
        return (y, mean, var) if training else y

    def theirs(x: Any, w: Any, g: Any, b: Any, *r: Any) -> Any:
        mean, var = buffers(x)
        y = F.batch_norm(F.conv2d(x, w, **steps), mean, var, g, b, training)
        y = F.silu(y + r[0]) if r else y
        return (y, mean, var) if training else y

    return Case(
        ours, theirs, (IMAGE, (12, 6 // groups, 3, 3), (12,), (12,), *([(2, 12, 3, 4)] if activation == "silu" else []))
    )


ACTIVATION_CASES = {
    name: same(name, IMAGE)
    for name in (
        "relu",
        "relu6",
        "sigmoid",
        "tanh",
        "silu",
        "gelu",
        "hardswish",
        "hardsigmoid",
        "mish",
        "softplus",
        "elu",
    )
} | {
    "gelu tanh": same("gelu", ROWS, approximate="tanh"),
    "leaky_relu": same("leaky_relu", ROWS, negative_slope=0.2),
    "softplus all": same("softplus", ROWS, beta=2.0, threshold=3.0),
    "prelu": same("prelu", IMAGE, (6,)),
    "prelu one": same("prelu", IMAGE, (1,)),
    "gated": Case(T.gated, lambda x, g: torch.tanh(x) * torch.sigmoid(g), (IMAGE, IMAGE)),
    "softmax": same("softmax", ROWS, dim=1),
    "softmax channels": same("softmax", IMAGE, dim=1),
    "log_softmax": same("log_softmax", ROWS, dim=-1),
    "log_softmax rows": same("log_softmax", IMAGE, dim=2),
    "empty": same("relu", (0, 3, 4, 4)),
    "number": same("sigmoid", ()),
}

NORM_CASES = {
    "conv2d_batch_norm": conv_norm_case(False),
    "conv2d_batch_norm train": conv_norm_case(True),
    "conv2d_batch_norm train fused": conv_norm_case(True, "silu", padding=1, stride=2),
    "conv2d_batch_norm depthwise": conv_norm_case(True, groups=6),
    "batch_norm": norm_case(False, IMAGE),
    "batch_norm train": norm_case(True, IMAGE),
    "batch_norm train rows": norm_case(True, ROWS),
    "batch_norm train volume": norm_case(True, (2, 3, 4, 3, 5)),
    "batch_norm fused": Case(
        lambda x, w, b, r: T.batch_norm(x, None, None, w, b, True, residual=r, activation="relu"),
        lambda x, w, b, r: F.relu(F.batch_norm(x, None, None, w, b, True) + r), (IMAGE, (6,), (6,), IMAGE),
    ),
    "group_norm": Case(lambda x, w, b: T.group_norm(x, 3, w, b), lambda x, w, b: F.group_norm(x, 3, w, b), (IMAGE, (6,), (6,))),
    "group_norm bare": same("group_norm", (2, 4, 9), num_groups=2),
    "instance_norm": Case(
        lambda x, w, b: T.instance_norm(x, weight=w, bias=b), lambda x, w, b: F.instance_norm(x, weight=w, bias=b),
        (IMAGE, (6,), (6,)),
    ),
    "instance_norm running": Case(
        lambda *x: running_instances(T, *x), lambda *x: running_instances(F, *x), (IMAGE, (6,), (6,))
    ),
    "layer_norm": Case(
        lambda x, w, b: T.layer_norm(x, (33,), w, b), lambda x, w, b: F.layer_norm(x, (33,), w, b), (ROWS, (33,), (33,))
    ),
    "layer_norm sequence": Case(
        lambda x, w: T.layer_norm(x, (9,), w), lambda x, w: F.layer_norm(x, (9,), w), ((2, 5, 9), (9,))
    ),
    "local_response_norm": same("local_response_norm", IMAGE, size=3, alpha=0.5, beta=0.75, k=2.0),
    "local_response_norm even": same("local_response_norm", (2, 7, 9), size=4, alpha=0.5),
    "layer_norm image": same("layer_norm", IMAGE, normalized_shape=(5, 7)),
}  # fmt: skip

LABELS = ("labels", (5,), 33)
LOSS_CASES = {
    "cross_entropy": same("cross_entropy", ROWS, LABELS),
    "cross_entropy all": Case(
        lambda x, t, w: T.cross_entropy(x, t, w, 3, label_smoothing=0.2),
        lambda x, t, w: F.cross_entropy(x, t, w, ignore_index=3, label_smoothing=0.2), (ROWS, LABELS, ("unit", (33,))),
    ),
    "cross_entropy pixels": same("cross_entropy", IMAGE, ("labels", (2, 5, 7), 6), ignore_index=2),
    "cross_entropy none": same("cross_entropy", IMAGE, ("labels", (2, 5, 7), 6), reduction="none"),
    "cross_entropy sum": same("cross_entropy", ROWS, LABELS, reduction="sum"),
    "cross_entropy soft": same("cross_entropy", ROWS, ("unit", ROWS), label_smoothing=0.1),
    "cross_entropy one": same("cross_entropy", (7,), ("labels", (), 7)),
    "cross_entropy many": same("cross_entropy", (700, 130), ("labels", (700,), 130)),
    "mse_loss": same("mse_loss", IMAGE, IMAGE),
    "mse_loss none": same("mse_loss", IMAGE, IMAGE, reduction="none"),
    "l1_loss": same("l1_loss", IMAGE, IMAGE, reduction="sum"),
    "smooth_l1_loss": same("smooth_l1_loss", IMAGE, IMAGE, beta=0.5),
    "huber_loss": same("huber_loss", IMAGE, IMAGE, delta=0.5),
    "bce": same("binary_cross_entropy_with_logits", IMAGE, ("unit", IMAGE)),
    "bce all": Case(
        lambda x, t, w, p: T.binary_cross_entropy_with_logits(x, t, w, p, "sum"),
        lambda x, t, w, p: F.binary_cross_entropy_with_logits(x, t, w, reduction="sum", pos_weight=p),
        (IMAGE, ("unit", IMAGE), ("unit", IMAGE), ("unit", (7,))),
    ),
    "focal_loss": Case(
        lambda x, t: T.focal_loss(x, t, 0.25, 2.0), lambda x, t: focal_torch(x, t, 0.25, 2.0), (IMAGE, ("unit", IMAGE))
    ),
    "dice_loss": Case(T.dice_loss, dice_torch, (("unit", IMAGE), ("unit", IMAGE))),
    "gram_matrix": Case(T.gram_matrix, gram_torch, ((1, 6, 5, 7),)),
    "total_variation": Case(T.total_variation, variation_torch, (IMAGE,)),
}  # fmt: skip


def affine(y: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    per = (1, -1, *(1,) * (y.dim() - 2))
    return y * scale.view(per) + shift.view(per) + residual


CONV_CASES = {
    "conv2d": same("conv2d", IMAGE, (4, 6, 3, 3), (4,), padding=1),
    "conv2d all": same("conv2d", IMAGE, (9, 2, 3, 2), (9,), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=3),
    "conv2d depthwise": same("conv2d", IMAGE, (12, 1, 3, 3), padding=1, groups=6),
    "conv2d 1x1": same("conv2d", IMAGE, (20, 6, 1, 1), stride=2),
    "conv2d one": same("conv2d", IMAGE[1:], (4, 6, 3, 3)),
    "conv2d stem": same("conv2d", (1, 3, 17, 15), (8, 3, 7, 7), stride=2, padding=3),
    "conv2d asymmetric": Case(
        lambda x, w: T.conv2d(x, w, padding=(1, 0, 0, 2)), lambda x, w: F.conv2d(F.pad(x, (0, 2, 1, 0)), w), (IMAGE, (4, 6, 3, 3))
    ),
    "conv2d same": same("conv2d", IMAGE, (4, 6, 2, 3), padding="same", dilation=2),
    "conv2d fused": Case(
        lambda x, w, b, s, h, r: T.conv2d(x, w, b, padding=1, scale=s, shift=h, residual=r, activation="relu"),
        lambda x, w, b, s, h, r: F.relu(affine(F.conv2d(x, w, b, padding=1), s, h, r)),
        (IMAGE, (4, 6, 3, 3), (4,), (4,), (4,), (2, 4, 5, 7)),
    ),
    "conv2d prologue": Case(
        lambda x, w, b, s, t: T.conv2d(x, w, b, input_scale=s, input_shift=t, input_activation="silu", activation="tanh"),
        lambda x, w, b, s, t: torch.tanh(F.conv2d(F.silu(affine(x, s, t, 0.0)), w, b)),
        ((2, 6, 17, 9), (5, 6, 1, 1), (5,), (6,), (6,)),
    ),
    "conv3d prologue": Case(
        lambda x, w, s: T.conv3d(x, w, stride=2, input_scale=s, input_activation="gelu"),
        lambda x, w, s: F.conv3d(F.gelu(x * s.view(-1, 1, 1, 1)), w, stride=2), ((2, 4, 5, 9, 6), (3, 4, 1, 1, 1), (4,)),
    ),
    "conv2d prologue 3x3": Case(
        lambda x, w, t: T.conv2d(x, w, padding=1, input_shift=t, input_activation="sigmoid"),
        lambda x, w, t: F.conv2d((x + t.view(-1, 1, 1)).sigmoid(), w, padding=1), (IMAGE, (4, 6, 3, 3), (6,)),
    ),
    "conv2d gelu": Case(
        lambda x, w, b: T.conv2d(x, w, b, activation="gelu"), lambda x, w, b: F.gelu(F.conv2d(x, w, b)),
        (IMAGE, (4, 6, 3, 3), (4,)),
    ),
    "conv2d pool": Case(
        lambda x, w, b: T.conv2d(x, w, b, padding=1, activation="relu", pool=True),
        lambda x, w, b: F.max_pool2d(F.relu(F.conv2d(x, w, b, padding=1)), 2), (IMAGE, (4, 6, 3, 3), (4,)),
    ),
    "conv1d": same("conv1d", (2, 6, 19), (4, 3, 3), (4,), stride=2, padding=2, dilation=2, groups=2),
    "conv1d causal": Case(
        lambda x, w: T.conv1d(x, w, padding="causal", dilation=4), lambda x, w: F.conv1d(F.pad(x, (8, 0)), w, dilation=4),
        ((2, 6, 19), (4, 6, 3)),
    ),
    "conv3d": same("conv3d", (2, 4, 5, 6, 7), (6, 2, 3, 2, 3), (6,), stride=(1, 2, 1), padding=1, groups=2),
    "conv_transpose1d": same("conv_transpose1d", (2, 6, 9), (6, 2, 4), (4,), stride=3, padding=1, output_padding=2, groups=2),
    "conv_transpose2d": same("conv_transpose2d", IMAGE, (6, 4, 4, 4), (4,), stride=2, padding=1),
    "conv_transpose2d all": same(
        "conv_transpose2d", IMAGE, (6, 2, 3, 2), stride=(3, 2), output_padding=(2, 1), groups=3, dilation=2
    ),
    "conv_transpose3d": same("conv_transpose3d", (1, 4, 3, 4, 3), (4, 3, 2, 3, 2), stride=2, padding=(0, 1, 0)),
    "linear": same("linear", ROWS, (7, 33), (7,)),
    "linear fused": Case(
        lambda x, w, b, r: T.linear(x, w, b, residual=r, activation="gelu_tanh"),
        lambda x, w, b, r: F.gelu(F.linear(x, w, b) + r, approximate="tanh"), ((2, 3, 33), (7, 33), (7,), (2, 3, 7)),
    ),
    "conv2d no samples": same("conv2d", (0, 6, 5, 7), (4, 6, 3, 3), (4,)),
}  # fmt: skip


def indexed(name: str, *inputs: Any, **options: Any) -> Case:
    """A pool that gives its maxima and their places."""
    return same(name, *inputs, **options, return_indices=True)


def unpooled(name: str, shape: tuple[int, ...], **options: Any) -> Case:
    """What a pooling of shape took, put back."""
    pool = getattr(F, name.replace("un", ""))

    def run(module: Any, x: Any) -> Any:
        y, at = pool(x.detach().float(), **options, return_indices=True)
        return getattr(module, name)(x.flatten()[: y.numel()].reshape(y.shape), at, **options, output_size=shape[2:])

    return Case(lambda x: run(T, x), lambda x: run(F, x), (shape,))


POOL_CASES = {
    "max_pool2d": same("max_pool2d", IMAGE, kernel_size=2),
    "max_pool2d all": same(
        "max_pool2d", IMAGE, kernel_size=(3, 2), stride=(2, 1), padding=1, dilation=(1, 2), ceil_mode=True
    ),
    "avg_pool2d": same("avg_pool2d", IMAGE, kernel_size=2, stride=1),
    "avg_pool2d all": same(
        "avg_pool2d", IMAGE, kernel_size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=False
    ),
    "avg_pool2d divisor": same("avg_pool2d", IMAGE, kernel_size=(3, 2), stride=2, padding=1, divisor_override=-4),
    "adaptive_avg_pool2d": same("adaptive_avg_pool2d", (2, 6, 6, 8), output_size=(3, 2)),
    "global pooling": same("adaptive_avg_pool2d", IMAGE, output_size=1),
    "max_pool1d": same("max_pool1d", (2, 6, 19), kernel_size=3, stride=2, padding=1, dilation=2),
    "max_pool3d": same("max_pool3d", (1, 4, 5, 6, 7), kernel_size=2, stride=(1, 2, 2), padding=1, ceil_mode=True),
    "avg_pool1d": same("avg_pool1d", (2, 6, 19), kernel_size=4, stride=3, padding=2, ceil_mode=True),
    "avg_pool3d": same("avg_pool3d", (1, 4, 5, 6, 7), kernel_size=(2, 3, 2), padding=1, count_include_pad=False),
    "adaptive_avg_pool1d": same("adaptive_avg_pool1d", (2, 6, 19), output_size=5),
    "adaptive_avg_pool3d": same("adaptive_avg_pool3d", (1, 4, 5, 6, 7), output_size=(2, 4, 3)),
    "adaptive_max_pool1d": same("adaptive_max_pool1d", (2, 6, 19), output_size=5),
    "adaptive_max_pool3d": same("adaptive_max_pool3d", (1, 4, 5, 6, 7), output_size=(2, 4, 3)),
    "adaptive_avg_pool2d uneven": same("adaptive_avg_pool2d", IMAGE, output_size=(3, 4)),
    "adaptive_max_pool2d uneven": same("adaptive_max_pool2d", IMAGE, output_size=(3, 4)),
    "max_pool2d indices": indexed(
        "max_pool2d", IMAGE, kernel_size=(3, 2), stride=(2, 1), padding=1, dilation=(1, 2), ceil_mode=True
    ),
    "max_pool1d indices": indexed("max_pool1d", (2, 6, 19), kernel_size=3, stride=2),
    "max_pool3d indices": indexed("max_pool3d", (1, 4, 5, 6, 7), kernel_size=2, stride=(1, 2, 2), padding=1),
    "adaptive_max_pool2d indices": indexed("adaptive_max_pool2d", IMAGE, output_size=(3, 4)),
    "adaptive_max_pool3d indices": indexed("adaptive_max_pool3d", (1, 4, 5, 6, 7), output_size=2),
    "max_unpool2d": unpooled("max_unpool2d", IMAGE, kernel_size=2, stride=(1, 2)),
    "max_unpool1d": unpooled("max_unpool1d", (2, 6, 19), kernel_size=3, stride=2, padding=1),
    "max_unpool3d": unpooled("max_unpool3d", (1, 4, 5, 6, 7), kernel_size=2),
    "lp_pool1d": same("lp_pool1d", ("unit", (2, 6, 19)), norm_type=3, kernel_size=4, stride=3, ceil_mode=True),
    "lp_pool2d": same("lp_pool2d", IMAGE, norm_type=2, kernel_size=(3, 2), ceil_mode=True),
    "lp_pool2d sum": same("lp_pool2d", IMAGE, norm_type=1, kernel_size=2, stride=1),
    "lp_pool3d": same("lp_pool3d", (1, 4, 5, 6, 7), norm_type=2, kernel_size=2),
    "adaptive_max_pool2d": same("adaptive_max_pool2d", (2, 6, 6, 8), output_size=2),
}


def moved(padding: tuple[int, ...], **options: Any) -> Case:
    return Case(lambda x: T.pad(x, padding, **options), lambda x: F.pad(x, padding, **options), (IMAGE,))


IMAGE_CASES = {
    "nearest": same("interpolate", IMAGE, size=(10, 9), mode="nearest"),
    "nearest-exact": same("interpolate", IMAGE, size=(3, 4), mode="nearest-exact"),
    "bilinear": same("interpolate", IMAGE, size=(9, 4), mode="bilinear"),
    "bilinear aligned": same("interpolate", IMAGE, size=(9, 12), mode="bilinear", align_corners=True),
    "linear": same("interpolate", (2, 3, 9), size=(14,), mode="linear"),
    "bicubic": same("interpolate", IMAGE, size=(8, 9), mode="bicubic"),
    "bilinear factor": same("interpolate", IMAGE, scale_factor=(1.7, 0.6), mode="bilinear"),
    "bilinear antialias": same("interpolate", IMAGE, size=(2, 4), mode="bilinear", antialias=True),
    "bicubic antialias": same("interpolate", IMAGE, size=(3, 9), mode="bicubic", antialias=True),
    "area": same("interpolate", IMAGE, size=(3, 4), mode="area"),
    "pad": moved((1, 2, 0, 3), value=1.5),
    "pad reflect": moved((2, 1, 3, 0), mode="reflect"),
    "pad replicate": moved((2, 1, 3, 0), mode="replicate"),
    "pad circular": moved((2, 1, 3, 0), mode="circular"),
    "grid_sample": same("grid_sample", IMAGE, (2, 3, 9, 2), align_corners=False),
    "grid_sample border": same("grid_sample", IMAGE, (2, 3, 9, 2), padding_mode="border", align_corners=False),
    "grid_sample reflection": same("grid_sample", IMAGE, (2, 3, 9, 2), padding_mode="reflection", align_corners=True),
    "grid_sample nearest": same("grid_sample", IMAGE, ("fixed", (2, 3, 9, 2)), mode="nearest", align_corners=False),
    "grid_sample bicubic": same("grid_sample", IMAGE, (2, 3, 9, 2), mode="bicubic", align_corners=False),
    "grid_sample volume": same("grid_sample", (2, 3, 4, 5, 6), (2, 2, 3, 4, 3), align_corners=False),
    "affine_grid": same("affine_grid", (2, 2, 3), size=(2, 1, 5, 7), align_corners=False),
    "affine_grid volume": same("affine_grid", (2, 3, 4), size=(2, 1, 2, 5, 3), align_corners=True),
    "embedding": same("embedding", ("labels", (3, 5), 7), (7, 4)),
    "embedding padding": same("embedding", ("labels", (9,), 7), (7, 4), padding_idx=2),
    "concat": Case(
        lambda *x: T.concat(x, 1),
        lambda *x: torch.cat(x, 1),
        (IMAGE, (2, 1, 5, 7), ("fixed", (2, 3, 5, 7)), (2, 16, 5, 7)),
    ),
    "concat one": Case(lambda x: T.concat([x], -1), lambda x: torch.cat([x], -1), (ROWS,)),
    "concat rows": Case(lambda *x: T.concat(x), lambda *x: torch.cat(x), (ROWS, (0, 33), (3, 33))),
    "one_hot": same("one_hot", ("labels", (3, 5), 7), num_classes=7),
    "pixel_shuffle": same("pixel_shuffle", (2, 12, 3, 4), upscale_factor=2),
    "pixel_unshuffle": same("pixel_unshuffle", (2, 3, 6, 4), downscale_factor=2),
}

CASES: dict[str, Case] = POOL_CASES | IMAGE_CASES | CONV_CASES | ACTIVATION_CASES | NORM_CASES | LOSS_CASES
