"""Functions that move pixels, for the tests of the capture table: name -> (function, shapes)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

IMAGE = (2, 4, 6, 8)
LINE = (2, 3, 7)
VOLUME = (1, 2, 3, 4, 5)
aten = torch.ops.aten


def _with_diagonal(x: torch.Tensor) -> torch.Tensor:
    x.diagonal().mul_(3)
    return x


RESIZE = {
    "nearest line": (lambda x: F.interpolate(x, 11), (LINE,)),
    "nearest": (lambda x: F.interpolate(x, (9, 5)), (IMAGE,)),
    "nearest twice": (lambda x: F.interpolate(x, scale_factor=2), (IMAGE,)),
    "nearest by 1.7": (lambda x: F.interpolate(x, scale_factor=(1.7, 0.6)), (IMAGE,)),
    "nearest volume": (lambda x: F.interpolate(x, (2, 7, 5)), (VOLUME,)),
    "nearest-exact line": (lambda x: F.interpolate(x, 11, mode="nearest-exact"), (LINE,)),
    "nearest-exact": (lambda x: F.interpolate(x, (9, 5), mode="nearest-exact"), (IMAGE,)),
    "nearest-exact volume": (lambda x: F.interpolate(x, scale_factor=1.5, mode="nearest-exact"), (VOLUME,)),
    "linear": (lambda x: F.interpolate(x, 11, mode="linear"), (LINE,)),
    "bilinear": (lambda x: F.interpolate(x, (9, 5), mode="bilinear"), (IMAGE,)),
    "bilinear corners": (lambda x: F.interpolate(x, (9, 5), mode="bilinear", align_corners=True), (IMAGE,)),
    "bilinear to one": (lambda x: F.interpolate(x, (1, 1), mode="bilinear", align_corners=True), (IMAGE,)),
    "bilinear by 1.7": (lambda x: F.interpolate(x, scale_factor=(1.7, 0.6), mode="bilinear"), (IMAGE,)),
    "bilinear by 1.7 anew": (
        lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear", recompute_scale_factor=True), (IMAGE,)
    ),
    "bilinear by 1.1 of the same size": (lambda x: F.interpolate(x, scale_factor=1.1, mode="bilinear"), (IMAGE,)),
    "trilinear": (lambda x: F.interpolate(x, (2, 7, 5), mode="trilinear"), (VOLUME,)),
    "bicubic": (lambda x: F.interpolate(x, (9, 5), mode="bicubic"), (IMAGE,)),
    "bicubic corners": (lambda x: F.interpolate(x, (9, 5), mode="bicubic", align_corners=True), (IMAGE,)),
    "aten.upsample_nearest1d": (lambda x: aten.upsample_nearest1d.default(x, [9]), (LINE,)),
    "aten.upsample_nearest2d": (lambda x: aten.upsample_nearest2d.default(x, [9, 13], 1.5, 1.7), (IMAGE,)),
    "aten.upsample_nearest3d": (lambda x: aten.upsample_nearest3d.default(x, [2, 3, 4]), (VOLUME,)),
    "aten._upsample_nearest_exact1d": (lambda x: aten._upsample_nearest_exact1d.default(x, [9]), (LINE,)),
    "aten._upsample_nearest_exact2d": (lambda x: aten._upsample_nearest_exact2d.default(x, [9, 4]), (IMAGE,)),
    "aten._upsample_nearest_exact3d": (lambda x: aten._upsample_nearest_exact3d.default(x, [2, 3, 4]), (VOLUME,)),
    "aten.upsample_linear1d": (lambda x: aten.upsample_linear1d.default(x, [9], True), (LINE,)),
    "aten.upsample_bilinear2d": (lambda x: aten.upsample_bilinear2d.default(x, [9, 13], False, 1.5, 1.7), (IMAGE,)),
    "aten.upsample_trilinear3d": (lambda x: aten.upsample_trilinear3d.default(x, [2, 3, 4], True), (VOLUME,)),
    "aten.upsample_bicubic2d": (lambda x: aten.upsample_bicubic2d.default(x, [9, 13], False), (IMAGE,)),
}  # fmt: skip

SMOOTH = {
    f"{mode} without aliasing to {size}{' aligned' if align else ''}": (
        lambda x, mode=mode, size=size, align=align: F.interpolate(
            x, size, mode=mode, align_corners=align, antialias=True
        ),
        (shape,),
    )
    for mode in ("bilinear", "bicubic")
    for align in (False, True)
    for shape, size in ((IMAGE, (3, 5)), (IMAGE, (9, 3)), ((1, 2, 13, 8), (2, 8)))
} | {
    "bilinear without aliasing by 0.4": (
        lambda x: F.interpolate(x, scale_factor=(0.4, 1.0), mode="bilinear", antialias=True), (IMAGE,)
    ),
    "aten._upsample_bilinear2d_aa": (lambda x: aten._upsample_bilinear2d_aa.default(x, [3, 5], False, 0.6, 0.7), (IMAGE,)),
    "aten._upsample_bicubic2d_aa": (lambda x: aten._upsample_bicubic2d_aa.default(x, [3, 5], False), (IMAGE,)),
}  # fmt: skip

WINDOWS = {
    "max_unpool1d": (lambda x: F.max_unpool1d(*F.max_pool1d(x, 2, return_indices=True), 2), ((2, 3, 8),)),
    "unfold": (lambda x: F.unfold(x, 3), (IMAGE,)),
    "unfold all": (lambda x: F.unfold(x, (3, 2), (2, 1), (1, 2), (1, 3)), (IMAGE,)),
    "unfold one picture": (lambda x: F.unfold(x, 2, stride=2), (IMAGE[1:],)),
    "fold": (lambda x: F.fold(x, (4, 5), 2), ((2, 12, 12),)),
    "fold all": (lambda x: F.fold(x, (6, 8), (3, 2), (2, 1), (1, 2), (1, 3)), ((2, 6, 16),)),
    "fold one picture": (lambda x: F.fold(x, (4, 4), 2, stride=2), ((8, 4),)),
    "fold of unfold": (lambda x: F.fold(F.unfold(x, 3, padding=1), x.shape[2:], 3, padding=1), (IMAGE,)),
    "windows along a dim": (lambda x: x.unfold(1, 3, 1) * 2, (IMAGE,)),
    "windows along the last dim": (lambda x: x.unfold(-1, 3, 2), (LINE,)),
    "patches": (lambda x: x.unfold(2, 2, 2).unfold(3, 4, 2), (IMAGE,)),
    "tril": (lambda x: x.tril(), (IMAGE,)),
    "triu": (lambda x: x.triu(2) + x.triu(-1), (LINE,)),
    "diagonal": (lambda x: x.diagonal(dim1=-2, dim2=-1), (IMAGE,)),
    "diagonal above": (lambda x: x.diagonal(1, 0, 2), (LINE,)),
    "diagonal below": (lambda x: x.diagonal(-2, 1, 2) * 2, (LINE,)),
    "diagonal outside": (lambda x: x.diagonal(9, 1, 2).sum() + x, (LINE,)),
    "diagonal replaced": (lambda x: x.diagonal_scatter(2 * x[:, :, 0], 0, 1, 2), ((2, 3, 4, 3),)),
    "diagonal replaced below": (lambda x: x.diagonal_scatter(x[..., :2, 0] - 1, -1, -2, -1), (LINE,)),
    "diagonal replaced outside": (lambda x: x.diagonal_scatter(x[:, 0, :0], 9, 1, 2), (LINE,)),
    "diagonal set in place": (lambda x: _with_diagonal(x @ x.mT), ((4, 6),)),
    "diagonal filled": (lambda x: (x * 2).fill_diagonal_(2.5), ((5, 3),)),
    "diagonal of a wide matrix filled": (lambda x: (x.mT * 2).fill_diagonal_(-9e15).softmax(1), ((5, 3),)),
}

PLACES, DEEP_PLACES = (2, 5, 3, 2), (1, 2, 3, 4, 3)
GRIDS = {
    f"grid_sample {mode} {padding}{' aligned' if align else ''}{' volume' if shape == VOLUME else ''}": (
        lambda x, g, mode=mode, padding=padding, align=align: F.grid_sample(
            x, g, mode=mode, padding_mode=padding, align_corners=align
        ),
        (shape, places),
    )
    for shape, places in ((IMAGE, PLACES), (VOLUME, DEEP_PLACES))
    for mode in ("bilinear", "nearest", "bicubic")
    for padding in ("zeros", "border", "reflection")
    for align in (False, True)
    if (shape, mode) != (VOLUME, "bicubic")
} | {
    "grid_sample of one pixel": (
        lambda x, g: F.grid_sample(x, g, padding_mode="reflection", align_corners=True), ((2, 3, 1, 1), PLACES)
    ),
    "aten.grid_sampler_2d": (lambda x, g: aten.grid_sampler_2d(x, g, 0, 1, True), (IMAGE, PLACES)),
    "aten.grid_sampler_3d": (lambda x, g: aten.grid_sampler_3d(x, g, 0, 2, False), (VOLUME, DEEP_PLACES)),
    "affine_grid": (lambda a: F.affine_grid(a, [2, 1, 5, 3], align_corners=False), ((2, 2, 3),)),
    "affine_grid aligned": (lambda a: F.affine_grid(a, [2, 1, 5, 1], align_corners=True), ((2, 2, 3),)),
    "affine_grid volume": (lambda a: F.affine_grid(a, [1, 1, 2, 5, 3], align_corners=False), ((1, 3, 4),)),
    "spatial transformer": (
        lambda x, a: F.grid_sample(x, F.affine_grid(a, [2, 4, 4, 8], align_corners=False), align_corners=False),
        (IMAGE, (2, 2, 3)),
    ),
}  # fmt: skip

PADS = {
    "pad": (lambda x: F.pad(x, (1, 2, 0, 3)), (IMAGE,)),
    "pad width, crop": (lambda x: F.pad(x, (-1, 2)), (IMAGE,)),
    "pad with 2.5": (lambda x: F.pad(x, (1, 2, 0, 3, 1, -1), value=2.5), (IMAGE,)),
    "pad a vector": (lambda x: F.pad(x, (1, 2)), ((5,),)),
    "pad a volume": (lambda x: F.pad(x, (1, 2, 0, 1, 2, 2, 1, 0)), (VOLUME,)),
    "reflect": (lambda x: F.pad(x, (3, 2, 1, 0), mode="reflect"), (IMAGE,)),
    "reflect and crop": (lambda x: F.pad(x, (-1, 2, 1, -2), mode="reflect"), (IMAGE,)),
    "reflect line": (lambda x: F.pad(x, (3, 2), mode="reflect"), (LINE,)),
    "reflect volume": (lambda x: F.pad(x, (3, 2, 1, 0, 0, 2), mode="reflect"), (VOLUME,)),
    "replicate": (lambda x: F.pad(x, (3, 9, 1, 0), mode="replicate"), (IMAGE,)),
    "replicate line": (lambda x: F.pad(x, (3, 12), mode="replicate"), (LINE,)),
    "replicate volume": (lambda x: F.pad(x, (3, 2, 1, 0, 0, 4), mode="replicate"), (VOLUME,)),
    "circular": (lambda x: F.pad(x, (3, 2, 1, 6), mode="circular"), (IMAGE,)),
    "aten.constant_pad_nd": (lambda x: aten.constant_pad_nd(x, [1, 0, 2, 1]), (IMAGE,)),
    **{
        f"aten.{mode}_pad{d}d": (lambda x, f=f"{mode}_pad{d}d", d=d: getattr(aten, f)(x, [1] * (2 * d)), (shape,))
        for mode in ("reflection", "replication")
        for d, shape in ((1, LINE), (2, IMAGE), (3, VOLUME))
    },
}

SHUFFLES = {
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), (IMAGE,)),
    "pixel_shuffle one image": (lambda x: F.pixel_shuffle(x, 2), ((12, 3, 2),)),
    "pixel_unshuffle": (lambda x: F.pixel_unshuffle(x, 2), (IMAGE,)),
    "channel_shuffle": (lambda x: F.channel_shuffle(x, 2), (IMAGE,)),
    "aten.channel_shuffle": (lambda x: aten.channel_shuffle(x, 2), (IMAGE,)),
    "flip": (lambda x: x.flip(1, -1), (IMAGE,)),
    "roll": (lambda x: x.roll((3, -1), (1, 2)), (IMAGE,)),
    "roll flat": (lambda x: x.roll(5), (LINE,)),
}

PICKS = {
    "cat": (lambda x, y: torch.cat((x, y, x * 2), 1), (IMAGE, (2, 3, 6, 8))),
    "cat rows": (lambda x, y: torch.cat((x, y), -2), (IMAGE, (2, 4, 1, 8))),
    "cat with an empty vector": (lambda x: torch.cat((torch.zeros(0), x)), (LINE,)),
    "stack": (lambda x, y: torch.stack((x, y, x), -1), (LINE, LINE)),
    "chunk": (lambda x: torch.mul(*x.chunk(2, 1)), (IMAGE,)),
    "chunk unevenly": (lambda x: x.chunk(3, -1)[2] + x.chunk(3, -1)[0].sum(), (IMAGE,)),
    "split": (lambda x: x.split(4, 2)[1], (IMAGE,)),
    "split by sizes": (lambda x: x.split((1, 3, 2), 2)[1], (IMAGE,)),
    "aten.split.sizes": (lambda x: aten.split.sizes(x, [1, 3, 2], 2)[2], (IMAGE,)),
    "aten.split_with_sizes": (lambda x: aten.split_with_sizes(x, [1, 3, 2], 2)[0], (IMAGE,)),
    "slice": (lambda x: x[:, 1:3, ::2, -5:], (IMAGE,)),
    "slice all": (lambda x: x[:, 0:] + x[:, 1:2] * x[..., 20:].sum(), (IMAGE,)),
    "select": (lambda x: x[:, -1] + x[1, 2], (IMAGE,)),
    "narrow": (lambda x: x.narrow(-1, 2, 3) + x.narrow(3, -3, 3), (IMAGE,)),
    "unbind": (lambda x: x.unbind(1)[0] * x.unbind(1)[2], (LINE,)),
    "repeat": (lambda x: x.repeat(2, 3, 1, 2), (LINE,)),
    "repeat as it is": (lambda x: x.repeat(1, 1, 1), (LINE,)),
    "gather": (lambda x: x.gather(2, torch.tensor([[[1, 1, 6], [0, 2, 1]]])), (LINE,)),
    "gather below": (lambda x: x.gather(-1, torch.tensor([[[1], [4]]])), (LINE,)),
    "index_select": (lambda x: x.index_select(1, torch.tensor([2, 0, 2, 1])), (LINE,)),
    "index": (lambda x: x[:, torch.tensor([[2, 0], [2, 1]])], (LINE,)),
    "embedding": (lambda w: F.embedding(torch.tensor([[4, 0, 4], [2, 1, 4]]), w), ((5, 3),)),
    "embedding padding": (lambda w: F.embedding(torch.tensor([[4, 0, 4], [2, 1, 4]]), w, padding_idx=4), ((5, 3),)),
    "embedding by frequency": (
        lambda w: F.embedding(torch.tensor([[4, 0, 4], [2, 1, 4]]), w, scale_grad_by_freq=True),
        ((5, 3),),
    ),
    "embedding by frequency, padded": (
        lambda w: F.embedding(torch.tensor([4, 0, 4, 1, 1]), w, padding_idx=4, scale_grad_by_freq=True),
        ((5, 3),),
    ),
    "pdist": (F.pdist, ((5, 3),)),
    "bags by frequency": (
        lambda w: F.embedding_bag(torch.tensor([[4, 0, 4], [2, 1, 4]]), w, mode="sum", scale_grad_by_freq=True),
        ((5, 3),),
    ),
    "bags": (lambda w: torch.embedding_bag(w, torch.tensor([4, 0, 4, 2]), torch.tensor([0, 3]), mode=1)[0], ((5, 3),)),
    "bags but for the last row": (
        lambda w, s: F.embedding_bag(
            torch.tensor([4, 0, 2, 1, 4]),
            w,
            torch.tensor([0, 2, 2, 5]),
            mode="sum",
            padding_idx=-1,
            include_last_offset=True,
            per_sample_weights=s,
        ),
        ((5, 3), (5,)),
    ),
    "one_hot": (lambda x: F.one_hot(torch.tensor([[3, 0], [1, 3]]), 4).float() * x, ((2, 2, 4),)),
}

WITHOUT_GRADIENT = {  # in torch
    "native_channel_shuffle": (lambda x: torch.native_channel_shuffle(x, 4), (IMAGE,)),
}

MOVES = RESIZE | SMOOTH | WINDOWS | GRIDS | PADS | SHUFFLES | PICKS
