"""Maxima, order, running sums and writes at places, for the tests of the capture table: name -> (function, shapes)."""

from __future__ import annotations

import math

import torch

IMAGE = (2, 4, 6, 8)
LINE = (2, 3, 7)
ROWS = (4, 9)
POSITIVE = ("positive", LINE)
aten = torch.ops.aten

MAXIMA = {
    "max": (lambda x: x.max() * x, (LINE,)),
    "min": (lambda x: x.min() * x, (LINE,)),
    "max along": (lambda x: x.max(1).values, (IMAGE,)),
    "max along, kept": (lambda x: x.max(-1, keepdim=True)[0] - x, (IMAGE,)),
    "min along": (lambda x: x.min(2)[0], (IMAGE,)),
    "max and its place": (lambda x: x.max(1)[0] * x.max(1)[1].float(), (LINE,)),
    "argmax": (lambda x: x * x.argmax(1, keepdim=True).float(), (LINE,)),
    "argmax of all": (lambda x: x * x.argmax().float(), (LINE,)),
    "argmin": (lambda x: x.sum(-1) * x.argmin(-1).float(), (LINE,)),
    "gather at argmax": (lambda x: x.gather(2, x.argmax(2, keepdim=True)), (LINE,)),
    "amax": (lambda x: x.amax((0, -1)), (IMAGE,)),
    "amax, kept": (lambda x: x.amax(1, keepdim=True) + x, (IMAGE,)),
    "amax of all": (lambda x: x.amax() + x, (LINE,)),
    "amin": (lambda x: x.amin((1, 2)), (IMAGE,)),
    "equal values": (lambda x: (x * 0).amax(1) + (x * 0).max(2)[0].sum() + (x * 0).min() + x.sum(1), (LINE,)),
    "aminmax": (lambda x: torch.mul(*torch.aminmax(x, dim=1)), (LINE,)),
    "aminmax of all": (lambda x: torch.mul(*torch.aminmax(x)), (LINE,)),
    "max of two": (lambda x, y: torch.max(x, y) - torch.min(x, y), (LINE, (7,))),
    "of one number": (lambda x: x.sum().max(0)[0] + x.sum().amin() + x.sum().argmax(), (LINE,)),
    "logsumexp": (lambda x: x.logsumexp((0, 2)), (LINE,)),
    "logsumexp, kept": (lambda x: x - x.logsumexp(-1, keepdim=True), (LINE,)),
    "largest of scores": (lambda x: x.softmax(1).max(1)[0] * (x.argmax(1) == 2).float(), (IMAGE,)),
}

TRUTH = {
    "any": (lambda x: (x > 3.9).any().float() * x, (LINE,)),
    "any along": (lambda x: (x > 2).any(1).float() * x.sum(1), (LINE,)),
    "any of dims": (lambda x: (x > 2).any((0, 2)).float() * x.sum((0, 2)), (LINE,)),
    "any of numbers": (lambda x: x.relu().any(2, keepdim=True).float() * x, (LINE,)),
    "all": (lambda x: (x > -9).all().float() * x, (LINE,)),
    "all along": (lambda x: (x > -3).all(-1).float() * x.sum(-1), (LINE,)),
    "all of dims": (lambda x: (x > -3).all((0, 2)).float() * x.sum((0, 2)), (LINE,)),
    "count_nonzero": (lambda x: x * torch.count_nonzero(x.relu()).float(), (LINE,)),
    "count_nonzero of dims": (lambda x: x.sum((0, 1)) * torch.count_nonzero(x.relu(), dim=(0, 1)).float(), (LINE,)),
    "count_nonzero along": (lambda x: x.sum(1) * torch.count_nonzero(x.relu(), dim=1).float(), (LINE,)),
}


def apart(x: torch.Tensor) -> torch.Tensor:
    """No two elements equal: torch leaves open which of equals topk takes."""
    return x + torch.linspace(0, 0.01, x[0].numel()).reshape(x.shape[1:])


ORDER = {
    "sort": (lambda x: x.sort()[0], (ROWS,)),
    "sort down": (lambda x: x.sort(0, descending=True)[0], (IMAGE,)),
    "sort and places": (lambda x: x.sort(1)[0] * x.sort(1)[1].float(), (LINE,)),
    "sort stable": (lambda x: (x > 0).float().sort(dim=-1, stable=True)[1].float() * x, (ROWS,)),
    "argsort": (lambda x: x.argsort(-1, descending=True).float() * x, (ROWS,)),
    "argsort stable": (lambda x: torch.argsort(x.relu(), dim=0, stable=True).float() * x, (ROWS,)),
    "msort": (torch.msort, (ROWS,)),
    "topk": (lambda x: apart(x).topk(3)[0], (ROWS,)),
    "topk of the smallest": (lambda x: apart(x).topk(2, 1, largest=False)[0], (IMAGE,)),
    "topk and places": (lambda x: apart(x).topk(3, 1)[0] * apart(x).topk(3, 1)[1].float(), (ROWS,)),
    "kthvalue": (lambda x: apart(x).kthvalue(3, 1)[0], (ROWS,)),
    "median": (lambda x: apart(x).median(1, keepdim=True)[0] * apart(x).median(1, keepdim=True)[1].float(), (LINE,)),
    "nanmedian": (lambda x: torch.where(x > 0.5, math.nan, apart(x)).nanmedian(1)[0].nan_to_num(), (LINE,)),
    "nanmedian of all": (lambda x: torch.where(x > 0.2, math.nan, apart(x)).nanmedian(), (ROWS,)),
    "median of all": (lambda x: x.median() + (x > 0).to(x.dtype).median(), (LINE,)),
    "ranks": (lambda x: x.argsort(1).argsort(1).float() * x, (ROWS,)),
}

