"""L-BFGS against torch.optim.LBFGS, one iteration a step, in f64."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tritoncnn
from tritoncnn import LBFGS, Update
from tritoncnn.errors import InputError


class Picture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.pixels = nn.Parameter(torch.rand(1, 3, 9, 7))


def _followed(net: nn.Module, loss: Any, steps: int, **words: Any) -> list[float]:
    """torch's losses in f64; ``net`` is trained."""
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=1, **words)
    found = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(net)
        value.backward()
        found.append(float(value.detach()))
        return value

    for _ in range(steps):
        optimizer.step(closure)
    return found


@pytest.mark.parametrize(("history", "lr"), [(10, 1.0), (3, 0.5), (1, 1.0)])
def test_a_net_follows_torchs_also_when_pairs_are_forgotten(history: int, lr: float) -> None:
    torch.manual_seed(0)
    ours, x, t = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)), torch.randn(32, 6), torch.randn(32, 2)
    theirs = copy.deepcopy(ours).double()
    step = tritoncnn.compile_step(ours, F.mse_loss, LBFGS(lr, history_size=history), (x, t))
    wanted = _followed(theirs, lambda net: F.mse_loss(net(x.double()), t.double()), 8, lr=lr, history_size=history)
    # Each step's direction hangs on differences of gradients, which lose digits that grow from step to step.
    assert [float(step(x, t)) for _ in range(8)] == pytest.approx(wanted, rel=1e-4)
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.double(), two, rtol=1e-3, atol=1e-3)
    assert wanted[-1] < wanted[0]


def test_a_picture_gets_the_style_of_features() -> None:
    """What is trained is an input; a fixed net measures it."""
    torch.manual_seed(1)
    features = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Conv2d(6, 4, 3)).requires_grad_(False)
    exact, style = copy.deepcopy(features).double(), torch.rand(1, 3, 9, 7)

    def gram(y: torch.Tensor) -> torch.Tensor:
        y = y.flatten(2)[0]
        return y @ y.t() / y.shape[1]

    def losses(nets: Any, wanted: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(gram(features(nets.pixels)), gram(features(wanted)))

    ours, theirs = Picture(), Picture().double()
    step = tritoncnn.compile_step(
        nets=ours, losses=losses, example=(style,), updates=[Update(by=LBFGS(history_size=4))]
    )
    wanted = _followed(
        theirs, lambda net: F.mse_loss(gram(exact(net.pixels)), gram(exact(style.double()))), 6, history_size=4, lr=1.0
    )
    assert [float(step(style)) for _ in range(6)] == pytest.approx(wanted, rel=1e-3)
    torch.testing.assert_close(ours.pixels.double(), theirs.pixels, rtol=1e-3, atol=1e-3)


def _both_follow(losses: Any, numbers: tuple[float, ...], lr: float) -> None:
    """A picture that ours and torch's move, step by step, by ``losses(net, number)``."""
    ours, theirs = Picture(), Picture().double()
    step = tritoncnn.compile_step(
        nets=ours, losses=losses, example=(torch.ones(()),), updates=[Update(by=LBFGS(lr, history_size=2))]
    )
    optimizer = torch.optim.LBFGS(theirs.parameters(), lr, max_iter=1, history_size=2)
    for number in numbers:
        step(torch.tensor(number))

        def closure(number: float = number) -> torch.Tensor:
            optimizer.zero_grad()
            value: torch.Tensor = losses(theirs, number)
            value.backward()
            return value

        optimizer.step(closure)
        torch.testing.assert_close(ours.pixels.double(), theirs.pixels, rtol=1e-4, atol=1e-5)


def test_a_move_along_which_the_slope_falls_is_forgotten_and_earlier_ones_stay() -> None:
    """A pull of 5 comes up after three steps downwards: y . s is below 0 then."""
    _both_follow(
        lambda net, pull: (net.pixels.square() * 2 + pull * net.pixels).sum(), (0.0, 0.0, 0.0, 5.0, 5.0, 5.0), 0.3
    )


def test_nothing_moves_at_the_bottom_and_the_first_step_is_the_first_that_moves() -> None:
    _both_follow(lambda net, factor: (net.pixels * factor).square().sum(), (0.0, 1.0, 1.0, 0.0, 2.0), 1.0)


def test_training_goes_on_from_the_state() -> None:
    torch.manual_seed(0)
    net, x, t = nn.Linear(6, 2), torch.randn(32, 6), torch.randn(32, 2)
    step = tritoncnn.compile_step(net, F.mse_loss, LBFGS(0.3, history_size=2), (x, t))
    for _ in range(3):
        step(x, t)
    weights, state = step.state_dict(), step.optimizer_state()
    wanted = [float(step(x, t)) for _ in range(3)]
    step.load_state_dict(weights)
    step.load_optimizer_state(state)
    assert [float(step(x, t)) for _ in range(3)] == wanted
    assert {name.split(".")[0] for name in state} == {
        "step", "prev_grad", "prev_move", "old_dirs_0", "old_dirs_1", "old_stps_0", "old_stps_1"
    }  # fmt: skip


@pytest.mark.parametrize(("words", "said"), [
    ({"history_size": 0}, "LBFGS: history_size must be a whole number from 1; got 0"),
    ({"history_size": 2.0}, "history_size must be a whole number from 1; got 2.0"),
    ({"groups": {"*.bias": {"lr": 0.1}}}, "LBFGS: all parameters share one direction, there are no groups"),
    ({"tolerance_grad": -1.0}, "LBFGS: tolerance_grad must be a finite number from 0; got -1.0"),
])  # fmt: skip
def test_what_it_cannot_do_is_refused(words: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        LBFGS(**words)
