"""Sliding windows: how many pixels a convolution or a pool gives, and what it refuses."""

from __future__ import annotations

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import conv_size
from tritoncnn.kernels.conv_problem import edges
from tritoncnn.kernels.windows import pool_size

NHWC = (0, 2, 3, 1)  # memory order of activations: channels innermost
ACTIVATIONS = {4: NHWC, 5: (0, 2, 3, 4, 1)}  # by rank
FILTERS = {4: (2, 3, 1, 0), 5: (2, 3, 4, 1, 0)}  # [K, C, R, S] as R, S, C, K: filters innermost
FILTERS_BACK = {4: (2, 3, 0, 1), 5: (2, 3, 4, 0, 1)}  # for the input gradient: channels innermost

Pair = tuple[int, ...]

__all__ = [
    "ACTIVATIONS", "FILTERS", "FILTERS_BACK", "NHWC", "Pair", "check_conv_window", "check_float", "check_image",
    "check_same_dtype", "check_window", "conv_size", "conv_sizes", "pool_size",
]  # fmt: skip


def check_image(op: str, x: TensorType, name: str = "x") -> None:
    """Raises ShapeError unless ``x`` is [N, C, H, W], DTypeError unless it holds floats."""
    if x.rank != 4:
        raise ShapeError(f"{op}: {name} must be [N, C, H, W]; got {list(x.shape)}")
    check_float(op, x, name)


def check_float(op: str, x: TensorType, name: str) -> None:
    if not x.is_float:
        raise DTypeError(f"{op}: {name} must hold floats; got {x.dtype}")


def check_same_dtype(op: str, a: TensorType, b: TensorType, names: str) -> None:
    if a.dtype != b.dtype:
        raise DTypeError(f"{op}: {names} must have one dtype; got {a.dtype} and {b.dtype}")


def check_window(op: str, stride: Pair, padding: Pair, dilation: Pair = (1, 1), window: Pair = (1, 1)) -> None:
    """Raises ShapeError unless each is a pair and in range: steps from 1, padding from 0."""
    pairs = {"stride": (stride, 1), "padding": (padding, 0), "dilation": (dilation, 1), "window": (window, 1)}
    for name, (pair, least) in pairs.items():
        if len(pair) != 2 or min(pair) < least:
            raise ShapeError(f"{op}: {name} must be two numbers from {least}; got {list(pair)}")


def check_conv_window(op: str, axes: int, stride: Pair, padding: Pair, dilation: Pair) -> None:
    """Raises ShapeError unless stride and dilation have a number from 1 per axis, padding one from 0 (or before and after)."""
    for name, numbers in {"stride": stride, "dilation": dilation}.items():
        if len(numbers) != axes or min(numbers) < 1:
            raise ShapeError(f"{op}: {name} must be {axes} numbers from 1; got {list(numbers)}")
    if len(padding) not in (axes, 2 * axes) or any(before < 0 for before, _ in edges(padding, axes)):
        raise ShapeError(f"{op}: padding must be {axes} numbers from 0, or {2 * axes}; got {list(padding)}")


def conv_sizes(op: str, x: Pair, w: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    """(P, Q), or (O, P, Q), of a convolution of x [N, C, ...] by w [K, C/groups, ...]. Raises ShapeError."""
    sides = edges(padding, len(x) - 2)
    axes = zip(x[2:], w[2:], stride, sides, dilation, strict=True)
    return tuple(conv_size(op, *sizes) for sizes in axes)
