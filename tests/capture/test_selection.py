"""x[mask], whose size data decide: values and gradients are torch's, whatever stands where nothing is selected."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import tritoncnn
from tests.applied import Applied
from tests.computing import assert_as_near_as_torch
from tritoncnn.autodiff import differentiate
from tritoncnn.capture import capture
from tritoncnn.errors import UnsupportedError
from tritoncnn.ops.evaluate import evaluate

N, C = 7, 5
Loss = Callable[..., torch.Tensor]  # of x [N, C], y [N, C], w [C], a mask m [N, C] and one of rows r [N]


def silog(x: torch.Tensor, y: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    d = torch.log(x[m].abs() + 0.1) - torch.log(y[m].abs() + 0.1)
    return (d.pow(2).mean() - 0.5 * d.mean() ** 2).sqrt()


def weighted(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(x[r], y.argmax(1)[r], w.detach().abs(), label_smoothing=0.1)


def under_no_grad(x: torch.Tensor, y: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        chosen = (x > y) & m
    return F.l1_loss(x[chosen], y[chosen])


def in_place(x: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    v = x[m] * 2.0
    v += 1.0
    return v.clamp_(-1.5, 1.5).square().mean()


def written(x: torch.Tensor, y: torch.Tensor, m: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    z, rows, columns = x.clone(), x * 1.0, x.T * 2.0
    z[m] = y[m].abs().log()
    rows[r] += rows[r] * y[r]
    columns[:, r] = x[r].T.exp()
    return z.square().sum() + rows.square().mean() + (columns * y.T).sum()


LOSSES: dict[str, Loss] = {
    "l1": lambda x, y, w, m, r: F.l1_loss(x[m], y[m]),
    "mse, sum": lambda x, y, w, m, r: F.mse_loss(x[m], y[m], reduction="sum"),
    "each": lambda x, y, w, m, r: F.smooth_l1_loss(x[m], y[m], reduction="none").square().sum(),
    "huber": lambda x, y, w, m, r: F.huber_loss(x[m], y[m], delta=0.5),
    "mean": lambda x, y, w, m, r: x[m].mean(),
    "squares over a count": lambda x, y, w, m, r: (x[m] - y[m]).pow(2).sum() / m.sum(),
    "squares over a size": lambda x, y, w, m, r: (x[m] - y[m]).pow(2).sum() / x[m].numel(),
    "a size of rows": lambda x, y, w, m, r: x[r].square().sum() / (x[r].shape[0] * 2 + 1),
    "a size times a number": lambda x, y, w, m, r: x[r].square().sum() * 0.1 / (x[r].numel() - 1) - x.sum() / x[r].size(0) ** 2,
    "logarithms": lambda x, y, w, m, r: torch.log(x[m].abs()).var(),
    "deviation": lambda x, y, w, m, r: torch.masked_select(x, m).std(unbiased=False),
    "mean and variance": lambda x, y, w, m, r: torch.stack(torch.var_mean(x[r], 0)).square().sum(),
    "norm": lambda x, y, w, m, r: (x[m] - y[m]).norm(),
    "norms": lambda x, y, w, m, r: x[m].norm(1) + x[m].norm(3) + x[m].norm(float("inf")) + x[m].norm(float("-inf")),
    "extremes": lambda x, y, w, m, r: x[m].amax() - 2 * x[m].amin() + x[m].max() * x[m].min(),
    "extremes of rows": lambda x, y, w, m, r: x[r].amax(0).sum() + x[r].max(0)[0].square().sum() + x[r].min(1).values.sum(),
    "sums of exponentials": lambda x, y, w, m, r: x[m].logsumexp(0) + x[r].logsumexp((0, 1)),
    "product": lambda x, y, w, m, r: x[m].prod(),
    "cross entropy": lambda x, y, w, m, r: F.cross_entropy(x[r], y.argmax(1)[r]),
    "cross entropy with weights": lambda x, y, w, m, r: weighted(x, y, w, r),
    "cross entropy, sum": lambda x, y, w, m, r: F.cross_entropy(x[r], y.argmax(1)[r], reduction="sum", ignore_index=2),
    "cross entropy of shares": lambda x, y, w, m, r: F.cross_entropy(x[r], y[r].softmax(1), label_smoothing=0.2),
    "negative likelihood": lambda x, y, w, m, r: F.nll_loss(x[r].log_softmax(1), y.argmax(1)[r]),
    "binary": lambda x, y, w, m, r: F.binary_cross_entropy_with_logits(x[m], torch.ones_like(x[m])),
    "probabilities": lambda x, y, w, m, r: F.binary_cross_entropy(x[m].sigmoid(), (y[m] > 0).to(x.dtype)),
    "soft margin": lambda x, y, w, m, r: F.soft_margin_loss(x[m], y.detach()[m].sign()),
    "divergence": lambda x, y, w, m, r: F.kl_div(x[r].log_softmax(1), y[r].softmax(1), reduction="sum"),
    "cosines": lambda x, y, w, m, r: F.cosine_similarity(x[r], y[r]).mean(),
    "normalised": lambda x, y, w, m, r: F.normalize(x[r], dim=-1).abs().mean(),
    "a linear layer": lambda x, y, w, m, r: F.layer_norm(torch.relu(F.linear(x[r], y, w.repeat(2)[:N])), (N,)).abs().mean(),
    "a logarithm behind a linear layer": lambda x, y, w, m, r: torch.log(F.linear(x[r], y).square()).mean(),
    "a product": lambda x, y, w, m, r: (x[r] @ y.T).square().mean(0).sum(),
    "columns": lambda x, y, w, m, r: x[r][:, 1:3].sum() * x[r, 2].mean(),
    "picked": lambda x, y, w, m, r: x[r].gather(1, y.argmax(1)[r].unsqueeze(1)).squeeze(1).square().mean(),
    "joined": lambda x, y, w, m, r: torch.cat([x[r], y[r]], 1).square().mean() + torch.stack([x[m], y[m]]).sum(),
    "another dim": lambda x, y, w, m, r: x.T[:, r].square().mean(1).sum() + x.unsqueeze(0)[..., r, :].mean(),
    "moved": lambda x, y, w, m, r: x[r].T.unsqueeze(0).transpose(1, 2).reshape(-1, C, 1).mean(0).square().sum(),
    "what broadcasts": lambda x, y, w, m, r: torch.log((x[r] * w).square()).mean(),
    "a number with a gradient": lambda x, y, w, m, r: torch.log((x[m] * w.sum()).square()).mean(),
    "centred": lambda x, y, w, m, r: (x[m] - x[m].mean()).square().mean(),
    "a selection of one": lambda x, y, w, m, r: x[m][x[m] > 0].sum() / (1 + (x[m] > 0).sum()),
    "masks computed twice": lambda x, y, w, m, r: (x[y.abs() > 0.3] - y[y.abs() > 0.3]).abs().sum(),
    "two masks": lambda x, y, w, m, r: x[m].mean() * x[r].sum() + x[m & (x > y)].sum(),
    "where": lambda x, y, w, m, r: torch.where(x[m] > 0, x[m], y[m].exp()).mean(),
    "truth": lambda x, y, w, m, r: x[m].mean() * ((x[m] > -9).all() & (y[m] > 9).any().logical_not()),
    "hits": lambda x, y, w, m, r: x[r].sum() * (x[r].argmax(1) == y[r].argmax(1)).float().mean(),
    "a softmax over it": lambda x, y, w, m, r: (x[m].softmax(0) * y[m]).sum() + x[r].log_softmax(0).square().mean(),
    "scaled": lambda x, y, w, m, r: silog(x, y, m),
    "a mask under no_grad": lambda x, y, w, m, r: under_no_grad(x, y, m),
    "in place": lambda x, y, w, m, r: in_place(x, m),
    "at least one": lambda x, y, w, m, r: x[m].sum() / max(x[m].numel(), 1) + x[r].sum() / max(1, len(x[r])) - min(len(x[r]), 3),
    "the larger size": lambda x, y, w, m, r: x[m].sum() / max(x[m].numel(), len(x[r]), 2),
    "a product over it": lambda x, y, w, m, r: (x[r].T @ y[r].abs().log()).square().sum(),
    "a product of batches": lambda x, y, w, m, r: torch.bmm(x[r].T[None], y[r][None]).square().sum(),
    "a product with a vector": lambda x, y, w, m, r: (x[r] @ w).abs().log().mean() + (x[:, 0][r] @ y[r]).square().sum(),
    "a product of vectors": lambda x, y, w, m, r: x[m] @ y[m],
    "a product from the left": lambda x, y, w, m, r: (y @ x[r].T).abs().log().mean(),
    "a product with several matrices": lambda x, y, w, m, r: (x[r] @ torch.stack([y.T, x.T])).square().mean(),
    "a sum of products": lambda x, y, w, m, r: torch.einsum("nc,nk->ck", x[r], y[r].exp()).square().sum(),
    "products of each": lambda x, y, w, m, r: torch.einsum("nc,kc->nk", x[r], y).abs().log().mean(),
    "a sum by einsum": lambda x, y, w, m, r: torch.einsum("nc->c", x[r]).prod() + torch.einsum("nc,kc", x[r], y).exp().sum(),
    "written back": lambda x, y, w, m, r: written(x, y, m, r),
    "rows that it names": lambda x, y, w, m, r: (y[x.argmax(1)[r]] * x[r]).sum(),
    "rows selected by it": lambda x, y, w, m, r: y.index_select(0, x.argmax(1)[r]).abs().log().mean(),
    "a group norm": lambda x, y, w, m, r: (F.group_norm(x[r], 1) * y[r]).sum(),
    "a batch norm that is trained": lambda x, y, w, m, r: (F.batch_norm(x[r], w.detach(), w.detach().abs(), w) * y[r]).sum(),
    "a convolution": lambda x, y, w, m, r: F.conv1d(x[r].unsqueeze(1), y[:, None, :3]).abs().log().mean(),
    "pools": lambda x, y, w, m, r: F.max_pool2d(x[r][:, None, None], (1, 2)).exp().mean(),
}  # fmt: skip


def drawn(seed: int = 0) -> list[torch.Tensor]:
    """x, y, w, a mask of elements and one of rows, each of which selects a few, and not all."""
    g = torch.Generator().manual_seed(seed)
    x, y, w = (torch.randn(size, generator=g, dtype=torch.float64) for size in ((N, C), (N, C), (C,)))
    m, r = torch.rand(N, C, generator=g) > 0.4, torch.tensor([True, False, True, True, False, False, True])
    return [x, y, w, m, r]


def held_to_torch(function: Loss, inputs: list[torch.Tensor], spoilt: list[torch.Tensor] | None = None) -> None:
    """Loss and gradients of the captured graph, computed in fp64, are torch's; also of ``spoilt``, for which torch's are those of
    ``inputs``. The graph's numbers are 0.1 as f32 has it, and sums go in another order: 2**-24 relative to the largest."""
    example = [t.float() if t.is_floating_point() else t for t in inputs]
    net = Applied(function)
    names = ["x", "y", "w", "m", "r"]
    graph = capture({"module": net}, lambda *t: net(*t), example, names, title="Applied").graph
    wrt = tuple(value for value in graph.inputs if value.type.is_float)
    graph = differentiate(graph, wrt)
    leaves = [t.clone().requires_grad_(t.is_floating_point()) for t in inputs]
    loss = function(*leaves)
    given = [leaf for leaf, name in zip(leaves, names, strict=True) if name in {value.name for value in wrt}]
    wanted = [loss, *torch.autograd.grad(loss, given, allow_unused=True, materialize_grads=True)]
    known = dict(zip(names, spoilt or inputs, strict=True))
    found = evaluate(graph, {value.name: known[value.name] for value in graph.inputs})
    for got, want in zip(found, wanted, strict=True):
        scale = float(want.detach().nan_to_num(posinf=0.0, neginf=0.0).abs().max())
        torch.testing.assert_close(
            got, want.detach().to(got.dtype), rtol=2**-20, atol=2**-20 * max(scale, 1), equal_nan=True
        )


