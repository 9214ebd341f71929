"""Attacks against eager torch's, and what they promise: how far, within which values, by which kernels, from which seed."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from tests.attacks.reference import attacked, gradient
from tests.computing import Computing
from tritoncnn.attacks import Attack, Attacker, bounds_of, random_start, same_size_noise
from tritoncnn.attacks.attacker import start_of
from tritoncnn.data import Facts
from tritoncnn.errors import InputError

FACTS = Facts(("a", "b", "c"), (0.4, 0.5), (0.2, 0.3))
CHECKS = {"aten::aminmax", "aten::select.int", "aten::_local_scalar_dense"}  # whether all classes exist
COUNT = 70  # more than a batch, and no multiple of one


def new_net() -> nn.Sequential:
    """Smooth, so that a gradient's sign seldom hangs on rounding."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 6, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(54, 3)).eval()


torch.manual_seed(1)
PICTURES = torch.rand(COUNT, 2, 8, 8)
NET = new_net()
LABELS = NET((PICTURES - torch.tensor(FACTS.mean)[:, None, None]) / torch.tensor(FACTS.std)[:, None, None]).argmax(1)


@pytest.fixture(scope="module")
def attackers() -> dict[str, Attacker]:
    return {norm: Attacker(NET, FACTS, norm, PICTURES) for norm in ("linf", "l2")}


CASES: list[dict[str, Any]] = [
    {"method": "fgsm", "norm": "linf", "epsilon": 0.03},
    {"method": "fgsm", "norm": "linf", "epsilon": 0.03, "random_start": True},
    {"method": "fgsm", "norm": "l2", "epsilon": 0.5},
    {"method": "pgd", "norm": "linf", "epsilon": 0.03, "seed": 3},
    {"method": "pgd", "norm": "linf", "epsilon": 0.03, "random_start": False, "steps": 3, "step_size": 0.02},
    {"method": "pgd", "norm": "l2", "epsilon": 0.4},
    {"method": "pgd", "norm": "l2", "epsilon": 0.4, "steps": 1},
]


def found(x: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in (FACTS.mean, FACTS.std))
    return NET((x - mean) / std).argmax(1)


@pytest.mark.parametrize("towards", [False, True], ids=["away", "towards"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case.values())))
def test_an_attack_is_torchs(case: dict[str, Any], towards: bool, attackers: dict[str, Attacker]) -> None:
    """The same change where no sign hangs on rounding, and the same success."""
    attack = Attack.of(**case)
    aims = torch.full_like(LABELS, 2) if towards else LABELS
    ours = attackers[attack.norm].perturb(PICTURES, aims, attack, towards=towards)
    wanted = attacked(NET, FACTS, PICTURES, aims, attack, start_of(PICTURES, attack), towards)
    off = (ours - wanted).abs() > 1e-5
    assert float(off.float().mean()) < 1e-3
    goal = (found(ours) == 2) if towards else (found(ours) != LABELS)
    theirs = (found(wanted) == 2) if towards else (found(wanted) != LABELS)
    before = (found(PICTURES) == 2) if towards else torch.zeros(COUNT)
    assert abs(int(goal.sum()) - int(theirs.sum())) <= 0.01 * COUNT
    assert int(goal.sum()) > int(before.sum()) + 5  # an attack that does nothing would agree too
    lengths = (ours - PICTURES).flatten(1).norm(p=math.inf if attack.norm == "linf" else 2, dim=1)
    assert float(lengths.max()) <= attack.epsilon + 1e-6
    assert 0 <= float(ours.min()) <= float(ours.max()) <= 1


