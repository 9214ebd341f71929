"""One right call of each fused op, and mistakes: such a call with arguments changed, and what the error must say."""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch

from tritoncnn import functional as T
from tritoncnn.errors import DTypeError, InputError, ShapeError, UnsupportedError

Arguments = dict[str, Any]


def some(*shape: int) -> torch.Tensor:
    """Numbers in 0..1, which all ops take."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(len(shape)))


def labels(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.int64)


LENGTHS = {1: (7,), 2: (5, 7), 3: (4, 5, 7)}
PICTURE, VECTOR = some(2, 6, 5, 7), some(6)


def of_axes(axes: int) -> dict[str, Arguments]:
    """The calls of the ops over 1, 2 or 3 axes."""
    x, filters, name = some(2, 6, *LENGTHS[axes]), some(4, 3, *(3,) * axes), f"{axes}d"
    fused = {"scale": some(4), "shift": some(4), "residual": some(2, 4, *(n - 2 for n in LENGTHS[axes]))}
    return {
        f"conv{name}": {"x": x, "weight": filters, "bias": some(4), "groups": 2, **fused},
        f"conv_transpose{name}": {"x": x, "weight": some(6, 2, *(3,) * axes), "bias": some(4), "groups": 2},
        f"max_pool{name}": {"x": x, "kernel_size": 2},
        f"avg_pool{name}": {"x": x, "kernel_size": 2},
        f"lp_pool{name}": {"x": x, "norm_type": 2, "kernel_size": 2},
        f"adaptive_avg_pool{name}": {"x": x, "output_size": 2},
        f"adaptive_max_pool{name}": {"x": x, "output_size": 2},
        f"max_unpool{name}": {"x": x, "indices": labels(*x.shape), "kernel_size": 2},
    }


POINTWISE = ("relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "silu", "gelu", "hardswish", "hardsigmoid", "softplus",
             "mish")  # fmt: skip
AFFINE = {"weight": VECTOR, "bias": VECTOR}
RUNNING = {"running_mean": VECTOR, "running_var": VECTOR}
TWO = {"input": PICTURE, "target": PICTURE}
CALLS: dict[str, Arguments] = {
    **of_axes(1), **of_axes(2), **of_axes(3),
    **{name: {"x": PICTURE} for name in POINTWISE},
    "activate": {"x": PICTURE, "activation": "relu"},
    "prelu": {"x": PICTURE, "weight": VECTOR},
    "gated": {"x": PICTURE, "gate": PICTURE},
    "softmax": {"x": PICTURE, "dim": 1},
    "log_softmax": {"x": PICTURE, "dim": 1},
    "conv2d_batch_norm": {
        "x": PICTURE, "weight": some(4, 6, 3, 3), "running_mean": some(4), "running_var": some(4), "bn_weight": some(4),
        "bn_bias": some(4), "residual": some(2, 4, 3, 5),
    },
    "linear": {"x": some(2, 6), "weight": some(4, 6), "bias": some(4), "residual": some(2, 4)},
    "batch_norm": {"x": PICTURE, **RUNNING, **AFFINE, "residual": PICTURE},
    "group_norm": {"x": PICTURE, "num_groups": 2, **AFFINE},
    "instance_norm": {"x": PICTURE, **RUNNING, **AFFINE, "use_input_stats": False},
    "layer_norm": {"x": PICTURE, "normalized_shape": (7,), "weight": some(7), "bias": some(7)},
    "local_response_norm": {"x": PICTURE, "size": 3},
    "interpolate": {"x": PICTURE, "size": 4},
    "pad": {"x": PICTURE, "padding": (1, 1)},
    "grid_sample": {"x": PICTURE, "grid": some(2, 3, 4, 2)},
    "affine_grid": {"theta": some(2, 2, 3), "size": (2, 6, 3, 4)},
    "pixel_shuffle": {"x": some(2, 8, 3, 3), "upscale_factor": 2},
    "pixel_unshuffle": {"x": some(2, 2, 4, 6), "downscale_factor": 2},
    "concat": {"tensors": [PICTURE, PICTURE], "dim": 1},
    "dropout": {"x": PICTURE, "seed": 1},
    "channel_dropout": {"x": PICTURE, "seed": 1},
    "embedding": {"index": labels(3), "weight": some(5, 4)},
    "one_hot": {"index": labels(3), "num_classes": 4},
    "cross_entropy": {"input": some(3, 6), "target": labels(3), "weight": VECTOR},
    "binary_cross_entropy_with_logits": {**TWO, "weight": PICTURE, "pos_weight": PICTURE},
    **dict.fromkeys(("focal_loss", "dice_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"), TWO),
    "gram_matrix": {"x": some(1, 6, 5, 7)},
    "total_variation": {"x": PICTURE},
}  # fmt: skip

WRONG: list[tuple[str, type[Exception], Arguments, tuple[str, ...]]] = []


def wrong(op: str, kind: type[Exception], *words: str, **changed: Any) -> None:
    WRONG.append((op, kind, changed, words))


for axes, letters in {1: "L", 2: "H, W", 3: "D, H, W"}.items():
    ones, full = [1] * axes, list(LENGTHS[axes])
    for op in ("conv", "conv_transpose", "max_pool", "avg_pool", "lp_pool", "adaptive_avg_pool", "adaptive_max_pool"):
        wrong(f"{op}{axes}d", ShapeError, f"{op}{axes}d: x must be [N, C, {letters}]", "got [3]", x=some(3))
        wrong(f"{op}{axes}d", ShapeError, "x must be", "got [2, 6, 1, 1, 1, 1]", x=some(2, 6, 1, 1, 1, 1))
    for op in ("conv", "conv_transpose"):
        name = f"{op}{axes}d"
        wrong(name, ShapeError, "weight must be", letters, "got [4, 3]", weight=some(4, 3))
        wrong(name, ShapeError, "weight must be", "C = 5", "got", x=some(2, 5, *full))
        wrong(name, ShapeError, "weight must be", "groups = 4", "got", groups=4)
        wrong(name, ShapeError, "groups must be at least 1", "got 0", groups=0)
        wrong(name, ShapeError, "groups must be at least 1", "got -1", groups=-1)
        wrong(name, ShapeError, "bias must be [4]", "got [5]", bias=some(5))
        wrong(name, ShapeError, "stride must be at least 1", "got [0", stride=0)
        wrong(name, ShapeError, "dilation must be at least 1", "got [-1", dilation=-1)
        wrong(name, ShapeError, "stride must be one number", "got [1, 1, 1, 1]", stride=(1, 1, 1, 1))
        wrong(name, ShapeError, "stride must be whole numbers", "got 1.5", stride=1.5)
        wrong(name, ShapeError, "padding must", "got [-1", padding=-1)
        wrong(name, InputError, "activation must be one of none, relu", "got 'swish'", activation="swish")
    wrong(
        f"conv{axes}d",
        ShapeError,
        "weight of 9 taps",
        "must fit into the padded input",
        "got",
        weight=some(4, 3, *(9,) * axes),
    )
    wrong(f"conv{axes}d", ShapeError, "scale must be [4]", "got [3]", scale=some(3))
    wrong(f"conv{axes}d", ShapeError, "shift must be [4]", "got [1]", shift=some(1))
    wrong(f"conv{axes}d", ShapeError, "residual must be [2, 4, ", "got [1]", residual=some(1))
    wrong(
        f"conv{axes}d", ShapeError, "padding must be numbers, 'valid', 'same' or 'causal'", "got 'full'", padding="full"
    )
    wrong(f"conv{axes}d", ShapeError, "stride must be 1 for padding 'same'", "got [2", padding="same", stride=2)
    wrong(f"conv_transpose{axes}d", ShapeError, "output_padding must be", "got [1", output_padding=1)
    wrong(f"conv_transpose{axes}d", ShapeError, "output", "padding", "[8", padding=8)
    for op in ("max_pool", "avg_pool", "lp_pool"):
        name = f"{op}{axes}d"
        wrong(name, ShapeError, "kernel_size must be at least 1", "got [0", kernel_size=0)
        wrong(name, ShapeError, "kernel_size must be one number", "got [2, 2, 2, 2]", kernel_size=(2, 2, 2, 2))
        wrong(name, ShapeError, "kernel_size must be whole numbers", "got 2.5", kernel_size=2.5)
        wrong(name, ShapeError, "stride must be at least 1", "got [-2", stride=-2)
        wrong(name, ShapeError, "kernel_size 9", "must fit into the padded input", "got", kernel_size=9)
        wrong(name, ShapeError, "kernel_size 2", "must fit into the padded input", "got 0", x=some(2, 6, *(0,) * axes))
    for op in ("max_pool", "avg_pool"):
        wrong(f"{op}{axes}d", ShapeError, "padding must be at least 0", "got [-1", padding=-1)
        wrong(f"{op}{axes}d", ShapeError, "padding must be at most half of kernel_size 2", "got 2", padding=2)
    wrong(f"max_pool{axes}d", ShapeError, "dilation must be at least 1", "got [0", dilation=0)
    wrong(f"lp_pool{axes}d", UnsupportedError, "norm_type must be a whole number from 1 to 8", "got 2.5", norm_type=2.5)
    for op in ("adaptive_avg_pool", "adaptive_max_pool"):
        wrong(f"{op}{axes}d", ShapeError, "output_size must be at least 0", "got [-1", output_size=-1)
        wrong(
            f"{op}{axes}d", ShapeError, "output_size must be one number", "got [2, 2, 2, 2]", output_size=(2, 2, 2, 2)
        )
        wrong(f"{op}{axes}d", ShapeError, "x must have at least 1 pixel", "got [2, 6, 0", x=some(2, 6, *(0,) * axes))
    name = f"max_unpool{axes}d"
    wrong(name, ShapeError, "x must be [N, C", "got [3]", x=some(3), indices=labels(3))
    wrong(name, ShapeError, f"indices must be {[2, 6, *full]}", "got [2]", indices=labels(2))
    wrong(name, InputError, "output_size must lie within a stride", "got [90", output_size=(90,) * axes)
    wrong(name, ShapeError, "kernel_size must be at least 1", "got [0", kernel_size=0)
    wrong(name, ShapeError, "padding must be at least 0", "got [-1", padding=-1)
wrong("avg_pool2d", ShapeError, "divisor_override must not be zero", "got 0", divisor_override=0)
wrong("avg_pool3d", ShapeError, "divisor_override must not be zero", "got 0", divisor_override=0)
wrong(
    "conv2d",
    ShapeError,
    "pool needs an output of at least 2 x 2",
    "got [1, 1]",
    weight=some(4, 3, 5, 7),
    residual=None,
    pool=True,
)

name = "conv2d_batch_norm"
for more in ({}, {"training": True}):
    for key in ("running_mean", "running_var", "bn_weight", "bn_bias"):
        wrong(name, ShapeError, f"{key.removeprefix('bn_')} must be [4]", "got [5]", **more, **{key: some(5)})
    wrong(name, ShapeError, "residual must be [2, 4, 3, 5]", "got [1]", residual=some(1), **more)
    wrong(
        name,
        InputError,
        "running_mean and running_var must be given",
        "got running_var = None",
        running_var=None,
        **more,
    )
wrong(name, ShapeError, "x must be [N, C, H, W]", "got [3]", x=some(3))
wrong(name, ShapeError, "weight must be a tensor [K, C/groups, H, W]", "got [4, 3]", weight=some(4, 3))
wrong(name, ShapeError, "weight must be", "C = 5", "got [4, 6, 3, 3]", x=some(2, 5, 5, 7))
wrong(name, ShapeError, "groups must be at least 1", "got 0", groups=0)
wrong(name, ShapeError, "stride must be at least 1", "got [0, 0]", stride=0)
wrong(name, ShapeError, "weight of 9 taps", "must fit into the padded input", "got", weight=some(4, 6, 9, 9))
wrong(name, InputError, "activation must be one of none, relu", "got 'swish'", activation="swish")

wrong("activate", InputError, "activation must be one of none, relu", "got 'swish'", activation="swish")
wrong("gelu", InputError, "approximate must be 'none' or 'tanh'", "got 'erf'", approximate="erf")
wrong("softplus", InputError, "beta must not be 0", "got 0", beta=0.0)
wrong("prelu", ShapeError, "weight must be [1] or [6]", "got [5]", weight=some(5))
wrong("prelu", ShapeError, "weight must be [1] or [1]", "got [6]", x=some(7))
wrong("gated", ShapeError, "gate must be [2, 6, 5, 7]", "got [6]", gate=VECTOR)
for op in ("softmax", "log_softmax"):
    wrong(op, ShapeError, "dim must", "-4", "3", "got 4", dim=4)
    wrong(op, ShapeError, "dim must", "got 1", x=some(), dim=1)
    wrong(op, UnsupportedError, "dtype must be one of f32", "got f64", dtype=torch.float64)
wrong("linear", ShapeError, "x must be [..., 6]", "got [2, 5]", x=some(2, 5))
wrong("linear", ShapeError, "x must be [..., 6]", "got []", x=some())
wrong("linear", ShapeError, "weight must be a tensor [N, K]", "got [6]", weight=VECTOR)
wrong("linear", ShapeError, "bias must be [4]", "got [5]", bias=some(5))
wrong("linear", ShapeError, "residual must be [2, 4]", "got [2, 5]", residual=some(2, 5))
wrong("linear", InputError, "activation must be one of none, relu", "got 'swish'", activation="swish")

for op, flag in {"batch_norm": {"training": True}, "instance_norm": {"use_input_stats": True}}.items():
    for more in ({}, flag):
        for key in ("weight", "bias", "running_mean", "running_var"):
            wrong(op, ShapeError, f"{key} must be [6]", "got [5]", **more, **{key: some(5)})
        wrong(op, ShapeError, "x must be [N, C, ...", "got [6]", x=VECTOR, **more)
    wrong(
        op,
        InputError,
        "running_mean and running_var must be given when",
        "got None",
        running_mean=None,
        running_var=None,
    )
    wrong(
        op,
        InputError,
        "running_mean and running_var must be given both",
        "running_var = None",
        running_var=None,
        **flag,
    )
wrong("batch_norm", ShapeError, "residual must be [2, 6, 5, 7]", "got [6]", residual=VECTOR)
wrong("batch_norm", ShapeError, "residual must be [2, 6, 5, 7]", "got [6]", residual=VECTOR, training=True)
wrong("batch_norm", InputError, "activation must be one of none, relu", "got 'swish'", activation="swish")
wrong("batch_norm", ShapeError, "more than 1 value per channel", "[1, 6]", x=some(1, 6), residual=None, training=True)
wrong("instance_norm", ShapeError, "more than 1 pixel per channel", "[2, 6, 1]", x=some(2, 6, 1), use_input_stats=True)
wrong("instance_norm", ShapeError, "x must be [N, C, ...pixels]", "got [2, 6]", x=some(2, 6), use_input_stats=True)
wrong("group_norm", ShapeError, "x must be [N, C, ...]", "got [6]", x=VECTOR)
wrong("group_norm", ShapeError, "num_groups must divide the 6 channels", "got 4", num_groups=4)
wrong("group_norm", ShapeError, "num_groups must", "got 0", num_groups=0)
wrong("group_norm", ShapeError, "weight must be [6]", "got [5]", weight=some(5))
wrong("group_norm", ShapeError, "bias must be [6]", "got [5]", bias=some(5))
wrong(
    "layer_norm",
    ShapeError,
    "normalized_shape must be the last dims of x [2, 6, 5, 7]",
    "got [5]",
    normalized_shape=(5,),
)
wrong("layer_norm", ShapeError, "normalized_shape must be the last dims", "got []", normalized_shape=())
wrong("layer_norm", ShapeError, "normalized_shape must be whole numbers", "got 1.5", normalized_shape=1.5)
wrong("layer_norm", ShapeError, "weight must be [7]", "got [5]", weight=some(5))
wrong("layer_norm", ShapeError, "bias must be [7]", "got [5]", bias=some(5))
wrong("local_response_norm", ShapeError, "x must be [N, C, ...pixels]", "got [2, 6]", x=some(2, 6))
wrong("local_response_norm", ShapeError, "size must be at least 1", "got 0", size=0)

wrong("interpolate", ShapeError, "x must have 3 or 4 or 5 dims", "got [2, 6]", x=some(2, 6))
wrong("interpolate", ShapeError, "x must have 4 dims", "'bilinear'", "got [2, 6, 7]", x=some(2, 6, 7), mode="bilinear")
wrong("interpolate", ShapeError, "size must be at least 1", "got [0, 0]", size=0)
wrong("interpolate", ShapeError, "size must be one number or 2", "got [1, 2, 3]", size=(1, 2, 3))
wrong("interpolate", ShapeError, "size must be whole numbers", "got 2.5", size=2.5)
wrong("interpolate", ShapeError, "x must have at least 1 pixel", "got [2, 6, 0, 7]", x=some(2, 6, 0, 7))
wrong("interpolate", InputError, "one of size and scale_factor must be given", "got None and None", size=None)
wrong("interpolate", InputError, "one of size and scale_factor must be given", "got 4 and 2", scale_factor=2)
wrong("interpolate", InputError, "scale_factor must be finite and above 0", "nan", size=None, scale_factor=math.nan)
wrong("interpolate", InputError, "scale_factor must be finite and above 0", "-1", size=None, scale_factor=(1.0, -1.0))
wrong("interpolate", ShapeError, "size must be at least 1", "got [0, 0]", size=None, scale_factor=0.1)
wrong("interpolate", ShapeError, "scale_factor must be one number or 2", "[1, 2, 3]", size=None, scale_factor=(1, 2, 3))
wrong("interpolate", InputError, "mode must be one of nearest", "got 'cubic'", mode="cubic")
wrong("interpolate", InputError, "antialias is for mode bilinear or bicubic", "got mode 'nearest'", antialias=True)
wrong("interpolate", InputError, "align_corners is for", "'nearest'", align_corners=True)
wrong("pad", ShapeError, "padding must be pairs", "got [1]", padding=(1,))
wrong("pad", ShapeError, "padding must be pairs", "at most 4", "got [1, 1, 1", padding=(1,) * 10)
wrong("pad", ShapeError, "padding must be whole numbers", "got (1.5, 1)", padding=(1.5, 1))
wrong("pad", ShapeError, "padding must not crop", "got [-4, -4]", padding=(-4, -4))
wrong("pad", ShapeError, "padding of a dim of 7 must be at most 6", "got [7, 0]", padding=(7, 0), mode="reflect")
wrong("pad", ShapeError, "padding of a dim of 7 must be at most 7", "got [8, 0]", padding=(8, 0), mode="circular")
wrong("pad", InputError, "mode must be one of constant, reflect", "got 'mirror'", mode="mirror")
wrong("pad", InputError, "value is for mode 'constant'", "got 2.0", mode="reflect", value=2.0)
wrong("grid_sample", ShapeError, "x must be [N, C, H, W] or [N, C, D, H, W]", "got [2, 6, 7]", x=some(2, 6, 7))
wrong("grid_sample", ShapeError, "grid must be [2, H, W, 2]", "got [2, 3, 4, 3]", grid=some(2, 3, 4, 3))
wrong("grid_sample", ShapeError, "grid must be [2, H, W, 2]", "got [1, 3, 4, 2]", grid=some(1, 3, 4, 2))
wrong("grid_sample", ShapeError, "grid must be [2, D, H, W, 3]", "got [2, 3, 4, 2]", x=some(2, 6, 2, 5, 7))
wrong("grid_sample", ShapeError, "x must have at least 1 pixel", "got [2, 6, 0, 7]", x=some(2, 6, 0, 7))
wrong("grid_sample", InputError, "mode must be one of bilinear", "got 'linear'", mode="linear")
wrong("grid_sample", InputError, "padding_mode must be one of zeros", "got 'reflect'", padding_mode="reflect")
wrong(
    "grid_sample",
    UnsupportedError,
    "'bicubic' of 3 axes",
    x=some(2, 6, 2, 5, 7),
    grid=some(2, 2, 3, 4, 3),
    mode="bicubic",
)
wrong("affine_grid", ShapeError, "theta must be [2, 2, 3]", "got [2, 3]", theta=some(2, 3))
wrong("affine_grid", ShapeError, "theta must be [2, 3, 4]", "got [2, 2, 3]", size=(2, 6, 2, 3, 4))
wrong("affine_grid", ShapeError, "size must be (N, C, H, W)", "got [2, 6, 3]", size=(2, 6, 3))
wrong("affine_grid", ShapeError, "each from 1", "got [2, 6, 0, 4]", size=(2, 6, 0, 4))
wrong("affine_grid", ShapeError, "size must be whole numbers", "got", size=(2, 6, 1.5, 4))
wrong("pixel_shuffle", ShapeError, "x must be [..., C, H, W]", "got [4, 4]", x=some(4, 4))
wrong(
    "pixel_shuffle", ShapeError, "channels divisible by upscale_factor 3 squared", "got [2, 8, 3, 3]", upscale_factor=3
)
wrong("pixel_shuffle", ShapeError, "upscale_factor must be at least 1", "got 0", upscale_factor=0)
wrong("pixel_unshuffle", ShapeError, "x must be [..., C, H, W]", "got [4, 4]", x=some(4, 4))
wrong("pixel_unshuffle", ShapeError, "divisible by downscale_factor 4", "got [2, 2, 4, 6]", downscale_factor=4)
wrong("pixel_unshuffle", ShapeError, "downscale_factor must be at least 1", "got 0", downscale_factor=0)
wrong("concat", InputError, "tensors must be a list of at least one tensor", "got an empty list", tensors=[])
wrong("concat", InputError, "tensors must be a list of at least one tensor", "got Tensor", tensors=PICTURE)
wrong(
    "concat", ShapeError, "tensors[1] must be", "[2, 6, 5, 7]", "got [2, 6, 5, 6]", tensors=[PICTURE, PICTURE[..., :6]]
)
wrong("concat", ShapeError, "tensors[1] must be", "got [6]", tensors=[PICTURE, VECTOR])
wrong("concat", DTypeError, "tensors[1] must be torch.float32", "got torch.float16", tensors=[PICTURE, PICTURE.half()])
wrong("concat", InputError, "tensors[1] must be on cpu", "it is on meta", tensors=[PICTURE, PICTURE.to("meta")])
wrong("concat", ShapeError, "dim must", "got 4", dim=4)
for op in ("dropout", "channel_dropout"):
    wrong(op, InputError, "p must lie in 0..1", "got 1.5", p=1.5)
    wrong(op, InputError, "p must lie in 0..1", "got -0.5", p=-0.5)
    wrong(op, InputError, "seed must be one torch.int64 number", "got torch.float32 [2]", seed=some(2))
    wrong(op, InputError, "seed must be", "got 1.5", seed=1.5)
wrong("channel_dropout", ShapeError, "x must be [N, C, ...pixels]", "got [2, 6]", x=some(2, 6))
wrong("embedding", ShapeError, "weight must be [V, E]", "got [5]", weight=some(5))
wrong("embedding", InputError, "padding_idx must", "4", "got 5", padding_idx=5)
wrong("one_hot", InputError, "num_classes must be at least 1", "got 0", num_classes=0)

wrong("cross_entropy", ShapeError, "target must be [3]", "got [2]", target=labels(2))
wrong("cross_entropy", ShapeError, "target must be [3]", "got [3, 5]", target=some(3, 5))
wrong("cross_entropy", ShapeError, "weight must be [6]", "got [5]", weight=some(5))
wrong("cross_entropy", ShapeError, "input must be [N, C, ...]", "got []", input=some())
wrong("cross_entropy", InputError, "label_smoothing must lie in 0..1", "got 2.0", label_smoothing=2.0)
for op in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
    wrong(op, ShapeError, "target must", "broadcast", "[2, 6, 5, 7]", "got [5]", target=some(5))
for op in ("focal_loss", "dice_loss", "binary_cross_entropy_with_logits"):
    wrong(op, ShapeError, "target must be [2, 6, 5, 7]", "got [6]", target=VECTOR)
for key in ("weight", "pos_weight"):
    wrong("binary_cross_entropy_with_logits", ShapeError, f"{key} must", "broadcast", "got [5]", **{key: some(5)})
for op in CALLS:
    if "reduction" in inspect.signature(getattr(T, op)).parameters:
        wrong(op, InputError, "reduction must be", "mean", "got 'average'", reduction="average")
wrong("total_variation", InputError, "reduction must be mean or sum", "got 'none'", reduction="none")
wrong("total_variation", ShapeError, "x must be [N, C, H, W]", "got [6]", x=VECTOR)
wrong("smooth_l1_loss", InputError, "beta must not be negative", "got -1.0", beta=-1.0)
wrong("huber_loss", InputError, "delta must be above 0", "got 0.0", delta=0.0)
wrong("focal_loss", InputError, "gamma must not be negative", "got -1.0", gamma=-1.0)
wrong("dice_loss", ShapeError, "input must be [N, ...]", "got [6]", input=VECTOR, target=VECTOR)
wrong("gram_matrix", ShapeError, "x must be [", "got [6]", x=VECTOR)
wrong("gram_matrix", ShapeError, "one picture", "got", x=PICTURE)
