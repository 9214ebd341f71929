"""Random numbers inside models: drawn from the step's seed, of torch's distributions, shapes and dtypes."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.applied import Applied
from tritoncnn.autodiff import differentiate
from tritoncnn.capture import capture_loss, capture_module
from tritoncnn.errors import UnsupportedError
from tritoncnn.ops.evaluate import evaluate

N = 40000
Function = Callable[[torch.Tensor], torch.Tensor]


def drawn(function: Function, seed: int = 3, x: torch.Tensor | None = None) -> torch.Tensor:
    x = torch.ones(N) if x is None else x
    captured = capture_module(Applied(function), (x,))
    assert captured.random
    inputs = {"x_0": x, "seed": torch.tensor(seed)} | captured.constants
    (found,) = evaluate(captured.graph, {value.name: inputs[value.name] for value in captured.graph.inputs})
    wanted = function(x)
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    return found


def test_a_random_order_holds_each_number_once() -> None:
    found = drawn(lambda x: torch.randperm(100) + 0 * x[0].long())
    assert torch.equal(found.sort().values, torch.arange(100))
    assert (found != torch.arange(100)).sum() > 80


@pytest.mark.parametrize("replacement", [False, True])
def test_places_are_drawn_in_proportion(replacement: bool) -> None:
    p = torch.tensor([1.0, 0.0, 5.0, 2.0])
    x = p.expand(N, 4).contiguous()
    found = drawn(lambda x: torch.multinomial(x, 2, replacement), x=x)
    chances = p / p.sum()
    for column in (0, 1) if replacement else (0,):
        counts = torch.bincount(found[:, column], minlength=4) / N
        assert (counts - chances).abs().max() < 5 * 0.5 / math.sqrt(N)  # five deviations
    assert (found != 1).all()
    second = (chances[:, None] * chances / (1 - chances)[:, None]).fill_diagonal_(0).sum(0)  # after another one
    if not replacement:
        counts = torch.bincount(found[:, 1], minlength=4) / N
        assert (counts - second).abs().max() < 5 * 0.5 / math.sqrt(N)
        assert (found[:, 0] != found[:, 1]).all()


# name -> (function, mean, standard deviation)
DISTRIBUTIONS: dict[str, tuple[Function, float, float]] = {
    "rand": (lambda x: torch.rand(N), 0.5, math.sqrt(1 / 12)),
    "rand_like": (torch.rand_like, 0.5, math.sqrt(1 / 12)),
    "randn": (lambda x: torch.randn(4, N // 4), 0.0, 1.0),
    "randn_like": (torch.randn_like, 0.0, 1.0),
    "uniform_": (lambda x: x.clone().uniform_(-2, 4), 1.0, math.sqrt(36 / 12)),
    "normal_": (lambda x: x.clone().normal_(3.0, 0.5), 3.0, 0.5),
    "normal": (lambda x: torch.normal(x * 2, 0.5), 2.0, 0.5),
    "normal of tensors": (lambda x: torch.normal(x * 2, x * 3), 2.0, 3.0),
    "normal of a size": (lambda x: torch.normal(1.0, 2.0, (N,)), 1.0, 2.0),
    "randint": (lambda x: torch.randint(10, (N,)), 4.5, math.sqrt(99 / 12)),
    "randint from": (lambda x: torch.randint(-5, 5, (N,), dtype=torch.int32), -0.5, math.sqrt(99 / 12)),
    "randint_like": (lambda x: torch.randint_like(x, 3, 6), 4.0, math.sqrt(8 / 12)),
    "bernoulli": (lambda x: torch.bernoulli(x * 0.3), 0.3, math.sqrt(0.21)),
    "bernoulli_": (lambda x: x.clone().bernoulli_(0.3), 0.3, math.sqrt(0.21)),
    "bernoulli_ of probabilities": (lambda x: torch.empty_like(x).bernoulli_(x * 0.3), 0.3, math.sqrt(0.21)),
    "exponential_": (lambda x: x.clone().exponential_(2.0), 0.5, 0.5),
    "dropout": (lambda x: F.dropout(x, 0.25), 1.0, math.sqrt(1 / 3)),
    "dropout in place": (lambda x: F.dropout(x * 1.0, 0.25, inplace=True), 1.0, math.sqrt(1 / 3)),
    "alpha_dropout": (lambda x: F.alpha_dropout(torch.randn_like(x), 0.2, training=True), 0.0, 1.0),
    "rrelu": (lambda x: F.rrelu(-x, 0.1, 0.5, training=True), -0.3, math.sqrt(0.16 / 12)),
    "rrelu in place": (lambda x: F.rrelu(-x, 0.1, 0.5, training=True, inplace=True), -0.3, math.sqrt(0.16 / 12)),
    "stochastic depth": (lambda x: x * (torch.rand(N) < 0.8) / 0.8, 1.0, 0.5),
    "half": (lambda x: torch.randn(N, dtype=torch.float16), 0.0, 1.0),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_mean_and_deviation_are_torchs(name: str) -> None:
    """Within 5 standard errors; fourth moments are at most 9 times the squared variance here."""
    function, mean, deviation = DISTRIBUTIONS[name]
    for sample in (drawn(function).double(), function(torch.ones(N)).double()):
        assert abs(float(sample.mean()) - mean) < 5 * deviation / math.sqrt(N)
        assert abs(float(sample.std()) - deviation) < 5 * 1.5 * deviation / math.sqrt(N)


def test_normal_numbers_have_normal_tails_and_no_order() -> None:
    z = drawn(torch.randn_like)
    for bound, share in ((1.0, 0.3173), (2.0, 0.0455), (3.0, 0.0027)):
        assert abs(float((z.abs() > bound).double().mean()) - share) < 5 * math.sqrt(share / N)
    assert abs(float((z[1:] * z[:-1]).mean())) < 5 / math.sqrt(N)


def test_every_draw_and_every_seed_gives_other_numbers_and_the_same_seed_the_same() -> None:
    pair = drawn(lambda x: torch.stack([torch.randn(99), torch.randn(99)]))
    assert not bool((pair[0] == pair[1]).any())
    assert torch.equal(drawn(torch.rand_like, 5), drawn(torch.rand_like, 5))
    assert not torch.equal(drawn(torch.rand_like, 5), drawn(torch.rand_like, 6))


def test_whole_numbers_stay_in_their_range() -> None:
    numbers = drawn(lambda x: torch.randint(-3, 4, (N,)))
    assert sorted(set(numbers.tolist())) == [-3, -2, -1, 0, 1, 2, 3]
    with pytest.raises(UnsupportedError, match=r"randint of \d+ different numbers: it takes 1 to 2\*\*24"):
        drawn(lambda x: torch.randint(2**40, (N,)))


def test_a_gradient_flows_through_what_is_drawn_around_it() -> None:
    """The mask of dropout2d is one number per picture and channel, the same in both passes."""
    x = torch.randn(8, 16, 3, 3)
    captured = capture_loss(nn.Sequential(nn.Dropout2d(0.5)), lambda y, t: (y * t).sum(), (x,), torch.ones(x.shape))
    graph = differentiate(captured.graph, (captured.graph.input("input"),))
    _, gradient = evaluate(graph, {"input": x, "target": torch.ones(x.shape), "seed": torch.tensor(3)})
    kept = gradient[:, :, 0, 0]
    assert set(kept.flatten().tolist()) == {0.0, 2.0}
    assert bool((gradient == kept[:, :, None, None]).all())
