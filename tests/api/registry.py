"""Cases of the product's use: each is a short function of ``api``, which is tritoncnn or eager torch at some dtype."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from tests.api.eager import Eager, Ours
from tritoncnn.errors import TritonCNNError
from tritoncnn.tree import flatten

# Every number here follows from sums of at most 200 terms, taken a few times in a row: 2**-24 * 200 is 1.2e-5.
LIMIT = 1.2e-5


@dataclass(frozen=True)
class Case:
    """``run(api)`` gives a tree of tensors, the first of which is shown, or ends in a refusal with these ``words``."""

    group: str
    title: str
    run: Callable[[Any], Any]
    limit: float = LIMIT
    words: str = ""

    @property
    def name(self) -> str:
        return self.run.__name__


@dataclass(frozen=True)
class Outcome:
    """One line of the table. ``theirs``: the error of torch in f32; ``said``: the message of a refusal."""

    torch: float = math.nan
    ours: float = math.nan
    error: float = math.nan
    theirs: float = math.nan
    said: str = ""


CASES: list[Case] = []


def case(group: str, title: str, limit: float = LIMIT) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Register a case that must give torch's numbers. ``limit``: the largest relative error."""

    def register(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        CASES.append(Case(group, title, run, limit))
        return run

    return register


def refused(group: str, title: str, words: str) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Register a case that must end in an error of ours that holds these words."""

    def register(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        CASES.append(Case(group, title, run, words=words))
        return run

    return register


def outcome(case: Case) -> Outcome:
    """Run a case. Raises AssertionError where it differs from torch, or is refused otherwise than it says."""
    if case.words:
        try:
            case.run(_seeded(Ours()))
        except TritonCNNError as error:
            assert case.words in str(error), f"{case.name} said: {error}"
            return Outcome(said=str(error))
        raise AssertionError(f"{case.name} was taken; it must be refused")
    found = _tensors(case.run(_seeded(Ours())))
    exact = _tensors(case.run(_seeded(Eager(torch.float64))))
    single = _tensors(case.run(_seeded(Eager(torch.float32))))
    error, theirs = distance(found, exact), distance(single, exact)
    done = Outcome(_shown(exact), _shown(found), error, theirs)
    assert error <= case.limit, f"{case.name}: relative error {error:.1e}, torch's own {theirs:.1e}"
    return done


def distance(found: list[torch.Tensor], exact: list[torch.Tensor]) -> float:
    """The largest difference of two tensors, relative to the largest number of the tensor; infinite where shapes, or whole
    numbers, differ."""
    assert exact, "a case must return tensors"
    if len(found) != len(exact):
        return math.inf
    return max(_apart(a, b) for a, b in zip(found, exact, strict=True))


def _apart(a: torch.Tensor, b: torch.Tensor) -> float:
    if a.shape != b.shape or a.is_floating_point() != b.is_floating_point():
        return math.inf
    if not b.is_floating_point():
        return 0.0 if torch.equal(a, b) else math.inf
    apart = float((a.double() - b.double()).abs().max())
    most = float(b.abs().max())
    return apart / most if most else 0.0 if apart == 0 else math.inf  # NaN stays NaN, and is above every limit


def _seeded(api: Any) -> Any:
    torch.manual_seed(0)
    return api


def _tensors(tree: Any) -> list[torch.Tensor]:
    tensors, _ = flatten(tree)
    return [t.detach().clone() for t in tensors]


def _shown(tensors: list[torch.Tensor]) -> float:
    """The last number of the first tensor: the loss of the last step, where a case trains."""
    return float(tensors[0].flatten()[-1])
