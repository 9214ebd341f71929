"""Tables of taps: which elements of a line of ``n_in`` make each element of a line of ``n_out``, and with what weights.

Source of the resizing rules: torch's aten/src/ATen/native/UpSample.h, of those without aliasing its cpu/UpSampleKernel.cpp;
of its adaptive pools: start floor(p * n_in / n_out), end ceil((p + 1) * n_in / n_out).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch

from tritoncnn.errors import ShapeError
from tritoncnn.ir import TensorType
from tritoncnn.ops.define import Table

Row = list[tuple[int, float]]  # (index, weight) of the taps of one element
Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Taps:
    """count    taps of each element; an absent one has index -1 and weight 0
    index     i32 [count, elements]
    weight    f32 like index; None when all are 1
    """

    count: int
    index: Table
    weight: Table | None


def _scale(n_in: int, n_out: int, factor: float, align: float = 0) -> float:
    """Steps in the input for one in the output; ``factor`` is the scale factor the user gave, 0 for none."""
    if align:
        return (n_in - 1) / (n_out - 1) if n_out > 1 else 0.0
    return 1 / factor if factor > 0 else n_in / max(n_out, 1)


def _nearest(shift: float) -> Callable[..., list[Row]]:
    def rows(n_in: int, n_out: int, factor: float) -> list[Row]:
        scale = torch.tensor(_scale(n_in, n_out, factor), dtype=torch.float32)  # torch finds the pixel in f32
        places = ((torch.arange(n_out, dtype=torch.float32) + shift) * scale).floor().long().clamp(max=n_in - 1)
        return [[(int(i), 1.0)] for i in places]

    return rows


def _linear(n_in: int, n_out: int, factor: float, align: float) -> list[Row]:
    scale, rows = _scale(n_in, n_out, factor, align), []
    for p in range(n_out):
        source = scale * p if align else max(scale * (p + 0.5) - 0.5, 0.0)
        low = min(int(source), n_in - 1)
        part = min(max(source - low, 0.0), 1.0)
        rows.append([(low, 1 - part), (min(low + 1, n_in - 1), part)])
    return rows


def _cubic(n_in: int, n_out: int, factor: float, align: float) -> list[Row]:
    """Keys' cubic convolution with A = -0.75, four taps."""
    A, scale, rows = -0.75, _scale(n_in, n_out, factor, align), []
    for p in range(n_out):
        source = scale * p if align else scale * (p + 0.5) - 0.5
        low = math.floor(source)
        t = source - low

        def near(x: float) -> float:
            return ((A + 2) * x - (A + 3)) * x * x + 1

        def far(x: float) -> float:
            return ((A * x - 5 * A) * x + 8 * A) * x - 4 * A

        weights = (far(t + 1), near(t), near(1 - t), far(2 - t))
        rows.append([(min(max(low - 1 + k, 0), n_in - 1), w) for k, w in enumerate(weights)])
    return rows


def _smooth(filter_: Callable[[float], float], reach: float) -> Callable[..., list[Row]]:
    """Resizing without aliasing: where it shrinks, the filter is as much wider, and sees every element."""

    def rows(n_in: int, n_out: int, factor: float, align: float) -> list[Row]:
        scale, found = _scale(n_in, n_out, factor, align), []
        wide = max(scale, 1.0)
        for p in range(n_out):
            center = scale * (p + 0.5)
            first, end = max(int(center - reach * wide + 0.5), 0), min(int(center + reach * wide + 0.5), n_in)
            weights = [filter_((i - center + 0.5) / wide) for i in range(first, end)]
            total = sum(weights) or 1.0
            found.append([(i, w / total) for i, w in enumerate(weights, first)])
        return found

    return rows


def _triangle(x: float) -> float:
    return max(1 - abs(x), 0.0)


def _keys(x: float) -> float:
    """Keys' cubic filter with A = -0.5, as PIL has it."""
    A, x = -0.5, abs(x)
    if x < 1:
        return ((A + 2) * x - (A + 3)) * x * x + 1
    return ((A * x - 5 * A) * x + 8 * A) * x - 4 * A if x < 2 else 0.0


