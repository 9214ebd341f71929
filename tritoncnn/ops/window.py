"""Sliding windows: how many pixels a convolution or a pool gives, and what it refuses."""

from __future__ import annotations

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import TensorType
from tritoncnn.kernels.building import conv_size
from tritoncnn.kernels.conv_problem import edges

NHWC = (0, 2, 3, 1)  # memory order of activations: channels innermost
ACTIVATIONS = {4: NHWC, 5: (0, 2, 3, 4, 1)}  # by rank
FILTERS = {4: (2, 3, 1, 0), 5: (2, 3, 4, 1, 0)}  # [K, C, R, S] as R, S, C, K: filters innermost
FILTERS_BACK = {4: (2, 3, 0, 1), 5: (2, 3, 4, 0, 1)}  # for the input gradient: channels innermost

Pair = tuple[int, ...]


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


def pool_size(op: str, H: int, R: int, U: int, PAD: int, DIL: int, ceil_mode: bool) -> int:
    """Windows along one axis, by torch's rule: with ``ceil_mode`` a last window may hang over the end, yet no window
    starts in the padding after the input. Raises ShapeError when no window fits or padding passes half a window.
    """
    if 2 * PAD > R:
        raise ShapeError(f"{op}: padding must be at most half of the window of {R}; got {PAD}")
    room = H + 2 * PAD - DIL * (R - 1) - 1
    size = -(-room // U) + 1 if ceil_mode else room // U + 1
    if ceil_mode and (size - 1) * U >= H + PAD:
        size -= 1
    if size < 1:
        raise ShapeError(
            f"{op}: a window of {R} taps with dilation {DIL} does not fit into {H + 2 * PAD} padded pixels"
        )
    return size
