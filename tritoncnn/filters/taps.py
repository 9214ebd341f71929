"""Filters by name, and filters that a person writes down."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tritoncnn.data.files import look, read_file
from tritoncnn.errors import DataError, InputError

Taps = NDArray[np.float64]

MOST = 15  # taps along a side
MAX_BYTES = 1 << 20  # of a file of taps
LONGEST = 255  # characters: no file has a longer name
WIDTH = 3  # standard deviations that a Gaussian's taps reach to each side
WIDEST = (MOST - 1) / 2 / WIDTH  # the largest sigma

_CROSS = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float64)
_CENTRE = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], np.float64)
_SLOPE = np.array([[0, 0, 0], [-0.5, 0, 0.5], [0, 0, 0]], np.float64)
_SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float64)

NAMES = ("box", "gaussian", "derivative", "sobel", "laplacian", "sharpen")
OWN = "own"
DIRECTIONS = ("x", "y", "both")


@dataclass(frozen=True)
class Filter:
    """One filter, or two whose results are taken together as sqrt(a^2 + b^2).

    Taps are laid on the picture as they are written, as in every convolutional network: textbooks on signals call this
    correlation, and turn the taps by half a turn for convolution.
    """

    name: str
    taps: tuple[Taps, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Taps along y and x."""
        return self.taps[0].shape  # type: ignore[return-value]

    @property
    def gain(self) -> float:
        """The sum of absolute taps: the largest result on values from -1 to 1 of any picture."""
        return float(max(np.abs(taps).sum() for taps in self.taps))

    @property
    def signed(self) -> bool:
        """Is the result 0 on an even ground, and of both signs elsewhere?"""
        return len(self.taps) == 1 and abs(float(self.taps[0].sum())) <= 1e-9 * self.gain


def named_filter(
    name: str, size: int | None = None, sigma: float | None = None, direction: str | None = None
) -> Filter:
    """The filter called ``name``. Raises InputError.

    box         the mean over size x size pixels (3)
    gaussian    weights exp(-d^2 / 2 sigma^2), cut off at 3 sigma (or at size x size) and scaled to a sum of 1; sigma is 1,
                or (size - 1) / 6 where only the size is said
    derivative  half the difference of the neighbours along x (or y, or the length of both)
    sobel       differences along x, smoothed along y, with weights 1 2 1; the length of both directions unless one is said
    laplacian   the sum of four neighbours less four times the pixel
    sharpen     the picture less its laplacian
    """
    if name not in NAMES:
        raise InputError(f"unknown filter {name!r}; known: {', '.join(NAMES)}, or {OWN} with --taps")
    if size is not None and name not in ("box", "gaussian"):
        raise InputError(f"--size is for box and gaussian; {name} has 3 x 3 taps")
    if sigma is not None and name != "gaussian":
        raise InputError(f"--sigma is for gaussian; got it with {name}")
    if direction is not None and name not in ("derivative", "sobel"):
        raise InputError(f"--direction is for derivative and sobel; {name} is alike in all directions")
    if direction not in (None, *DIRECTIONS):
        raise InputError(f"--direction must be one of {', '.join(DIRECTIONS)}; got {direction!r}")
    if size is not None and (not 3 <= size <= MOST or size % 2 == 0):
        raise InputError(f"--size must be an odd number from 3 to {MOST}; got {size}")
    if name == "box":
        side = size or 3
        return Filter(name, (np.full((side, side), 1 / side**2),))
    if name == "gaussian":
        return Filter(name, (_gaussian(size, sigma),))
    if name in ("derivative", "sobel"):
        along = _SLOPE if name == "derivative" else _SOBEL
        chosen = direction or ("x" if name == "derivative" else "both")
        return Filter(name, {"x": (along,), "y": (along.T.copy(),), "both": (along, along.T.copy())}[chosen])
    return Filter(name, (_CROSS if name == "laplacian" else _CENTRE - _CROSS,))