@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_are_torchs(name: str) -> None:
    held_to_torch(LOSSES[name], drawn())


OF_ELEMENTS = ("l1", "logarithms", "norms", "scaled", "deviation", "a number with a gradient")
OF_ROWS = ("cross entropy", "cosines", "a linear layer", "what broadcasts", "a logarithm behind a linear layer")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0])
@pytest.mark.parametrize("name", OF_ELEMENTS + OF_ROWS)
def test_what_is_not_selected_counts_for_nothing(name: str, bad: float) -> None:
    """NaN, infinity or 0, whose logarithm has an infinite slope, at places that no mask selects."""
    x, y, w, m, r = drawn()
    places = ~(m if name in OF_ELEMENTS else r.unsqueeze(1).expand(N, C))
    kept = y if "linear" in name else y.masked_fill(places, bad)  # the weight of the layer is read as a whole
    held_to_torch(LOSSES[name], [x.masked_fill(places, 1.0), y, w, m, r], [x.masked_fill(places, bad), kept, w, m, r])


@pytest.mark.parametrize("name", [
    "l1", "mse, sum", "mean", "squares over a size", "deviation", "norm", "cross entropy", "cross entropy, sum",
    "binary", "a linear layer", "what broadcasts", "sums of exponentials", "product", "cosines", "centred",
])  # fmt: skip
def test_an_empty_selection_gives_what_torch_gives(name: str) -> None:
    x, y, w, m, r = drawn()
    held_to_torch(LOSSES[name], [x, y, w, m & False, r & False])