def _adaptive(n_in: int, n_out: int) -> list[Row]:
    spans = [range(p * n_in // n_out, -(-(p + 1) * n_in // n_out)) for p in range(n_out)]
    return [[(i, 1 / len(span)) for i in span] for span in spans]


def _windows(n_in: int, n_out: int, R: float, U: float, PAD: float, DIL: float) -> list[Row]:
    """The taps of pooling windows that lie inside."""
    starts = [int(p * U - PAD) for p in range(n_out)]
    return [[(i, 1.0) for r in range(int(R)) if 0 <= (i := start + r * int(DIL)) < n_in] for start in starts]


def _unfolded(n_in: int, n_out: int, R: float, U: float, PAD: float, DIL: float) -> list[Row]:
    """The elements under windows, side by side: those of all first taps, then those of all second taps, and so on."""
    count = n_out // int(R)
    places = [int(p * U - PAD + r * DIL) for r in range(int(R)) for p in range(count)]
    return [[(i, 1.0)] if 0 <= i < n_in else [] for i in places]


def _average(n_in: int, n_out: int, R: float, U: float, PAD: float, include_pad: float) -> list[Row]:
    rows = []
    for p, row in enumerate(_windows(n_in, n_out, R, U, PAD, 1)):
        start = p * U - PAD
        count = min(start + R, n_in + PAD) - start if include_pad else len(row)
        rows.append([(i, 1 / count) for i, _ in row])
    return rows


def _picked(place: Callable[[int, int], int]) -> Callable[..., list[Row]]:
    """One tap: element ``place(p, n_in)``; absent when that is outside."""

    def rows(n_in: int, n_out: int, left: float, step: float = 1) -> list[Row]:
        places = [place(int(p * step - left), n_in) for p in range(n_out)]
        return [[(i, 1.0)] if 0 <= i < n_in else [] for i in places]

    return rows


def _reflect(q: int, n: int) -> int:
    q = abs(q)
    return q if q < n else 2 * (n - 1) - q


RULES: dict[str, Callable[..., list[Row]]] = {
    "nearest": _nearest(0.0),  # (scale factor)
    "nearest-exact": _nearest(0.5),  # (scale factor)
    "linear": _linear,  # (scale factor, align_corners)
    "cubic": _cubic,  # (scale factor, align_corners)
    "linear-smooth": _smooth(_triangle, 1),  # (scale factor, align_corners)
    "cubic-smooth": _smooth(_keys, 2),  # (scale factor, align_corners)
    "unfolded": _unfolded,  # (window, stride, padding, dilation)
    "adaptive": _adaptive,  # ()
    "windows": _windows,  # (window, stride, padding, dilation)
    "average": _average,  # (window, stride, padding, count_include_pad)
    "zero": _picked(lambda q, n: q),  # (elements before the first[, step])
    "reflect": _picked(_reflect),
    "replicate": _picked(lambda q, n: min(max(q, 0), n - 1)),
    "circular": _picked(lambda q, n: q % n if n else -1),
    "flip": _picked(lambda q, n: n - 1 - q),
}


@lru_cache(maxsize=1024)
def taps(rule: str, n_in: int, n_out: int, numbers: Numbers = (), adjoint: bool = False) -> Taps:
    """The table of a rule; ``adjoint``: the transposed one, for elements of the line of ``n_in``.

    Raises ShapeError for a rule that there is not.
    """
    if rule not in RULES:
        raise ShapeError(f"resample: rule must be one of {', '.join(RULES)}; got {rule!r}")
    rows = RULES[rule](n_in, n_out, *numbers) if n_in else [[] for _ in range(n_out)]
    if adjoint:
        back: list[Row] = [[] for _ in range(n_in)]
        for p, row in enumerate(rows):
            for i, w in row:
                back[i].append((p, w))
        rows = back
    count = max((len(row) for row in rows), default=0) or 1
    lines = [[row[t] if t < len(row) else (-1, 0.0) for row in rows] for t in range(count)]
    shape = (count, len(rows))
    index = Table(TensorType.dense("i32", shape), tuple(i for line in lines for i, _ in line))
    if all(w == 1 for row in rows for _, w in row):
        return Taps(count, index, None)
    return Taps(count, index, Table(TensorType.dense("f32", shape), tuple(w for line in lines for _, w in line)))
