"""Every case of the product's use gives torch's numbers, or is refused by name; docs/coverage.md shows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from tests.api import inputs, losses, programs, training  # noqa: F401  (their cases register)
from tests.api.registry import CASES, LIMIT, Case, distance, outcome


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_case_gives_torchs_numbers_or_is_refused_by_name(case: Case) -> None:
    outcome(case)


def test_the_page_has_a_line_for_each_case() -> None:
    page = (Path(__file__).parents[2] / "docs" / "coverage.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == [case.name for case in CASES]


def test_a_wrong_number_is_seen() -> None:
    exact = [torch.tensor([1.0, 2.0]), torch.tensor([3])]
    assert distance([torch.tensor([1.0, 2.0]), torch.tensor([3])], exact) == 0
    assert distance([torch.tensor([1.0, 2.0 * (1 + 2 * LIMIT)]), torch.tensor([3])], exact) > LIMIT
    assert not distance([torch.tensor([1.0, float("nan")]), torch.tensor([3])], exact) <= LIMIT
    assert distance([torch.tensor([1.0, 2.0]), torch.tensor([4])], exact) > LIMIT
    assert distance([torch.tensor([1.0, 2.0])], exact) > LIMIT