def test_gradients_are_those_of_pictures_before_they_are_normalised(attackers: dict[str, Attacker]) -> None:
    attacker = attackers["linf"]
    size = len(attacker.x)
    _, ours = attacker.gradient(PICTURES[:size], LABELS[:size])
    torch.testing.assert_close(ours, gradient(NET, FACTS, PICTURES[:size], LABELS[:size]), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_torch_op_computes_in_a_step(norm: str, attackers: dict[str, Attacker]) -> None:
    attackers[norm].perturb(PICTURES[:3], LABELS[:3], Attack.of("fgsm", norm), towards=False)
    with Computing() as computing:
        attackers[norm].step()
    assert set(computing.seen) <= CHECKS


def test_random_numbers_follow_from_seed_and_place(attackers: dict[str, Attacker]) -> None:
    for norm, attacker in attackers.items():
        first, again, other = (
            attacker.perturb(PICTURES, LABELS, Attack.of("pgd", norm, 0.05, steps=1, seed=seed)) for seed in (0, 0, 1)
        )
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        start = random_start(norm, PICTURES.shape, 0)
        noise = same_size_noise(norm, PICTURES.shape, 0)
        order = math.inf if norm == "linf" else 2
        assert float(start.flatten(1).norm(p=order, dim=1).max()) <= 1 + 1e-6
        torch.testing.assert_close(noise.flatten(1).norm(p=order, dim=1), torch.ones(COUNT))


class Flat(nn.Module):
    """No gradient at all, but for the third class's tiny one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.mean((1, 2, 3)) * 1e-25
        return torch.stack([0 * y, 0 * y, y], 1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_tiny_gradients_still_point_somewhere_and_none_move_nothing(norm: str) -> None:
    pictures, labels = PICTURES[:4], torch.tensor([0, 1, 0, 1])
    attack = Attack.of("fgsm", norm, 0.1)
    moved = Attacker(Flat().eval(), FACTS, norm, pictures).perturb(pictures, labels, attack) - pictures
    assert float(moved.abs().amax((1, 2, 3)).min()) > 0
    nothing = nn.Sequential(nn.Flatten(), nn.Linear(128, 3)).eval()
    nn.init.zeros_(nothing[1].weight)
    assert torch.equal(Attacker(nothing, FACTS, norm, pictures).perturb(pictures, labels, attack), pictures)


def test_pictures_that_were_evened_out_have_no_black_and_white() -> None:
    even = (PICTURES - PICTURES.mean()) / PICTURES.std()
    assert bounds_of(PICTURES) == (0.0, 1.0)
    assert bounds_of(even) == (-math.inf, math.inf)
    moved = Attacker(NET, FACTS, "linf", even).perturb(even, LABELS, Attack.of("fgsm", "linf", 0.2))
    torch.testing.assert_close((moved - even).abs().amax((1, 2, 3)), torch.full((COUNT,), 0.2))


def test_a_net_in_training_mode_is_refused() -> None:
    with pytest.raises(InputError, match="needs the model in eval mode"):
        Attacker(nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(128, 3)), FACTS, "linf", PICTURES)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"method": "cw"}, "--method must be one of fgsm, pgd; got 'cw'"),
        ({"norm": "l1"}, "--norm must be one of linf, l2; got 'l1'"),
        ({"epsilon": -0.1}, "--epsilon must be from 0 to 1,000,000, where white is 1; got -0.1"),
        ({"epsilon": math.nan}, "--epsilon must be from 0 to 1,000,000, where white is 1; got nan"),
        ({"epsilon": math.inf}, "--epsilon must be from 0 to 1,000,000, where white is 1; got inf"),
        ({"steps": 0}, "--steps must be at least 1; got 0"),
        ({"steps": -3}, "--steps must be at least 1; got -3"),
        ({"method": "fgsm", "steps": 2}, "--steps is for --method pgd; fgsm takes one; got 2"),
        ({"epsilon": 1e300}, "--epsilon must be from 0 to 1,000,000, where white is 1; got 1e.300"),
        ({"step_size": 1e39}, "--step-size must be above 0 and at most 1,000,000; got 1e.39"),
        ({"step_size": 0.0}, "--step-size must be above 0 and at most 1,000,000; got 0.0"),
        ({"step_size": math.nan}, "--step-size must be above 0 and at most 1,000,000; got nan"),
        ({"seed": -1}, "--seed must be from 0 to 2\\*\\*63 - 1; got -1"),
    ],
)
def test_an_attack_that_makes_no_sense_is_told(words: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Attack.of(**words)


def test_no_picture_of_a_batch_changes_another() -> None:
    """The batch is padded and summed over: neither may reach another picture's gradient."""
    attacker = Attacker(NET, FACTS, "linf", PICTURES)
    attack = Attack.of("fgsm", "linf", 0.05)
    whole = attacker.perturb(PICTURES, LABELS, attack)
    for rows in (slice(0, 1), slice(66, 70)):
        assert torch.equal(attacker.perturb(PICTURES[rows], LABELS[rows], attack), whole[rows])
