"""ATen ops that move pixels in terms of ours: resizing, padding, shuffles, flips."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tritoncnn.errors import ShapeError, UnsupportedError
from tritoncnn.formulas.convolution import at_least, per_axis
from tritoncnn.formulas.dtypes import FLOATS
from tritoncnn.ops import OPS
from tritoncnn.ops.table import table_for

op = OPS


def along(rank: int, dim: int, size: int) -> tuple[int, ...]:
    """(1, size, 1, 1): the shape of a line along ``dim``."""
    return tuple(size if d == dim else 1 for d in range(rank))


def wrap(name: str, rank: int, dim: int) -> int:
    """The dim counted from 0. Raises ShapeError."""
    if not -max(rank, 1) <= dim < max(rank, 1):
        raise ShapeError(f"{name}: dim must be in [{-max(rank, 1)}, {max(rank, 1) - 1}]; got {dim}")
    return dim % max(rank, 1)


# Resizing


def _sizes(name: str, x: Any, size: Sequence[int] | None, factors: Sequence[float | None]) -> tuple[int, ...]:
    spatial = tuple(x.shape[2:])
    if not spatial:
        raise ShapeError(f"{name}: x must be [N, C, ...] with pixels; got {list(x.shape)}")
    given = size if size is not None else [math.floor(n * (f or 0)) for n, f in zip(spatial, factors, strict=True)]
    sizes = tuple(int(n) for n in given)
    if len(sizes) != len(spatial):
        raise ShapeError(f"{name}: size must be {len(spatial)} numbers for x {list(x.shape)}; got {list(sizes)}")
    if 0 in spatial:
        raise ShapeError(f"{name}: x must have at least 1 pixel along every axis; got {list(x.shape)}")
    at_least(f"{name}: size", sizes, 1)
    return sizes


def by_sizes(rule: str, axes: int, ratio: float) -> bool:
    """Whether torch leaves a scale factor out and goes by the sizes, whose ``ratio`` is given: linear and smooth modes where
    the size stays; mode nearest, but of pictures only, where it stays or doubles.
    """
    return (
        ratio == 1
        if rule in ("linear", "linear-smooth", "cubic-smooth")
        else rule == "nearest" and axes == 2 and ratio in (1, 2)
    )


def resizer(name: str, rule: str, aligns: bool) -> Callable[..., Any]:
    """The ATen op ``name``, in both forms: sizes and one scale per dim, or sizes or a list of scale factors."""

    def resize(x: Any, size: Sequence[int] | None, *rest: Any) -> Any:
        align = bool(rest[0]) if aligns else False
        more = rest[1:] if aligns else rest
        flat = list(more[0]) if more and isinstance(more[0], (list, tuple)) else list(more)
        spatial = len(x.shape) - 2
        factors = flat if any(factor is not None for factor in flat) else [None] * spatial
        sizes = _sizes(name, x, size, factors)
        steps = [(n / x.shape[2 + d], 2 + d, n, float(factors[d] or 0)) for d, n in enumerate(sizes)]
        for ratio, dim, n, factor in sorted(steps):  # what shrinks comes first
            if by_sizes(rule, spatial, ratio):
                factor = 0.0
            if ratio != 1 or factor not in (0.0, 1.0):
                numbers = (factor, int(align)) if aligns else (factor,)
                x = op["resample"](x, dim=dim, size=n, rule=rule, numbers=numbers)
        return x

    return resize


upsample_nearest = resizer("upsample_nearest", "nearest", False)
upsample_nearest_exact = resizer("upsample_nearest_exact", "nearest-exact", False)
upsample_linear = resizer("upsample_linear", "linear", True)
upsample_bicubic = resizer("upsample_bicubic", "cubic", True)
upsample_linear_smooth = resizer("upsample_bilinear", "linear-smooth", True)
upsample_bicubic_smooth = resizer("upsample_bicubic", "cubic-smooth", True)


# Padding


def _check_padding(x: Any, padding: Sequence[int], mode: str) -> None:
    rank = len(x.shape)
    if len(padding) % 2 or len(padding) > 2 * rank:
        raise ShapeError(
            f"pad: padding must be pairs (before, after) from the last dim on, at most {rank}; got {list(padding)}"
        )
    for i in range(0, len(padding), 2):
        n, pair = x.shape[rank - 1 - i // 2], padding[i : i + 2]
        most = {"reflect": n - 1, "circular": n, "replicate": math.inf if n else 0}.get(mode, math.inf)
        if max(pair) > most:
            raise ShapeError(f"pad: {mode} padding of a dim of {n} must be at most {most}; got {list(padding)}")
        if n + sum(pair) < 0 or n + min(pair) < 0:
            raise ShapeError(f"pad: padding must not crop more than there is of x {list(x.shape)}; got {list(padding)}")


def pad(x: Any, padding: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """torch.nn.functional.pad, of any rank and in all four modes."""
    rules = {"constant": "zero", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}
    if mode not in rules:
        raise UnsupportedError(f"padding with mode {mode!r}")
    _check_padding(x, padding, mode)
    rank = len(x.shape)
    number = 0.0 if value is None else float(value)
    number = number if x.dtype in FLOATS else int(number)
    zeros = mode == "constant" and str(number) in ("0.0", "0")  # and not -0.0
    if zeros and len(padding) <= 4 and rank in (3, 4) and x.dtype in FLOATS:
        left, right, top, bottom = (*padding, 0, 0, 0, 0)[:4]
        y = op["pad2d"](_as_image(x, top == bottom == 0), padding=(top, bottom, left, right))
        if rank == 4:
            return y
        return op["reshape"](y, shape=(x.shape[0], x.shape[1] + top + bottom, y.shape[3]))
    for i in range(0, len(padding), 2):
        dim, (before, after) = rank - 1 - i // 2, padding[i : i + 2]
        if mode == "circular" and min(before, after) < 0:  # torch repeats what is left after cropping
            left = x.shape[dim] + min(before, 0) + min(after, 0)
            x = op["narrow"](x, dim=dim, start=max(-before, 0), size=left)
            before, after = max(before, 0), max(after, 0)
        if not before and not after:
            continue
        n, size = x.shape[dim], x.shape[dim] + before + after
        x = op["resample"](x, dim=dim, size=size, rule=rules[mode], numbers=(before,))
        if mode == "constant" and not zeros:
            inside = table_for(x, [int(0 <= p - before < n) for p in range(size)], along(rank, dim, size), "i1")
            x = op["where"](inside, x, number)
    return x


def _as_image(x: Any, line: bool) -> Any:
    """x with 4 dims. Where only the last of 3 is padded they are samples, channels, pixels of a ``line``."""
    if len(x.shape) == 4:
        return x
    return op["reshape"](x, shape=(*x.shape[:2], 1, x.shape[2]) if line else (1, *x.shape))


def constant_pad(x: Any, padding: Sequence[int], value: float = 0) -> Any:
    return pad(x, padding, "constant", value)


def padder(mode: str) -> Callable[[Any, Sequence[int]], Any]:
    return lambda x, padding: pad(x, padding, mode)


# Shuffles and flips


def _check_factor(name: str, x: Any, key: str, factor: int) -> None:
    if len(x.shape) < 3:
        raise ShapeError(f"{name}: x must be [..., C, H, W]; got {list(x.shape)}")
    if factor < 1:
        raise ShapeError(f"{name}: {key} must be at least 1; got {factor}")


def pixel_shuffle(x: Any, factor: int) -> Any:
    """[.., C*r*r, H, W] -> [.., C, H*r, W*r], first the columns, then the rows."""
    _check_factor("pixel_shuffle", x, "upscale_factor", factor)
    *lead, C, H, W = x.shape
    if C % (factor * factor):
        raise ShapeError(
            f"pixel_shuffle: x must have channels divisible by upscale_factor {factor} squared; got {list(x.shape)}"
        )
    N, rows = math.prod(lead), C // factor
    y = op["permute"](op["reshape"](x, shape=(N, rows, factor, H, W)), dims=(0, 1, 3, 4, 2))
    y = op["reshape"](y, shape=(N, rows // factor, factor, H, W * factor))
    y = op["permute"](y, dims=(0, 1, 3, 2, 4))
    return op["reshape"](y, shape=(*lead, rows // factor, H * factor, W * factor))


def pixel_unshuffle(x: Any, factor: int) -> Any:
    """[.., C, H*r, W*r] -> [.., C*r*r, H, W], first the rows, then the columns."""
    _check_factor("pixel_unshuffle", x, "downscale_factor", factor)
    *lead, C, HR, WR = x.shape
    if HR % factor or WR % factor:
        raise ShapeError(
            f"pixel_unshuffle: x must have rows and columns divisible by downscale_factor {factor}; got {list(x.shape)}"
        )
    N, H, W = math.prod(lead), HR // factor, WR // factor
    y = op["permute"](op["reshape"](x, shape=(N, C, H, factor, WR)), dims=(0, 1, 3, 2, 4))
    y = op["permute"](op["reshape"](y, shape=(N, C * factor, H, W, factor)), dims=(0, 1, 4, 2, 3))
    return op["reshape"](y, shape=(*lead, C * factor * factor, H, W))


def channel_shuffle(x: Any, groups: int) -> Any:
    N, C, *pixels = x.shape
    if groups < 1 or C % groups:
        raise ShapeError(f"channel_shuffle: x {list(x.shape)} must have channels divisible by the {groups} groups")
    y = op["permute"](op["reshape"](x, shape=(N, groups, C // groups, math.prod(pixels))), dims=(0, 2, 1, 3))
    return op["reshape"](y, shape=tuple(x.shape))


def flip(x: Any, dims: Sequence[int]) -> Any:
    for dim in (wrap("flip", len(x.shape), d) for d in dims if x.shape):
        x = op["resample"](x, dim=dim, size=x.shape[dim], rule="flip", numbers=(0,))
    return x


def roll(x: Any, shifts: int | Sequence[int], dims: int | Sequence[int] = ()) -> Any:
    """Without dims: of the flat tensor."""
    moves = [shifts] if isinstance(shifts, int) else list(shifts)
    wanted = [dims] if isinstance(dims, int) else list(dims)
    if not wanted:
        return op["reshape"](roll(op["reshape"](x, shape=(math.prod(x.shape),)), moves, (0,)), shape=tuple(x.shape))
    if len(moves) != len(wanted):
        raise ShapeError(f"roll: shifts and dims must be as many; got {moves} and {wanted}")
    for shift, dim in zip(moves, wanted, strict=True):
        d = wrap("roll", len(x.shape), dim)
        if x.shape and x.shape[d] and shift % x.shape[d]:
            x = op["resample"](x, dim=d, size=x.shape[d], rule="circular", numbers=(shift % x.shape[d],))
    return x


# Windows


def _counts(name: str, sizes: Sequence[int], steps: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """How many windows there are along each axis; ``steps`` of each: taps, stride, padding, dilation. Raises ShapeError."""
    for what, numbers, least in zip(
        ("kernel_size", "stride", "padding", "dilation"), zip(*steps, strict=True), (1, 1, 0, 1), strict=True
    ):
        at_least(f"{name}: {what}", tuple(numbers), least)
    counts = tuple((n + 2 * PAD - DIL * (R - 1) - 1) // U + 1 for n, (R, U, PAD, DIL) in zip(sizes, steps, strict=True))
    if min(counts) < 1:
        raise ShapeError(
            f"{name}: a window must fit into the padded picture {list(sizes)}; got {[s[0] for s in steps]} taps"
        )
    return counts


def _steps(name: str, *numbers: int | Sequence[int]) -> list[tuple[int, ...]]:
    return list(zip(*(per_axis(name, n, 2) for n in numbers), strict=True))


def im2col(
    x: Any, window: Sequence[int], dilation: Sequence[int], padding: Sequence[int], stride: Sequence[int]
) -> Any:
    """torch.nn.functional.unfold: x [N, C, H, W] -> [N, C taps, windows], first by rows of taps, then by columns."""
    if len(x.shape) == 3:
        y = im2col(op["reshape"](x, shape=(1, *x.shape)), window, dilation, padding, stride)
        return op["reshape"](y, shape=tuple(y.shape[1:]))
    if len(x.shape) != 4:
        raise ShapeError(f"unfold: x must be [N, C, H, W] or [C, H, W]; got {list(x.shape)}")
    N, C, *sizes = x.shape
    steps = _steps("unfold", window, stride, padding, dilation)
    (P, Q), (R, S) = _counts("unfold", sizes, steps), (steps[0][0], steps[1][0])
    for dim, count, numbers in ((2, P, steps[0]), (3, Q, steps[1])):
        x = op["resample"](x, dim=dim, size=count * numbers[0], rule="unfolded", numbers=numbers)
    y = op["permute"](op["reshape"](x, shape=(N, C, R, P, S, Q)), dims=(0, 1, 2, 4, 3, 5))
    return op["reshape"](y, shape=(N, C * R * S, P * Q))


def col2im(
    x: Any, size: Sequence[int], window: Sequence[int], dilation: Sequence[int], padding: Sequence[int], stride: Sequence[int]
) -> Any:  # fmt: skip
    """torch.nn.functional.fold: x [N, C taps, windows] -> [N, C, H, W]; what lies under several windows is their sum."""
    if len(x.shape) == 2:
        y = col2im(op["reshape"](x, shape=(1, *x.shape)), size, window, dilation, padding, stride)
        return op["reshape"](y, shape=tuple(y.shape[1:]))
    steps, sizes = _steps("fold", window, stride, padding, dilation), per_axis("fold: output_size", size, 2)
    (P, Q), (R, S) = _counts("fold", sizes, steps), (steps[0][0], steps[1][0])
    if len(x.shape) != 3 or x.shape[1] % (R * S) or x.shape[2] != P * Q:
        raise ShapeError(
            f"fold: x must be [N, C * {R * S}, {P * Q}] for output_size {list(sizes)}; got {list(x.shape)}"
        )
    N, C = x.shape[0], x.shape[1] // (R * S)
    y = op["permute"](op["reshape"](x, shape=(N, C, R, S, P, Q)), dims=(0, 1, 2, 4, 3, 5))
    y = op["reshape"](y, shape=(N, C, R * P, S * Q))
    for dim, n, numbers in ((2, sizes[0], steps[0]), (3, sizes[1], steps[1])):
        y = op["resample"](y, dim=dim, size=n, rule="unfolded", numbers=numbers, adjoint=True)
    return y


def unfold(x: Any, dim: int, size: int, step: int) -> Any:
    """x.unfold: windows along dim, whose elements make a last dim."""
    if not x.shape:
        return op["reshape"](unfold(op["reshape"](x, shape=(1,)), 0, 1, step), shape=(1,))
    d, rank = wrap("unfold", len(x.shape), dim), len(x.shape)
    if not 1 <= size <= x.shape[d] or step < 1:
        raise ShapeError(
            f"unfold: size must lie in 1..{x.shape[d]} and step from 1 for x {list(x.shape)}; got {size}, {step}"
        )
    count = (x.shape[d] - size) // step + 1
    y = op["resample"](x, dim=d, size=size * count, rule="unfolded", numbers=(size, step, 0, 1))
    y = op["reshape"](y, shape=(*x.shape[:d], size, count, *x.shape[d + 1 :]))
    return op["permute"](y, dims=(*range(d), *range(d + 1, rank + 1), d))


# Triangles


def triangle(lower: bool) -> Callable[..., Any]:
    """torch.tril or torch.triu: what is on the other side of a diagonal becomes 0."""

    def kept(x: Any, diagonal: int = 0) -> Any:
        if len(x.shape) < 2:
            raise ShapeError(f"{'tril' if lower else 'triu'}: x must be [..., H, W]; got {list(x.shape)}")
        H, W = x.shape[-2:]
        inside = [int(j - i <= diagonal if lower else j - i >= diagonal) for i in range(H) for j in range(W)]
        return op["where"](table_for(x, inside, (H, W), "i1"), x, table_for(x, (0,), (), x.dtype))

    return kept
