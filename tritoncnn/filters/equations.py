"""Two pictures -> the linear equations of the filter between them, and their answer in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tritoncnn.data.define import Array
from tritoncnn.errors import InputError
from tritoncnn.filters.taps import MOST, Taps, size_in_words

Numbers = NDArray[np.float64]

CHUNK = 1 << 16  # windows at a time
WORK = 4e10  # multiplications for the normal equations; of larger pictures every second, third... row of pixels counts
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601


@dataclass(frozen=True)
class Pair:
    """What is known: f64[C,H,W] before and f64[C,P,Q] behind a filter of R x S taps, P = H - R + 1, Q = W - S + 1.

    cut      rows and columns along the border that were left out of the picture behind, (y, x)
    remarks  sentences for the person who asks
    """

    before: Numbers
    behind: Numbers
    size: tuple[int, int]
    cut: tuple[int, int]
    remarks: tuple[str, ...] = ()

    @property
    def equations(self) -> int:
        return self.behind.size


def make_pair(before: Array, behind: Array, size: tuple[int, int], names: tuple[str, str]) -> Pair:
    """Lay two pictures f32[C,H,W] over each other. ``names`` are for sentences.

    Where both are of one size, only those pixels count whose window lies wholly inside: nothing is assumed of the border.
    Raises InputError: sizes that do not fit, fewer equations than taps, a picture of one value.
    """
    first, second = names
    remarks = []
    x, y = before.astype(np.float64), behind.astype(np.float64)
    if len(x) != len(y):
        colour = first if len(x) == 3 else second
        remarks.append(f"{colour} was made grey by luma, for the other picture is grey")
        x, y = (np.tensordot(LUMA, z, 1)[None] if len(z) == 3 else z for z in (x, y))
    inner = tuple(side - taps + 1 for side, taps in zip(x.shape[1:], size, strict=True))
    if min(inner) < 1:
        raise InputError(
            f"{first} is {size_in_words(x.shape[1:])} pixels: too small for a filter of {size_in_words(size)}"
        )
    cut = (0, 0)
    if y.shape == x.shape:
        cut = (size[0] // 2, size[1] // 2)
        y = y[:, cut[0] : cut[0] + inner[0], cut[1] : cut[1] + inner[1]]
    elif y.shape[1:] != inner:
        raise InputError(_misfit(x, y, size, names, inner))
    for name, z, why in (
        (first, x, "it tells the sum of the taps at most"),
        (second, y, "no picture tells which filter made it"),
    ):
        if float(z.max()) == float(z.min()):
            raise InputError(f"{name} has the value {float(z.max()):g} everywhere, inside of the border: {why}")
    taps = size[0] * size[1]
    if y.size < taps:
        raise InputError(
            f"a filter of {size_in_words(size)} has {taps} taps, and only {y.size} pixels lie far enough from the border of "
            f"{first}; wanted at least {taps}: take a smaller --size or larger pictures"
        )
    return Pair(x, y, size, cut, tuple(remarks))


def _misfit(x: Numbers, y: Numbers, size: tuple[int, int], names: tuple[str, str], inner: tuple[int, ...]) -> str:
    less = {side - other for side, other in zip(x.shape[1:], y.shape[1:], strict=True)}
    hint = ""
    if len(less) == 1 and 0 < (by := less.pop()) < MOST and by % 2 == 0:
        hint = f"; it would fit --size {by + 1}"
    return (
        f"{names[1]} must be {size_in_words(x.shape[1:])} pixels like {names[0]}, or {size_in_words(inner)} where a filter of "
        f"{size_in_words(size)} left the border out; got {size_in_words(y.shape[1:])}{hint}"
    )


@dataclass(frozen=True)
class Solution:
    """taps       f64[R,S]
    offset     what is added everywhere; 0 unless it was asked for
    rank       how many independent numbers the picture before tells about the ``unknowns``
    condition  largest over smallest singular value of the equations (of those that count); errors grow by up to as much
    error      the largest standard error of a tap, from the residual
    """

    taps: Taps
    offset: float
    rank: int
    unknowns: int
    condition: float
    error: float


def solve(pair: Pair, offset: bool = False) -> Solution:
    """The least squares answer, by the eigenvalues of the normal equations in f64, refined once.

    Directions of which the pictures tell nothing stay at 0: of all filters that fit equally well the shortest is given.
    """
    T = pair.size[0] * pair.size[1] + offset
    step = max(1, int(pair.equations * T * T / WORK))
    gram, right = np.zeros((T, T)), np.zeros(T)
    for windows, wanted in _equations(pair, offset, step):
        gram += windows @ windows.T
        right += windows @ wanted
    values, vectors = np.linalg.eigh(gram)
    known = values > values[-1] * T * np.finfo(np.float64).eps
    inverse = np.where(known, 1 / np.where(known, values, 1.0), 0.0)
    answer = vectors @ (inverse * (vectors.T @ right))
    rest, squares, count = np.zeros(T), 0.0, 0
    for windows, wanted in _equations(pair, offset, step):  # what is left, without the rounding of the normal equations
        error = wanted - answer @ windows
        rest += windows @ error
        squares, count = squares + float(error @ error), count + len(error)
    answer = answer + vectors @ (inverse * (vectors.T @ rest))
    spread = np.sqrt(squares / max(1, count - T) * ((vectors**2) @ inverse))
    taps = T - offset
    return Solution(
        taps=answer[:taps].reshape(pair.size),
        offset=float(answer[taps]) if offset else 0.0,
        rank=int(known.sum()),
        unknowns=T,
        condition=float(np.sqrt(values[-1] / values[known][0])),
        error=float(spread[:taps].max()),
    )


def residual(pair: Pair, taps: Taps, offset: float = 0.0) -> float:
    """Root mean square of what a filter leaves of the picture behind, over all pixels."""
    squares = 0.0
    for windows, wanted in _equations(pair, False, 1):
        error = wanted - taps.ravel() @ windows - offset
        squares += float(error @ error)
    return float(np.sqrt(squares / pair.equations))


def _equations(pair: Pair, offset: bool, step: int) -> Iterator[tuple[Numbers, Numbers]]:
    """(f64[T,N] windows, f64[N] values), some rows of pixels at a time, of which every ``step``-th counts."""
    R, S = pair.size
    for x, y in zip(pair.before, pair.behind, strict=True):
        P, Q = y.shape
        rows = max(1, CHUNK // Q) * step
        for top in range(0, P, rows):
            wanted = y[top : top + rows : step].ravel()
            last = min(top + rows, P)
            parts = [x[top + r : last + r : step, s : s + Q].ravel() for r in range(R) for s in range(S)]
            yield np.stack([*parts, np.ones(len(wanted))] if offset else parts), wanted
