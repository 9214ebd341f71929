"""Depth for people: sentences, a map of 16 bits, and pictures in which near is light and far is dark."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tritoncnn.data import Examples, Facts
from tritoncnn.data.boxes import fitted
from tritoncnn.data.define import Array
from tritoncnn.data.depths import write_depth
from tritoncnn.figure import as_png, new_figure, show, to_png
from tritoncnn.task import Answer, Ask

COLOURS = "magma_r"  # matplotlib's: light is near
WRONG = "RdBu_r"
OFF = 1.5  # ratio of depths at the ends of the scale of errors
SHOWN = 6  # test pictures of the gallery
EDGES = (2, 98)  # percentiles of the depths at the ends of the scale


def tell_depth(logs: torch.Tensor, facts: Facts, ask: Ask) -> list[Answer]:
    """The depth of each picture; of its own pixels as soon as its size is known."""
    return [_answer(np.exp(rows), None) for rows in logs.float().numpy()]


def _answer(depth: Array, size: tuple[int, int] | None) -> Answer:
    """``size``: width and height of the picture, which ``FittedReader`` fitted into ``depth`` f32[S,S]."""
    if size is not None:
        depth = own_pixels(depth, size)
    H, W = depth.shape
    near, middle, far = (float(value) for value in np.percentile(depth, (0, 50, 100)))
    ahead = float(depth[H // 2, W // 2])
    note = {"near": near, "median": middle, "far": far, "middle": ahead}
    line = f"from {near:.2f} to {far:.2f} m, {middle:.2f} m in the median; {ahead:.2f} m in the middle of the picture"
    return Answer(
        {"depth": {name: round(value, 3) for name, value in note.items()}},
        (line,),
        draw=partial(draw_beside, depth=depth) if size else None,
        within=None if size else lambda width, height: _answer(depth, (width, height)),
        files={"depth.png": partial(_as_png, depth)} if size else {},
    )


def own_pixels(depth: Array, size: tuple[int, int]) -> Array:
    """What a net says of a fitted picture, f32[S,S], for the pixels of the picture itself: f32[height,width]."""
    width, height = fitted(*size, len(depth))
    whole = Image.fromarray(np.ascontiguousarray(depth[:height, :width])).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(whole, np.float32)


def _as_png(depth: Array) -> bytes:
    return as_png(write_depth(depth))


def coloured(depth: Array, near: float, far: float) -> NDArray[np.uint8]:
    """u8[H,W,3]: a depth map in colours from ``near`` to ``far``, by its logarithm; black where it is not known."""
    from matplotlib import colormaps  # late: half a second

    with np.errstate(divide="ignore"):
        share = np.log(depth / near) / max(np.log(far / near), 1e-6)
    found: NDArray[np.uint8] = colormaps[COLOURS](np.clip(share, 0, 1), bytes=True)[..., :3]
    return np.where((depth > 0)[..., None], found, 0).astype(np.uint8)


def draw_beside(picture: Image.Image, depth: Array) -> Image.Image:
    """A picture, and to its right its depth in colours."""
    near, far = np.percentile(depth, EDGES)
    page = Image.new("RGB", (2 * picture.width + 4, picture.height), "white")
    page.paste(picture, (0, 0))
    shown = Image.fromarray(coloured(depth, near, far)).resize(picture.size, Image.Resampling.BILINEAR)
    page.paste(shown, (picture.width + 4, 0))
    return page


def draw_depths(logs: torch.Tensor, examples: Examples, facts: Facts) -> bytes:
    """Test pictures from all over the part with what is said of them, what is true, and how far that is apart, as a PNG."""
    rows = torch.linspace(0, len(examples) - 1, min(SHOWN, len(examples))).long()
    figure = new_figure(7.4, 1.85 * len(rows) + 0.5)
    places = figure.subplots(len(rows), 4, squeeze=False)
    scale: Any = None
    for line, row in zip(places, rows.tolist(), strict=True):
        said, true = np.exp(logs[row].float().numpy()), examples.y[row].numpy()
        known = true > 0
        near, far = np.percentile(true[known] if known.any() else said, EDGES)
        show(line[0], facts.restore(examples.x[row]))
        for axes, depth in ((line[1], said), (line[2], true)):
            axes.imshow(coloured(depth, near, far), interpolation="nearest")
            axes.set_title(f"{near:.1f} to {far:.1f} m", fontsize=6, pad=2)
            axes.set_axis_off()
        with np.errstate(divide="ignore"):
            ratio = np.where(known, np.log(said / true), 0)
        scale = line[3].imshow(ratio, cmap=WRONG, vmin=-np.log(OFF), vmax=np.log(OFF), interpolation="nearest")
        line[3].set_axis_off()
    for axes, words in zip(places[0], ("picture", "depth said", "true depth", "said / true"), strict=True):
        axes.set_title(words + (f"\n{axes.get_title()}" if axes.get_title() else ""), fontsize=7, pad=2)
    bar = figure.colorbar(scale, ax=places[:, 3].tolist(), shrink=0.4)
    bar.set_ticks([-np.log(OFF), 0, np.log(OFF)], labels=[f"1 / {OFF}", "1", f"{OFF}"])
    return to_png(figure)