SEARCHES = {
    "isin": (lambda x, y: torch.isin(x.round(), y.round()) * x, (LINE, (5,))),
    "isin, inverted": (lambda x: torch.isin(x.round(), torch.tensor([1, 2]), invert=True) * x, (LINE,)),
    "searchsorted": (lambda x, y: torch.searchsorted(y.sort()[0], x.detach()) * x, (LINE, (5,))),
    "searchsorted from the right": (
        lambda x: torch.searchsorted(x.round().sort()[0], x.round(), right=True, out_int32=True) * x,
        (LINE,),
    ),
}

RUNNING = {
    "cumsum": (lambda x: x.cumsum(1), (IMAGE,)),
    "cumsum of rows": (lambda x: x.cumsum(-1) * x, (ROWS,)),
    "cumprod": (lambda x: (x > -2).float().cumprod(1) * x, (LINE,)),
    "cumprod, grown": (lambda x: x.cumprod(-1), (ROWS,)),
    "cumprod with zeros": (
        lambda x: x.relu().cumprod(1) + (x * torch.tensor([1.0, 0, 1, 1, 0, 1, 1])).cumprod(2),
        (LINE,),
    ),
    "cummax": (lambda x: x.cummax(1)[0] * x.cummax(1)[1].float() + x.relu().cummax(2)[1].float(), (LINE,)),
    "cummin": (lambda x: x.cummin(0)[0] + x.round().cummin(-1)[1].float(), (ROWS,)),
    "logcumsumexp": (lambda x: (40 * x).logcumsumexp(1) + x.logcumsumexp(-1), (LINE,)),
    "prod": (lambda x: x.prod(), ((2, 3),)),
    "prod along": (lambda x: x.prod(1), (LINE,)),
    "prod, kept": (lambda x: x.prod(-1, keepdim=True) + x, (LINE,)),
    "prod with zeros": (
        lambda x: (x * torch.tensor([0.0, 1, 1, 1, 1, 0, 1])).prod(2) + x.relu().prod(0).sum(),
        (LINE,),
    ),
}

