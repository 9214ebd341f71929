"""Well-known architectures, both ways: inference and two training steps against torch in fp64."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import tritoncnn
from tests.compiler.architectures import ARCHITECTURES, Case
from tritoncnn import SGD

LR = 0.05
LONGEST = 4 * 16 * 16  # terms of the longest sum: a batch norm's over 4 pictures of 16x16


def case_of(name: str) -> Case:
    torch.manual_seed(0)
    return ARCHITECTURES[name]()


def doubled(tree: Any) -> Any:
    return torch.utils._pytree.tree_map(lambda t: t.double() if t.is_floating_point() else t, tree)


def leaves(result: Any) -> list[torch.Tensor]:
    return list(result.values()) if isinstance(result, dict) else [result] if torch.is_tensor(result) else list(result)


def close(what: str, found: torch.Tensor, exact: torch.Tensor, single: torch.Tensor, terms: float = 0.0) -> None:
    """No further from fp64 than four times torch's own f32, plus what two sums of LONGEST terms in another order may lose.

    ``terms``: size of terms that may have cancelled, so that the result says nothing of it.
    """
    error, torchs = (float((t.double() - exact.double()).abs().max()) for t in (found, single))
    # Errors of a sum's terms add up like a random walk.
    rounding = 2 * LONGEST**0.5 * 2.0**-24 * max(float(exact.abs().max()), terms)
    assert found.shape == exact.shape
    assert error <= 4 * torchs + rounding, f"{what}: error {error:.2e}, torch's {torchs:.2e}"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_inference_is_torchs(name: str) -> None:
    case = case_of(name)
    net = case.net.eval()
    with torch.no_grad():
        single, exact = net(*case.inputs), copy.deepcopy(net).double()(*doubled(case.inputs))
    found = tritoncnn.compile(net, case.inputs)(*case.inputs)
    assert isinstance(found, type(exact))
    for y, z, s in zip(leaves(found), leaves(exact), leaves(single), strict=True):
        close(name, y, z, s)


def trained(net: nn.Module, case: Case, inputs: Any, target: Any) -> list[torch.Tensor]:
    """Losses of two of torch's steps."""
    optimizer = torch.optim.SGD(net.parameters(), LR, momentum=0.9)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        loss = case.loss(net(*inputs), target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.detach())
    return losses


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_two_steps_are_torchs(name: str) -> None:
    case = case_of(name)
    ours, single, exact = case.net.train(), copy.deepcopy(case.net), copy.deepcopy(case.net).double()
    step = tritoncnn.compile_step(ours, case.loss, SGD(LR, momentum=0.9), (*case.inputs, case.target))
    before = copy.deepcopy(exact.state_dict())
    losses = [step(*case.inputs, case.target).clone() for _ in range(2)]
    torchs = trained(single, case, case.inputs, case.target)
    wanted = trained(exact, case, doubled(case.inputs), doubled(case.target))
    for y, z, s in zip(losses, wanted, torchs, strict=True):
        close(f"{name}: loss", y, z, s)
    # A bias before a batch norm has the gradient zero: a sum of terms like those that moved the other parameters.
    moved = max(float((t - before[key]).abs().max()) for key, t in exact.state_dict().items() if t.is_floating_point())
    parts = zip(ours.state_dict().items(), exact.state_dict().values(), single.state_dict().values(), strict=True)
    for (key, y), z, s in parts:
        close(f"{name}: {key}", y, z, s, moved)
    assert any(not torch.equal(a, b) for a, b in zip(case_of(name).net.parameters(), ours.parameters(), strict=True))
