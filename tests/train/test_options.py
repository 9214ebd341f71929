from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from tritoncnn.errors import InputError
from tritoncnn.optim import SGD, AdamW
from tritoncnn.train.options import Options

WRONG = {
    "epochs": (0, "--epochs must be at least 1; got 0"),
    "batch_size": (0, "--batch-size must be at least 1; got 0"),
    "lr": (-0.1, "--lr must be a finite number above 0; got -0.1"),
    "seed": (-1, r"--seed must be from 0 to 2\*\*63 - 1; got -1"),
    "momentum": (1.0, "--momentum must be below 1; got 1.0"),
    "weight_decay": (math.inf, "--weight-decay must be a finite number from 0; got inf"),
    "save_every": (math.nan, "--save-every must be a finite number from 0; got nan"),
    "threads": (0, "--threads must be from 1 to 1024; got 0"),
    "data": ("mist", "unknown data set 'mist'; known: digits, mnist, folder"),
    "optimizer": ("adam", "unknown optimizer 'adam'; known: sgd, adamw"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_named(name: str) -> None:
    value, sentence = WRONG[name]
    with pytest.raises(InputError, match=sentence):
        Options.of("lenet", **{name: value})


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_the_learning_rate_is_a_finite_number_above_0(value: float) -> None:
    with pytest.raises(InputError, match="--lr must be a finite number above 0"):
        Options.of("lenet", lr=value)


def test_unknown_models_get_a_hint() -> None:
    with pytest.raises(InputError, match=r"unknown model 'LeNet5'; did you mean lenet\?"):
        Options.of("LeNet5")
    with pytest.raises(InputError, match=r"unknown model 'vgg19'; known: lenet"):
        Options.of("vgg19")


def test_defaults_follow_the_data_and_the_optimizer() -> None:
    assert [Options.of("lenet", data=data).epochs for data in ("digits", "mnist", "folder")] == [12, 5, 20]
    assert Options.of("lenet").build_optimizer() == SGD(lr=0.03, momentum=0.9, weight_decay=5e-4)
    assert Options.of("lenet", optimizer="adamw").build_optimizer() == AdamW(lr=0.001, weight_decay=0.01)
    with pytest.raises(InputError, match="--momentum belongs to --optimizer sgd"):
        Options.of("lenet", optimizer="adamw", momentum=0.5)


def test_options_come_back_from_their_note() -> None:
    options = Options.of("lenet", data="mnist", data_dir="/some/where", lr=1)
    assert Options.from_note(options.note()) == options


@pytest.mark.parametrize(
    "change", [{"lr": "1"}, {"epochs": 1.5}, {"seed": True}, {"model": None}, {"data_dir": 3}, {"extra": 1}]
)
def test_damaged_notes_raise(change: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Options.from_note(Options.of("lenet").note() | change)


def test_resumption_takes_free_flags_and_refuses_the_others() -> None:
    options = Options.of("lenet", data="mnist", data_dir="/old", epochs=3)
    given = {"data_dir": "/new", "threads": 2, "save_every": 1.0, "epochs": 3, "lr": None}
    resumed = options.resumed("lenet", given)
    assert (resumed.data_dir, resumed.threads, resumed.save_every, resumed.epochs) == ("/new", 2, 1.0, 3)
    with pytest.raises(InputError, match=r"differ: --epochs 9 \(the run: 3\), --seed 1 \(the run: 0\); leave them out"):
        options.resumed("lenet", {"epochs": 9, "seed": 1})
    with pytest.raises(InputError, match="the run to resume trained model 'lenet'; got 'alexnet'"):
        options.resumed("alexnet", {})
    with pytest.raises(InputError, match="--threads must be from 1 to 1024; got 0"):
        options.resumed("lenet", {"threads": 0})


def test_the_learning_rate_rises_then_falls_to_0() -> None:
    options = Options.of("lenet", lr=2.0)
    rates = [options.lr_at(step, 200) for step in range(200)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert rates[10] == 2.0
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[105] == pytest.approx(1.0)
    assert 0 < rates[-1] < 1e-3
    assert options.lr_at(0, 1) == 2.0


def test_the_seed_decides_the_first_weights_and_torchs_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    one, same = (Options.of("lenet", seed=1).build_model(10).state_dict() for _ in range(2))
    assert torch.equal(torch.rand(3), wanted)
    other = Options.of("lenet", seed=2).build_model(10).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)
