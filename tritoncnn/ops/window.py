"""Sliding windows: how many pixels a convolution or a pool gives, and what it refuses."""

from __future__ import annotations

from tritoncnn.errors import DTypeError, ShapeError
from tritoncnn.ir import TensorType

NHWC = (0, 2, 3, 1)  # memory order of activations: channels innermost
RSCK = (2, 3, 1, 0)  # memory order of filters [K, C, R, S]: filters innermost
RSKC = (2, 3, 0, 1)  # memory order of filters for the input gradient: channels innermost

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


def conv_size(op: str, H: int, R: int, U: int, PAD: int, DIL: int) -> int:
    """Pixels of output along one axis.

    H input pixels, R filter taps, U window step, PAD pixels on each side, DIL tap spacing.
    Raises ShapeError when the dilated filter is longer than the padded input.
    Source: Dumoulin & Visin 2016, "A guide to convolution arithmetic", dilated convolutions.
    """
    if DIL * (R - 1) + 1 > H + 2 * PAD:
        raise ShapeError(
            f"{op}: a kernel of {R} taps with dilation {DIL} spans {DIL * (R - 1) + 1} pixels; "
            f"the padded input has {H + 2 * PAD}"
        )
    return (H + 2 * PAD - DIL * (R - 1) - 1) // U + 1


def conv_sizes(op: str, x: Pair, w: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    """(P, Q) of a convolution of x [N, C, H, W] by w [K, C, R, S]."""
    axes = zip(x[2:], w[2:], stride, padding, dilation, strict=True)
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
