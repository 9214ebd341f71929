"""Label map -> photograph: how near made pictures come to true ones, by pixels and by texture, and how they are shown."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from tritoncnn.data import Examples, Facts
from tritoncnn.data.define import Array
from tritoncnn.data.label_maps import WHITE
from tritoncnn.data.mask_files import VOID
from tritoncnn.figure import as_png, new_figure, show, to_png
from tritoncnn.task import Answer, Ask, Baseline, Values

FILTERS, TAPS = 8, 5  # random filters, of 5 x 5
SCALES = (1, 2, 4)  # by which pictures are reduced before they are filtered
SHOWN = 8  # test pictures of the gallery
NEAR = 64  # test maps that are compared with all training maps at a time

Numbers = NDArray[np.float64]


def mean_difference(made: torch.Tensor, true: torch.Tensor) -> float:
    """Mean absolute difference of values in [0, 1]."""
    return float((made.double() - true.double()).abs().mean())


def textures(pictures: torch.Tensor) -> Numbers:
    """What pictures f32[N,3,H,W] are like, wherever in them: f64[N,48].

    At each of three scales, of each of 8 fixed random filters (5 x 5, over all colours, each of mean 0 and norm 1) the mean over
    the picture of the response's size, and its standard deviation.
    """
    weights = np.random.RandomState(0).standard_normal((FILTERS, 3, TAPS, TAPS))
    weights -= weights.mean((1, 2, 3), keepdims=True)
    weights /= np.sqrt((weights**2).sum((1, 2, 3), keepdims=True))
    filters = torch.from_numpy(weights)
    found = []
    for scale in SCALES:
        sizes = F.conv2d(F.avg_pool2d(pictures.double(), scale), filters).abs().flatten(2)
        found += [sizes.mean(2), sizes.std(2, correction=0)]
    return torch.cat(found, 1).numpy()


def frechet(a: Numbers, b: Numbers) -> float:
    """Squared Frechet distance of the normal distributions that have mean and covariance of rows f64[N,D], f64[M,D].

        |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))

    Source: Dowson & Landau 1982; used on features of pictures by Heusel et al. 2017, whose features are a trained network's.
    """
    covariances = [np.atleast_2d(np.cov(rows, rowvar=False, bias=True)) for rows in (a, b)]
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    # The eigenvalues of C1 C2 are those of the symmetric root C2 root.
    both = np.sqrt(np.linalg.eigvalsh(root @ covariances[1] @ root).clip(0)).sum()
    apart = ((a.mean(0) - b.mean(0)) ** 2).sum() + sum(map(np.trace, covariances)) - 2 * both
    return float(max(apart, 0.0))


def texture_distance(made: torch.Tensor, true: torch.Tensor) -> float:
    """Frechet distance of ``textures``, times 1000. It is no FID: the features are random filters, not those of Inception."""
    return 1000 * frechet(textures(made), textures(true))


def mean_colours(train: Examples, test: Examples, labels: int) -> torch.Tensor:
    """Paint each test map with the mean colour of each label in training; what has none, with that of all."""
    ids = train.x.long().flatten()
    colours = train.y.double().permute(0, 2, 3, 1).reshape(-1, 3)
    kept = ids >= 0
    counts = ids[kept].bincount(minlength=labels)
    sums = torch.zeros(labels, 3, dtype=torch.float64).index_add_(0, ids[kept], colours[kept])
    table = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp(min=1), colours.mean(0))
    table = torch.cat([table, colours.mean(0)[None]])  # the last one is that of no label, -1
    return table[test.x.long()].permute(0, 3, 1, 2).float().contiguous()


def nearest_maps(train: Examples, test: Examples) -> torch.Tensor:
    """For each test map the photograph of the training map that has the same label in the most pixels."""
    known = train.x.flatten(1)
    found = [torch.stack([(known == one).sum(1).argmax() for one in rows]) for rows in test.x.flatten(1).split(NEAR)]
    return train.y[torch.cat(found)]


def rivals(train: Examples, test: Examples, labels: int) -> dict[str, torch.Tensor]:
    """What a sceptic would make of the test maps, by its name."""
    return {
        "each label's mean colour": mean_colours(train, test, labels),
        "the photograph of the nearest training map": nearest_maps(train, test),
    }


def best_rival(facts: Facts, train: Examples, test: Examples, own: Values) -> Baseline:
    """Texture distance of maps painted in mean colours, beside all that is measured of all rivals."""
    measured = {
        name: {"L1": mean_difference(made, test.y), "texture": texture_distance(made, test.y)}
        for name, made in rivals(train, test, len(facts.classes)).items()
    }
    first = next(iter(measured))
    return Baseline(first, measured[first]["texture"], measured)


def palette(labels: int) -> NDArray[np.uint8]:
    """u8[labels + 1,3]: colours that differ, and last white, for no label."""
    import colorsys

    golden = (5**0.5 - 1) / 2
    colours = [
        colorsys.hsv_to_rgb(i * golden % 1, 0.75 - 0.35 * (i % 2), 0.95 - 0.4 * (i % 3) / 2) for i in range(labels)
    ]
    return np.array([*(np.array(colours) * 255).round().tolist(), WHITE], np.uint8).reshape(-1, 3)


def palette_of(facts: Facts) -> NDArray[np.uint8]:
    """The same, in the labels' own colours where they have such."""
    return np.array([*facts.colours, WHITE], np.uint8) if facts.colours else palette(len(facts.classes))