@pytest.mark.parametrize("name", ["l1", "deviation", "cross entropy", "a size of rows", "extremes", "a linear layer"])
def test_all_may_be_selected_and_one(name: str) -> None:
    x, y, w, m, r = drawn()
    held_to_torch(LOSSES[name], [x, y, w, m | True, r | True])
    one = torch.zeros_like(r)
    one[3] = True
    held_to_torch(
        LOSSES[name], [x, y, w, torch.zeros_like(m).index_put((torch.tensor(3), torch.tensor(1)), one[3]), one]
    )


STEPS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "tanh": torch.tanh, "square": torch.square, "relu": torch.relu, "gelu": F.gelu, "twice": lambda v: v * 2 - 1,
    "exp": lambda v: torch.exp(v.clamp(max=2.0)), "log": lambda v: torch.log(v.abs() + 0.5),
    "clamp": lambda v: v.clamp(-0.5, 0.7), "root": lambda v: (v.abs() + 0.1).sqrt(), "inverse": lambda v: 1 / (v.abs() + 1),
}  # fmt: skip
ENDS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sum": torch.sum, "mean": torch.mean, "var": torch.var, "norm": torch.linalg.vector_norm, "amax": torch.amax,
    "logsumexp": lambda v: v.flatten(0).logsumexp(0) if v.dim() == 1 else v.logsumexp((0, 1)), "std": torch.std,
}  # fmt: skip


