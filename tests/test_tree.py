"""Trees of tensors: what a quick reader takes is what flatten finds, and nothing else."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch

from tritoncnn.tree import Fields, flatten, reader

A, B = torch.zeros(1), torch.ones(2)


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclass
class Point:
    x: Any
    y: Any


TREES: list[Any] = [
    A,
    (A, B),
    [A, B],
    (A, [B, (A,)]),
    Pair(A, B),
    Point(A, {"b": B}),
    {"a": A, "b": B},
    {"b": B, "a": A},
    Fields(a=A),
    OrderedDict(a=A),
    ((A,), {}),
    (A, None),
    (A, 1),
    (A, True),
    (A, 1.0),
    (A, "word"),
    (A, 0.0),
    (A, -0.0),
    (),
    [],
    (A,),
    Pair(A, 1),
    torch.nn.Parameter(A),
]


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_a_reader_takes_what_flatten_finds_and_no_other_tree(tree: Any) -> None:
    form = flatten(tree)[1]
    read = reader(form)
    for other in TREES:
        found, (wanted, its_form) = read(other), flatten(other)
        if found is not None:
            assert repr(its_form) == repr(form)
            assert all(a is b for a, b in zip(found, wanted, strict=True))
    floats = any(isinstance(part.kind, float) for part in form.parts)
    assert (read(tree) is None) == (floats or isinstance(tree, OrderedDict))  # of these a reader is never sure