def _gaussian(size: int | None, sigma: float | None) -> Taps:
    if sigma is None:
        sigma = 1.0 if size is None else (size - 1) / 2 / WIDTH
    if not (math.isfinite(sigma) and 0 < sigma <= WIDEST):
        raise InputError(
            f"--sigma must be above 0 and at most {WIDEST:.2f}, for {MOST} taps reach {WIDTH} sigma to each side; "
            f"got {sigma:g}; --pyramid blurs wider"
        )
    reach = (size - 1) // 2 if size is not None else max(1, math.ceil(WIDTH * sigma - 1e-9))
    line = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    line /= line.sum()
    return np.outer(line, line)


def own_filter(words: str) -> Filter:
    """Taps that a person wrote: "1 0 -1; 2 0 -2; 1 0 -1", or the name of a text, CSV or .npy file that holds them.

    Raises InputError, DataError.
    """
    path = Path(words)
    named = 0 < len(words) <= LONGEST and look(path) != "none"
    if not named and re.fullmatch(r"[\s\d+\-.eE/,;]*", words):
        return Filter(OWN, (_checked(_parse(words, "--taps"), "--taps"),))
    if not named:
        raise InputError(
            f"--taps {words!r} is neither rows of numbers such as '1 0 -1; 2 0 -2; 1 0 -1' nor a file that exists"
        )
    return Filter(OWN, (_checked(_read(path), f"taps in {path}"),))


def _read(path: Path) -> Taps:
    data = read_file(path, "file of taps", MAX_BYTES)
    if path.suffix.lower() == ".npy":
        try:
            values = np.load(io.BytesIO(data), allow_pickle=False)
        except Exception as error:  # NumPy raises nearly anything on a malformed header
            raise DataError(f"file of taps {path} cannot be read: it is no .npy file of numbers") from error
        if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "iuf":
            raise DataError(f"file of taps {path} must hold numbers [rows, columns]; got {_described(values)}")
        return values.astype(np.float64)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"file of taps {path} is no text: it must hold rows of numbers") from error
    return _parse("\n".join(line.partition("#")[0] for line in text.splitlines()), f"taps in {path}")


def _described(values: object) -> str:
    return f"{values.dtype} {list(values.shape)}" if isinstance(values, np.ndarray) else type(values).__name__


def _parse(text: str, where: str) -> Taps:
    rows = [re.split(r"[\s,]+", row.strip().strip(",")) for row in re.split(r"[;\n]", text) if row.strip()]
    if not rows:
        raise InputError(f"{where}: there are no numbers")
    if len({len(row) for row in rows}) > 1:
        lengths = ", ".join(str(len(row)) for row in rows)
        raise InputError(f"{where}: all rows must be of one length; got rows of {lengths} numbers")
    return np.array([[_number(word, where) for word in row] for row in rows])


def _number(word: str, where: str) -> float:
    """A decimal number, or a fraction such as 1/9."""
    above, _, below = word.partition("/")
    try:
        return float(above) / (float(below) if "/" in word else 1.0)
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"{where}: {word!r} is not a number") from error


def _checked(taps: Taps, where: str) -> Taps:
    height, width = taps.shape
    if not (height % 2 and width % 2 and max(height, width) <= MOST):
        raise InputError(
            f"{where}: a filter has an odd number of rows and columns, at most {MOST} x {MOST}, so that it has a middle; "
            f"got {height} x {width}"
        )
    if not np.abs(taps).max() <= np.finfo(np.float32).max:  # also where it is NaN
        raise InputError(f"{where}: all taps must be finite numbers; got one that is not, or that is too large for f32")
    if not taps.any():
        raise InputError(f"{where}: all taps are 0, and so would be the result")
    return taps


def show_taps(taps: Taps, digits: int = 17) -> str:
    """Rows of numbers; with 17 digits ``own_filter`` reads them back equal."""
    words = [[f"{value:.{digits}g}" for value in row] for row in taps.tolist()]
    width = max(len(word) for row in words for word in row)
    return "".join(" ".join(word.rjust(width) for word in row) + "\n" for row in words)


def size_in_words(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))