@given(
    st.lists(st.sampled_from(sorted(STEPS)), max_size=4), st.sampled_from(sorted(ENDS)), st.booleans(),
    st.integers(0, 99), st.sampled_from([float("nan"), float("inf"), 0.0, -1.0]),
)  # fmt: skip
def test_chains_of_a_selection_are_torchs(steps: list[str], end: str, rows: bool, seed: int, bad: float) -> None:
    def loss(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor, m: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        v = x[r] * w if rows else x[m] - y[m]
        for step in steps:
            v = STEPS[step](v)
        return ENDS[end](v)

    x, y, w, m, r = drawn(seed)
    m[0, :2] = True
    places = ~(r.unsqueeze(1) if rows else m)
    held_to_torch(loss, [x, y, w, m, r], [x.masked_fill(places, bad), y.masked_fill(places, bad), w, m, r])


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(6, C), nn.Linear(C, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def masked(kind: str, net: Head, y: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    known = target == target  # NaN where nothing is known
    rows = known[:, 0]
    return {
        "l1": lambda: F.l1_loss(y[known], target[known]),
        "lines": lambda: F.cross_entropy(net.head(y[rows]), (target[rows].abs() * 2).long().amax(1).clamp(max=2)),
        "positive": lambda: torch.log(y[y > 0] + 0.1).var() + y[rows].square().sum() / y[rows].shape[0],
    }[kind]()


@pytest.mark.parametrize("kind", ["l1", "lines", "positive"])
def test_four_steps_are_torchs(kind: str) -> None:
    g = torch.Generator().manual_seed(1)
    x, target = torch.randn(9, 6, generator=g), torch.randn(9, C, generator=g)
    target = target.masked_fill(torch.rand(9, C, generator=g) > 0.7, float("nan"))
    net, single, exact = Head(), Head(), Head().double()
    step = tritoncnn.compile_step(
        net, lambda y, t: masked(kind, net, y, t), tritoncnn.SGD(0.1, momentum=0.9), (x, target)
    )
    ours = [step(x, target).clone() for _ in range(4)]
    runs = []
    for other in (single, exact):
        dtype = other.body.weight.dtype
        optimizer = torch.optim.SGD(other.parameters(), 0.1, momentum=0.9)
        losses = []
        for _ in range(4):
            optimizer.zero_grad()
            loss = masked(kind, other, other(x.to(dtype)), target.to(dtype))
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        runs.append(torch.stack(losses))
    assert_as_near_as_torch("losses", torch.stack(ours), *runs)
    for (name, p), q, z in zip(net.named_parameters(), single.parameters(), exact.parameters(), strict=True):
        assert_as_near_as_torch(name, p.detach(), q.detach(), z.detach())


class Held(nn.Module):
    """Masks that are a buffer, or numbers of the code; a parameter that is selected from, dropout that does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.dropout = nn.Parameter(torch.linspace(-1, 1, C)), nn.Dropout()
        self.register_buffer("mask", torch.arange(C) > 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        code = torch.tensor([True, False, False, True, True])
        return (
            (x[:, self.mask] * self.w[self.mask]).sum() + self.dropout(x[:, code]).square().mean() + self.w[code].prod()
        )


def test_masks_that_the_module_holds_select() -> None:
    model, x = Held().eval(), drawn()[0].float()
    torch.testing.assert_close(tritoncnn.compile(model, (x,))(x), model(x))


def test_another_number_of_places_is_selected_in_each_call() -> None:
    model = tritoncnn.compile(
        Applied(lambda x, m: x[m].sum() / x[m].numel()), (torch.ones(4, 3), torch.ones(4, 3).bool())
    )
    for seed in range(3):
        x, *_, m, _ = drawn(seed)
        x, m = x[:4, :3].float(), m[:4, :3]
        torch.testing.assert_close(model(x, m), x[m].mean())


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "a result": (lambda x, y, m, r: x[m], "a selection x[mask] as a result"),
    "sorted": (lambda x, y, m, r: x[m].sort()[0].sum(), "sort of a selection x[mask], whose places it orders or counts"),
    "two masks": (lambda x, y, m, r: (x[m] - y[y > 0]).sum(), "sub of a selection x[mask], which meets one by another mask"),
    "a number": (lambda x, y, m, r: x[m].sum() / float(x[m].numel()), "read as a number; mask.sum() counts in a tensor"),
    "a question": (lambda x, y, m, r: x[m].sum() if x[m].numel() else x.sum(), "read as a number; mask.sum() counts in a tensor"),
    "torch's own reading": (
        lambda x, y, m, r: F.kl_div(x[r].log_softmax(1), y[r], reduction="batchmean"), "read as a number; mask.sum() counts",
    ),
    "a loop": (lambda x, y, m, r: sum(v for v in x[m]), "read as a number; mask.sum() counts in a tensor"),
    "out of sight": (lambda x, y, m, r: x[m].sum() + torch.full((), len(x[r])), "read as a number"),
    "laid out anew": (lambda x, y, m, r: x[r].reshape(-1).sum(), "reshape of a selection x[mask], whose result is none"),
    "another tensor": (lambda x, y, m, r: (x[r] - y).sum(), "shapes depend on data"),
    "a tensor of that size": (lambda x, y, m, r: (x[r] + torch.zeros(x[r].shape)).sum(), "which meets a tensor"),
    "a place": (lambda x, y, m, r: x[m].max(0)[1], "the place of the max of a selection x[mask]"),
    "pairs": (lambda x, y, m, r: (x[r] @ x[r].T).sum(), "which meets one that is selected along another dim"),
    "a batch norm": (lambda x, y, m, r: F.batch_norm(x[r], None, None, training=True).exp().sum(), "whose mean and variance"),
    "written by another mask": (lambda x, y, m, r: x.clone().index_put((y > 0,), x[m]).sum(), "index_put of a"),
    "two dims": (lambda x, y, m, r: x[r][:, m[0]].sum(), "of a selection by another mask"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_its_size_is_refused(name: str) -> None:
    function, words = REFUSED[name]
    x, y, _, m, r = drawn()
    with pytest.raises(UnsupportedError) as caught:
        tritoncnn.compile(Applied(function), (x.float(), y.float(), m, r))
    assert words in str(caught.value)
    assert "999983" not in str(caught.value)


def test_a_step_of_bf16_selects() -> None:
    """The mean of bf16 numbers is rounded once: 2**-8 of it."""
    x = copy.deepcopy(drawn()[0]).bfloat16()
    m = drawn()[3]
    found = tritoncnn.compile(Applied(lambda x, m: (x[m].mean(), x[m].float().var())), (x, m))(x, m)
    torch.testing.assert_close(found[0], x[m].mean(), rtol=2**-7, atol=0)
    torch.testing.assert_close(found[1], x[m].float().var(), rtol=2**-18, atol=0)