def in_colours(x: Array, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A map f32[H,W] as u8[H,W,3], in ``colours`` of its labels and of none."""
    return colours[x.astype(np.int64)]


def draw_made(made: torch.Tensor, examples: Examples, facts: Facts) -> bytes:
    """Test maps, what was made of them, and the photographs that they were made from, as a PNG."""
    count = min(SHOWN, len(examples))
    rows = np.linspace(0, len(examples) - 1, count).round().astype(int).tolist()
    figure = new_figure(1.5 * count, 4.9)
    grid = figure.subplots(3, count, squeeze=False)
    for column, row in enumerate(rows):
        shown = in_colours(examples.x[row].numpy(), palette_of(facts))
        show(grid[0, column], shown.transpose(2, 0, 1) / 255)
        show(grid[1, column], made[row].numpy())
        show(grid[2, column], examples.y[row].numpy())
    for row, words in enumerate(("label map", "made", "true")):
        axes = grid[row, 0]
        axes.text(-0.06, 0.5, words, rotation=90, va="center", ha="right", transform=axes.transAxes, fontsize=9)
    return to_png(figure)


def draw_map(made: torch.Tensor, examples: Examples, facts: Facts) -> bytes:
    """The first test map as a file that ``infer`` reads: ids, with a palette."""
    ids = examples.x[0].numpy()
    picture = Image.fromarray(np.where(ids < 0, VOID, ids).astype(np.uint8))
    colours = palette_of(facts)
    whole = np.broadcast_to(colours[-1], (VOID + 1, 3)).copy()
    whole[: len(facts.classes)] = colours[:-1]
    picture.putpalette(whole.tobytes())
    return as_png(picture)


def tell_made(made: torch.Tensor, facts: Facts, ask: Ask) -> list[Answer]:
    """Pictures as large as they were made."""
    return [_answer(one) for one in made]


def _answer(made: torch.Tensor) -> Answer:
    """``made`` f32[3,H,W] in [0, 1]"""
    values = (made.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(values)
    return Answer(
        {"width": picture.width, "height": picture.height},
        (f"made a picture of {picture.width} x {picture.height} pixels",),
        draw=partial(_beside, picture),
        files={"made.png": partial(as_png, picture)},
    )


def _beside(made: Image.Image, shown: Image.Image) -> Image.Image:
    """The map, left, and what was made of its middle square, right."""
    side = min(shown.size)
    page = Image.new("RGB", (shown.width + side + 4, shown.height), "white")
    page.paste(shown, (0, 0))
    page.paste(made.resize((side, side), Image.Resampling.BICUBIC), (shown.width + 4, (shown.height - side) // 2))
    return page
