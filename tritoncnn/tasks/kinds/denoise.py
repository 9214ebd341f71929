"""Taking noise away: one picture in, the picture without its noise out; mean square; peak signal to noise ratio."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from tritoncnn.data import Examples, Facts
from tritoncnn.data.define import Array
from tritoncnn.data.pieces import whole_size
from tritoncnn.figure import as_png, new_figure, show, to_png
from tritoncnn.task import Answer, Ask, Baseline, Report, Values

SHOWN = 6  # test pictures of the gallery
SIGMAS = (0.5, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5)  # of Gaussian filters that are tried, in pixels
SIDES = (3, 5)  # of median filters that are tried, in pixels
TRIED = 200  # training pictures on which the best filter is chosen
FLAWLESS = 1e-10  # mean square below which two pictures are told to be 100 dB alike


def psnr(found: torch.Tensor, clean: torch.Tensor) -> float:
    """Peak signal to noise ratio in dB, the mean over pictures f32[N,C,H,W] in [0, 1]; what lies outside is cut first."""
    errors = (found.double().clamp(0, 1) - clean.double()).square().flatten(1).mean(1)
    return float((-10 * torch.log10(errors.clamp(min=FLAWLESS))).mean())


def filters() -> dict[str, partial[Array]]:
    """What takes noise away without learning, by its name: pictures f32[N,C,H,W] -> pictures."""
    from scipy import ndimage  # comes with scikit-learn

    found = {f"a Gaussian filter of {s:g} pixels": partial(ndimage.gaussian_filter, sigma=(0, 0, s, s)) for s in SIGMAS}
    return found | {f"a median filter of {k} x {k}": partial(ndimage.median_filter, size=(1, 1, k, k)) for k in SIDES}


def best_filter(facts: Facts, train: Examples, test: Examples, own: Values) -> Baseline:
    """PSNR of the Gaussian or median filter that is the best on training pictures."""
    few = train.take(slice(TRIED))
    found = {name: psnr(_filtered(change, few), few.y) for name, change in filters().items()}
    name = max(found, key=lambda name: found[name])
    return Baseline(name, psnr(_filtered(filters()[name], test), test.y))


def _filtered(change: partial[Array], examples: Examples) -> torch.Tensor:
    return torch.from_numpy(change(examples.x.numpy()))


def tell_noise(found: torch.Tensor, examples: Examples, facts: Facts) -> Report:
    """PSNR of the noisy pictures, of each filter, and of the model."""
    rows = {"as they are, noisy": psnr(examples.x, examples.y)}
    rows |= {name: psnr(_filtered(change, examples), examples.y) for name, change in filters().items()}
    rows["the model"] = psnr(found, examples.y)
    wide = max(map(len, rows))
    return Report({"PSNR": rows}, ("", *(f"{name:{wide}}  {value:6.2f} dB" for name, value in rows.items())))


def draw_pieces(found: torch.Tensor, examples: Examples, facts: Facts) -> bytes:
    """Test pictures with noise, after it was taken away, and as they were, as a PNG."""
    count = min(SHOWN, len(examples))
    figure = new_figure(1.7 * count, 5.6)
    grid = figure.subplots(3, count, squeeze=False)
    for column in range(count):
        rows = slice(column, column + 1)
        for row, (words, values) in enumerate((("noisy", examples.x), ("model", found), ("clean", examples.y))):
            told = "" if row == 2 else f": {psnr(values[rows], examples.y[rows]):.1f} dB"
            show(grid[row, column], values[column].numpy(), words + told)
    return to_png(figure)


def tell_clean(found: torch.Tensor, facts: Facts, ask: Ask) -> list[Answer]:
    """How much noise was taken away, and the picture without it."""
    return [_answer(one.clamp(0, 1).numpy(), None) for one in found]


def _answer(clean: Array, size: tuple[int, int] | None) -> Answer:
    """``clean`` f32[3,H,W]; ``size``: width and height of the file's picture, as soon as it is known."""
    width, height = whole_size(*size) if size else (clean.shape[2], clean.shape[1])
    picture = Image.fromarray(_bytes(clean[:, :height, :width]))
    return Answer(
        {"width": width, "height": height},
        (f"{width} x {height} pixels without their noise",),
        draw=partial(_beside, picture),
        within=lambda width, height: _answer(clean, (width, height)),
        files={"clean.png": partial(as_png, picture)} if size else {},
    )


def _bytes(values: Array) -> NDArray[np.uint8]:
    return np.ascontiguousarray((values * 255).round().astype(np.uint8).transpose(1, 2, 0))


def _beside(clean: Image.Image, picture: Image.Image) -> Image.Image:
    """The picture, left, and without its noise, right."""
    page = Image.new("RGB", (2 * picture.width + 4, picture.height), "white")
    page.paste(picture, (0, 0))
    how = Image.Resampling.NEAREST if picture.width > clean.width else Image.Resampling.LANCZOS
    page.paste(clean.resize(picture.size, how), (picture.width + 4, 0))
    return page


def denoising_loss(found: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Mean square of the difference."""
    return F.mse_loss(found, clean)
