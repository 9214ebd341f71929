"""Adversarial training: the change of a batch is torch's, runs resume to the same bits, and the result withstands more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tritoncnn
from tests.train.runs import LENET, RESULTS, StopAt, options
from tritoncnn.attacks import Attack
from tritoncnn.augment.draws import Draws
from tritoncnn.data import Facts
from tritoncnn.errors import InputError
from tritoncnn.robust import Victim, attack_curve
from tritoncnn.train import Interrupted, Options, resume, train
from tritoncnn.train.adversarial import Adversary

FACTS = Facts(("a", "b"), (0.3, 0.6), (0.2, 0.4))


def new_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 2)
    )


@pytest.mark.parametrize("soft", [False, True], ids=["classes", "shares"])
def test_a_batch_is_changed_as_torch_would_also_after_steps(soft: bool) -> None:
    net, pictures = new_net(), torch.rand(8, 2, 6, 6)
    mean, std = (torch.tensor(values)[:, None, None] for values in (FACTS.mean, FACTS.std))
    x = (pictures - mean) / std
    y = torch.rand(8, 2).softmax(1) if soft else torch.arange(8) % 2
    step = tritoncnn.compile_step(net, F.cross_entropy, tritoncnn.SGD(0.1), (x, y), seed=0)
    adversary = Adversary(net, F.cross_entropy, FACTS, x, y, 0.1)
    assert net.training
    rows = torch.arange(8)
    for epoch in range(3):
        changed, draws = x.clone(), Draws(0, epoch, rows.numpy())
        adversary.change(changed, y, draws)
        noise = torch.from_numpy(draws.uniform("adversarial", 72).astype("float32")).reshape(x.shape) * 2 - 1
        start = (pictures + 0.1 * noise).clamp(0, 1)
        leaf = ((start - mean) / std).requires_grad_()
        (g,) = torch.autograd.grad(F.cross_entropy(net.eval()(leaf), y), leaf)
        net.train()
        moved = start + 0.125 * g.sign()
        wanted = (pictures + (moved - pictures).clamp(-0.1, 0.1)).clamp(0, 1)
        off = (changed * std + mean - wanted).abs() > 1e-5
        assert float(off.float().mean()) <= 0.01
        assert float((changed - x).abs().mean()) > 0.1
        step(changed, y)  # moves weights and running statistics, which the next gradient must see


def test_a_run_resumes_to_the_same_bits(tiny_mnist: Path, tmp_path: Path) -> None:
    given = options(tiny_mnist, adversarial=0.1, epochs=2, augment="crop", label_smoothing=0.1)
    train(given, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(given, tmp_path / "run", StopAt(11))
    resume(LENET, tmp_path / "run", {})
    for name in RESULTS[:1]:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    train(options(tiny_mnist, epochs=2, augment="crop", label_smoothing=0.1), tmp_path / "plain")
    assert (tmp_path / "plain" / RESULTS[0]).read_bytes() != (tmp_path / "whole" / RESULTS[0]).read_bytes()


def test_what_was_trained_so_withstands_more(tiny_mnist: Path, tmp_path: Path) -> None:
    accuracies = []
    for name, epsilon in (("plain", 0.0), ("hardened", 0.3)):
        train(options(tiny_mnist, adversarial=epsilon, epochs=12), tmp_path / name)
        victim, attack = Victim(LENET, tmp_path / name), Attack.of("pgd", "linf", 0.3)
        curve = attack_curve(victim, tmp_path / name, attack, None).note["curve"]
        accuracies.append(sum(row["accuracy"] for row in curve))
    assert accuracies[1] > accuracies[0] + 0.5


def test_a_task_without_classes_and_a_size_without_sense_are_refused() -> None:
    with pytest.raises(InputError, match="--adversarial is for tasks with classes; task 'lenet' has none"):
        Options.of(replace(LENET, soft_loss=None), adversarial=0.1)
    for value in (-0.1, float("nan"), float("inf")):
        with pytest.raises(InputError, match=f"--adversarial must be a finite number from 0; got {value}"):
            Options.of(LENET, adversarial=value)
