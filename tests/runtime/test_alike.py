"""Alike: what it is sure of, and all that it must not be sure of."""

import pytest
import torch
from torch.autograd import forward_ad

import tritoncnn
from tritoncnn.ir import TensorType
from tritoncnn.runtime import Alike

TYPES = [TensorType.dense("f32", (2, 3)), TensorType("i64", (3, 2), (1, 3))]


@pytest.fixture
def tensors():
    return [torch.ones(2, 3), torch.ones(2, 3, dtype=torch.int64).t()]


@pytest.fixture
def alike():
    return Alike(TYPES)


def test_plain_tensors_as_planned(alike, tensors):
    assert alike(tensors)
    with torch.no_grad():
        assert alike(tensors)
    with torch.inference_mode():
        assert alike(tensors)
        assert alike([torch.ones(2, 3), torch.ones(2, 3, dtype=torch.int64).t()])


def test_made_in_inference_mode_it_is_the_same(tensors):
    with torch.inference_mode():
        alike = Alike(TYPES)
        assert alike(tensors)
    assert alike(tensors)


class Own(torch.Tensor):
    pass


@pytest.mark.parametrize(
    "other",
    [
        lambda: torch.ones(2, 4),
        lambda: torch.ones(6),
        lambda: torch.ones(3, 2).t(),
        lambda: torch.ones(2, 3, dtype=torch.float64),
        lambda: torch.ones(2, 3, requires_grad=True),
        lambda: torch.ones(2, 3, device="meta"),
        lambda: torch.ones(2, 3).to_sparse(),
        lambda: torch.nested.nested_tensor([torch.ones(3), torch.ones(2)]),
        lambda: torch._neg_view(torch.ones(2, 3)),
        lambda: torch._efficientzerotensor((2, 3)),
        lambda: torch.ones(2, 3).as_subclass(Own),
        lambda: 3,
        lambda: None,
    ],
)
def test_what_is_not_sure(alike, tensors, other):
    assert not alike([other(), tensors[1]])


def test_too_few_too_many_and_one_at_two_places(alike, tensors):
    assert not alike(tensors[:1])
    assert not alike([*tensors, tensors[0]])
    assert not Alike([TYPES[0], TYPES[0]])([tensors[0], tensors[0]])
    assert Alike([])([])


def test_inside_of_transforms_and_autocast(alike, tensors):
    with forward_ad.dual_level():
        assert not alike([forward_ad.make_dual(tensors[0], tensors[0]), tensors[1]])
    seen = []
    torch.func.vmap(lambda x: (seen.append(alike([x, tensors[1]])), x)[1])(torch.ones(4, 2, 3))
    torch.func.grad(lambda x: (seen.append(alike([x, tensors[1]])), x.sum())[1])(tensors[0])
    with torch.autocast("cpu"):
        seen.append(alike(tensors))
    assert seen == [False] * 3


def test_a_torch_without_such_a_check_looks_closer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tritoncnn.runtime.alike.guards", object())
    assert not Alike(TYPES)([torch.ones(2, 3), torch.ones(2, 3, dtype=torch.int64).t()])
    net, x = torch.nn.Linear(3, 4), torch.randn(2, 3)
    torch.testing.assert_close(tritoncnn.compile(net, x)(x), net(x).detach())
