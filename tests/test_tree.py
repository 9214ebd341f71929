"""Trees of tensors: what a quick reader takes is what flatten finds, and nothing else."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch.utils._pytree import (
    keystr,
    tree_flatten,
    tree_flatten_with_path,
    tree_leaves,
    tree_map,
    treespec_dumps,
    treespec_loads,
)

import tritoncnn
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


def test_torchs_own_trees_reach_into_results() -> None:
    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, Any]:
            return {"sum": x + 1, "more": [{"b": x * 2, "a": x * 3}, Pair(x, x - 1)]}

    x = torch.arange(3.0)
    found, wanted = tritoncnn.compile(Net().eval(), x)(x), Net()(x)
    assert isinstance(found, Fields)
    doubled = tree_map(lambda y: y * 2, found)
    assert isinstance(doubled, Fields)
    assert isinstance(doubled["more"][1], Pair)
    assert list(doubled) == ["sum", "more"]
    for ours, theirs in zip(tree_leaves(doubled), tree_leaves(wanted), strict=True):
        assert torch.equal(ours, theirs * 2)
    assert [keystr(path) for path, _ in tree_flatten_with_path(found)[0]][:2] == ["['sum']", "['more'][0]['b']"]
    form = tree_flatten(Fields(a=x, b=[x]))[1]
    assert treespec_loads(treespec_dumps(form)) == form
    assert copy.deepcopy(found).keys() == pickle.loads(pickle.dumps(found)).keys() == found.keys()