AT = torch.tensor([[[2, 0, 1], [1, 1, 0]], [[0, 0, 0], [2, 1, 0]]])
AT_SHAPE = (2, 2, 3)
PLACES = torch.tensor([2, 0, 2])
PAIRS = torch.tensor([[2, 0, 1], [1, 1, 0]])
FRONT, SIDE = torch.tensor([[[1, 0, 0]], [[0, 1, 1]]]), torch.tensor([[[2], [1]], [[0], [2]]])
SMALL = torch.tensor([[1, 0, 0], [0, 1, 1]])
WRITES = {
    "scatter_add": (lambda x, y: x.scatter_add(2, AT, y), (LINE, AT_SHAPE)),
    "scatter_add along rows": (lambda x, y: x.scatter_add(1, AT, y), (LINE, AT_SHAPE)),
    "scatter": (lambda x, y: x.scatter(0, torch.tensor([[3, 0, 1], [1, 2, 0]]), y), (ROWS, (2, 3))),
    "scatter a number": (lambda x: x.scatter(1, AT, 2.5), (LINE,)),
    "scatter_reduce sum": (lambda x, y: x.scatter_reduce(1, AT, y, "sum"), (LINE, AT_SHAPE)),
    "scatter_reduce mean": (lambda x, y: x.scatter_reduce(1, AT, y, "mean"), (LINE, AT_SHAPE)),
    "scatter_reduce sum of new": (
        lambda x, y: x.scatter_reduce(1, AT, y, "sum", include_self=False), (LINE, AT_SHAPE)
    ),
    "scatter_reduce mean of new": (
        lambda x, y: x.scatter_reduce(1, AT, y, "mean", include_self=False), (LINE, AT_SHAPE)
    ),
    "index_reduce mean": (lambda x, y: x.index_reduce(1, PLACES, y, "mean"), (LINE, (2, 3, 7))),
    "index_reduce amax": (lambda x, y: x.index_reduce(0, PLACES, y, "amax"), (ROWS, (3, 9))),
    "index_reduce amin of new": (
        lambda x, y: x.index_reduce(-1, PLACES, y + 0.03, "amin", include_self=False), (LINE, (2, 3, 3))
    ),
    "scatter_reduce amax": (lambda x, y: x.scatter_reduce(1, AT, y, "amax"), (LINE, AT_SHAPE)),
    "scatter_reduce amax of equals": (lambda x, y: (x * 0).scatter_reduce(2, AT, y * 0, "amax") + x, (LINE, AT_SHAPE)),
    "scatter_reduce amin of new": (
        lambda x, y: x.scatter_reduce(2, AT, y + 0.03, "amin", include_self=False), (LINE, AT_SHAPE)
    ),
    "scatter_reduce prod": (lambda x, y: x.scatter_reduce(1, AT, y, "prod"), (LINE, AT_SHAPE)),
    "scatter_reduce prod with one 0": (
        lambda x, y: x.scatter_reduce(2, AT, torch.where(y == y.amax(), 0.0, y), "prod"), (LINE, AT_SHAPE)
    ),
    "scatter_reduce prod of zeros": (lambda x, y: (x * 0).scatter_reduce(2, AT, y * 0, "prod") + x, (LINE, AT_SHAPE)),
    "scatter_reduce prod of new": (
        lambda x, y: x.scatter_reduce(0, AT % 2, y, "prod", include_self=False), (LINE, AT_SHAPE)
    ),
    "index_reduce prod": (lambda x, y: x.index_reduce(1, PLACES, y, "prod"), (LINE, (2, 3, 7))),
    "scatter with products": (
        lambda x, y: x.detach().scatter(1, AT, y.detach(), reduce="multiply") * x, (LINE, AT_SHAPE)
    ),
    "scatter with products of a number": (
        lambda x: x.detach().scatter(1, AT, 2.5, reduce="multiply") * x, (LINE,)
    ),
    "masked_scatter": (lambda x, y: x.masked_scatter(x > 0, y), (LINE, LINE)),
    "masked_scatter of a wider mask": (lambda x, y: x.masked_scatter(y > 0, y), ((3, 7), LINE)),
    "index_add": (lambda x, y: x.index_add(1, PLACES, y), (LINE, LINE)),
    "index_add twice": (lambda x, y: x.index_add(-1, PLACES, y, alpha=2), (LINE, (2, 3, 3))),
    "index_copy": (lambda x, y: x.index_copy(1, torch.tensor([2, 0]), y), (LINE, (2, 2, 7))),
    "index_fill": (lambda x: x.index_fill(1, PLACES, 2.5), (LINE,)),
    "index_fill with a tensor": (lambda x, y: x.index_fill(2, PLACES, y.sum()), (LINE, (2,))),
    "index_put": (lambda x, y: x.index_put((torch.tensor([1, 0]), torch.tensor([0, -1])), y), (LINE, (2, 7))),
    "index_put adding": (
        lambda x, y: x.index_put((torch.tensor([1, 1, 0]),), y, accumulate=True), (LINE, (3, 3, 7))
    ),
    "index_put of later dims": (
        lambda x, y: aten.index_put(x, [None, PLACES, PLACES[:, None]], y, True), (IMAGE, (3, 8))
    ),
    "index_put of dims apart": (lambda x, y: torch.ops.aten.index_put(x, [SMALL, None, PAIRS], y), (LINE, (2, 3, 3))),
    "assign rows": (lambda x, y: assign(x, torch.tensor([2, 0]), y), (LINE, (2, 2, 7))),
    "assign where a mask holds": (lambda x: assign_where(x), (LINE,)),
    "masked_fill": (lambda x: x.masked_fill(x > 1, 2.5), (LINE,)),
    "masked_fill with a tensor": (lambda x, y: x.masked_fill(x > y.sum(), y.mean()), (LINE, (7,))),
    "masked_fill of rows": (lambda x: x.masked_fill(x.sum((0, 2))[:, None] > 0, -1.0), (LINE,)),
    "take_along_dim": (lambda x: x.take_along_dim(x.argsort(1), 1), (ROWS,)),
    "take_along_dim broadcasts": (lambda x: x.take_along_dim(torch.tensor([[2, 0, 2]]), 1), (ROWS,)),
    "take_along_dim of all": (lambda x: x.take_along_dim(torch.tensor([5, 0, 5])), (ROWS,)),
    "take": (lambda x: x.take(torch.tensor([[5, 0], [-1, 5]])), (ROWS,)),
    "gather of all dims": (lambda x: x.gather(0, FRONT) * x.gather(1, SIDE).sum(), (LINE,)),
    "pick by two tensors": (lambda x: x[torch.tensor([1, 0, 1]), PLACES], (LINE,)),
    "pick by tensors that broadcast": (lambda x: x[:, PLACES, PLACES[:, None]], (IMAGE,)),
    "pick by tensors apart": (lambda x: x[torch.tensor([1, 0, 0]), :, PLACES], (IMAGE,)),
    "pick from the end": (lambda x: x[:, torch.tensor([-1, 0, -3])], (LINE,)),
    "pick by places found": (lambda x: x[:, x.sum((0, 2)).argsort()], (LINE,)),
}  # fmt: skip


def assign(x: torch.Tensor, places: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x = x * 1.0
    x[:, places] = y
    return x


def assign_where(x: torch.Tensor) -> torch.Tensor:
    y = x * 2.0
    y[x > 1] = 0.5
    return y


ORDERS = MAXIMA | TRUTH | ORDER | SEARCHES | RUNNING | WRITES
