"""Masks and numbers that follow from the code alone are known while a call is traced: x[mask] then has a known size."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tritoncnn
from tritoncnn import SGD
from tritoncnn.errors import UnsupportedError

N = 6
X = torch.linspace(-1, 1, N * N).sin().reshape(N, N)[torch.tensor([3, 1, 0, 5, 2, 4])]


def off_diagonal() -> torch.Tensor:
    return ~torch.eye(N, dtype=torch.bool)


def no_partners() -> torch.Tensor:
    """Without the diagonal and the pairs (i, i + 3): written in place."""
    mask = torch.ones(N, N, dtype=torch.bool).fill_diagonal_(False)
    for i in range(N // 2):
        mask[i, N // 2 + i] = mask[N // 2 + i, i] = False
    return mask


def put(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y[torch.eye(N, dtype=torch.bool)] = torch.arange(float(N))
    y[torch.arange(N) > 3] *= 2
    return y


def changed_between(x: torch.Tensor) -> torch.Tensor:
    mask = torch.arange(N) > 2
    first = x[mask]
    mask[0] = True
    return torch.cat([first, x[mask]])


CASES: dict[str, Callable[[torch.Tensor], object]] = {
    "no diagonal": lambda x: x[off_diagonal()].view(N, N - 1),
    "written": lambda x: x[no_partners()].reshape(N, -1),
    "written between": changed_between,
    "triu of ones like x": lambda x: x[torch.ones_like(x).triu(1) == 1],
    "of x's dtype": lambda x: x[torch.eye(N).type_as(x) == 0],
    "columns": lambda x: x[:, torch.arange(N) % 2 == 0],
    "behind dots": lambda x: x.view(2, 3, N)[..., torch.arange(N) > 2],
    "between": lambda x: x[None, torch.arange(N) > 2, 1:],
    "beside places": lambda x: x[torch.arange(N) > 3, torch.tensor([0, 1])],
    "two": lambda x: x[torch.arange(N) > 3, torch.arange(N) < 2],
    "nothing": lambda x: x[torch.zeros(N, dtype=torch.bool)],
    "a list": lambda x: x[[True, False, True, True, False, False]],
    "NumPy's": lambda x: x[np.arange(N) > 2],
    "masked_select": lambda x: x.masked_select(torch.arange(N) > 1).view(N, 4),
    "nonzero": lambda x: x.flatten()[torch.nonzero(off_diagonal().flatten()).squeeze(1)],
    "nonzero as tuple": lambda x: x[off_diagonal().nonzero(as_tuple=True)],
    "where": lambda x: x[torch.where(torch.arange(N) % 2 == 0)],
    "argwhere": lambda x: x[torch.argwhere(torch.arange(N) > 2).flatten()],
    "unique": lambda x: x[torch.unique(torch.tensor([3, 1, 3]))],
    "bincount": lambda x: x * torch.bincount(torch.tensor([0, 1, 1, N - 1])),
    "combinations": lambda x: torch.combinations(x[0], 3),
    "repeats": lambda x: x.repeat_interleave(torch.tensor([1, 2, 0, 1, 1, 1]), 0),
    "parts": lambda x: torch.tensor_split(x, torch.tensor([1, 4]))[1],
    "put": put,
    "index_put": lambda x: x.index_put((torch.eye(N, dtype=torch.bool),), torch.arange(float(N))),
    "numbers": lambda x: [x[i] * int(torch.tensor(x.shape).prod()) for i in torch.arange(3).tolist()],
    "a question": lambda x: x + 1 if torch.arange(3).sum() > 2 else x,
    "beside a selection": lambda x: x[torch.arange(N) > 3][:, x[0] > 0].sum(),
}  # fmt: skip


class Free(nn.Module):
    """A function, plain or with a block that torch.export alone follows."""

    def __init__(self, function: Callable[[torch.Tensor], object], plain: bool) -> None:
        super().__init__()
        self.function, self.plain = function, plain

    def forward(self, x: torch.Tensor) -> object:
        if not self.plain:
            with torch.no_grad():
                x = x * 1
        return self.function(x)


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "by torch.export"])
@pytest.mark.parametrize("name", CASES)
def test_known_masks_and_numbers_are_torchs(name: str, plain: bool) -> None:
    module = Free(CASES[name], plain)
    torch.testing.assert_close(tritoncnn.compile(module, X)(X), module(X))


class Contrast(nn.Module):
    """The logits of two views of each picture, those of one picture first, as SimCLR's authors' readers write it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encode = nn.Linear(N, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = F.normalize(self.encode(x), dim=1)
        labels = torch.cat([torch.arange(len(x) // 2) for _ in range(2)])
        same = (labels[None] == labels[:, None]).float()
        mask = torch.eye(len(x), dtype=torch.bool)
        same, alike = same[~mask].view(len(x), -1), (z @ z.T)[~mask].view(len(x), -1)
        right, wrong = alike[same.bool()].view(len(x), -1), alike[~same.bool()].view(len(x), -1)
        return torch.cat([right, wrong], dim=1) / 0.5


class Queue(nn.Module):
    """Keys of earlier batches beside those of this one, as in MoCo; the place where they go is a buffer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encode = nn.Linear(N, 4)
        self.register_buffer("queue", F.normalize(torch.randn(10, 4), dim=1))
        self.register_buffer("at", torch.zeros(1, dtype=torch.long))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = F.normalize(self.encode(x), dim=1)
        others = self.queue.clone()
        with torch.no_grad():
            self.write(z)
        return torch.cat([(z * z.detach().flip(0)).sum(1, keepdim=True), z @ others.T], dim=1) / 0.2

    def write(self, z: torch.Tensor) -> None:
        self.queue[(self.at + torch.arange(len(z))) % 10] = z
        self.at[0] = (self.at[0] + len(z)) % 10


class Sliced(Queue):
    def write(self, z: torch.Tensor) -> None:
        at = int(self.at)
        self.queue[at : at + len(z)] = z
        self.at[0] = (at + len(z)) % 10


@pytest.mark.parametrize("net", [Contrast(), Queue()], ids=["SimCLR", "MoCo"])
def test_steps_are_torchs(net: nn.Module) -> None:
    """Four steps, with which the queue has gone round. Each is a few products of 6 numbers in f32, which differ by 1e-6."""
    twin = copy.deepcopy(net).double()
    target = torch.zeros(N, dtype=torch.long)
    step = tritoncnn.compile_step(net, F.cross_entropy, SGD(0.1), (X, target))
    optimizer = torch.optim.SGD(twin.parameters(), 0.1)
    for i in range(4):
        x = X.roll(i, 0)
        optimizer.zero_grad()
        want = F.cross_entropy(twin(x.double()), target)
        want.backward()
        optimizer.step()
        assert step(x, target).item() == pytest.approx(want.item(), rel=1e-6)
    for ours, theirs in zip(net.state_dict().values(), twin.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=1e-5, atol=1e-6)


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", off_diagonal())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[self.mask].view(N, N - 1)


def of_data(x: torch.Tensor) -> torch.Tensor:
    table = torch.zeros(3)
    table[1] = x[0, 0]
    return x * 2 if table.sum() > 0 else x


REFUSED: dict[str, tuple[nn.Module, str]] = {
    "a place that a buffer holds": (Sliced(), "int() reads a number out of a tensor, which data decide: keep the"),
    "a mask that a buffer holds": (Masked(), "a mask that is made of numbers in forward, as by torch.eye"),
    "a table of data": (Free(of_data, True), "its control flow or shapes depend on data"),
    "numbers that are drawn": (Free(lambda x: x[int(torch.randperm(N)[0])], True), "int() reads a number"),
    "places of data": (Free(lambda x: x[(x > 0).nonzero(as_tuple=True)].sum(), True), "nonzero, whose size depends on data"),
    "another size": (Free(lambda x: x[torch.ones(N - 1, dtype=torch.bool)], True), "a mask must have the sizes of what it"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_data_decide_is_refused(name: str) -> None:
    module, words = REFUSED[name]
    with pytest.raises(UnsupportedError) as caught:
        tritoncnn.compile(module, X)
    assert words in str(caught.value)
