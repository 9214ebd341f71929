from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from tritoncnn.errors import InputError
from tritoncnn.flags import TABLE
from tritoncnn.optim import LBFGS, SGD, Adam, AdamW, RMSprop
from tritoncnn.tasks import TASKS, find_task
from tritoncnn.train.options import Options, missing_in

LENET = find_task("lenet")
FACTS = LENET.example(1).facts

WRONG = {
    "epochs": (0, "--epochs must be at least 1; got 0"),
    "batch_size": (0, "--batch-size must be at least 1; got 0"),
    "lr": (-0.1, "--lr must be a finite number above 0; got -0.1"),
    "seed": (-1, r"--seed must be from 0 to 2\*\*63 - 1; got -1"),
    "momentum": (1.0, "--momentum must be from 0 and below 1; got 1.0"),
    "weight_decay": (math.inf, "--weight-decay must be a finite number from 0; got inf"),
    "save_every": (math.nan, "--save-every must be a finite number from 0; got nan"),
    "threads": (0, "--threads must be from 1 to 1024; got 0"),
    "data": ("mist", r"unknown data set of task 'lenet' 'mist'; did you mean mnist\?"),
    "optimizer": ("adamax", "unknown optimizer 'adamax'; did you mean adam"),
    "schedule": ("cosin", r"unknown schedule 'cosin'; did you mean cosine\?"),
    "warm_up": (1.0, "--warm-up must be from 0 and below 1; got 1.0"),
    "clip": (-1.0, "--clip must be a finite number from 0; got -1.0"),
    "ema": (math.nan, "--ema must be from 0 and below 1; got nan"),
    "label_smoothing": (1.0, "--label-smoothing must be from 0 and below 1; got 1.0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_named(name: str) -> None:
    value, sentence = WRONG[name]
    with pytest.raises(InputError, match=sentence):
        Options.of(LENET, **{name: value})


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_the_learning_rate_is_a_finite_number_above_0(value: float) -> None:
    with pytest.raises(InputError, match="--lr must be a finite number above 0"):
        Options.of(LENET, lr=value)


def test_unknown_models_get_a_hint() -> None:
    with pytest.raises(InputError, match=r"unknown model of task 'lenet' 'LeNet5'; did you mean lenet\?"):
        Options.of(LENET, model="LeNet5")
    with pytest.raises(InputError, match=r"unknown model of task 'lenet' 'resnet50'; known: lenet$"):
        Options.of(LENET, model="resnet50")


def test_defaults_follow_the_data_and_the_optimizer() -> None:
    assert [Options.of(LENET, data=data).fitted(60_000).epochs for data in ("digits", "mnist", "folder")] == [12, 5, 20]
    assert Options.of(LENET).build_optimizer() == SGD(lr=0.03, momentum=0.9, weight_decay=5e-4)
    assert Options.of(LENET, optimizer="adamw").build_optimizer() == AdamW(lr=0.001, weight_decay=0.01)
    assert Options.of(LENET, optimizer="adam").build_optimizer() == Adam(lr=0.001)
    rmsprop = Options.of(LENET, optimizer="rmsprop", momentum=0.5, clip=2.0, ema=0.9).build_optimizer()
    assert rmsprop == RMSprop(lr=0.001, momentum=0.5, clip_norm=2.0, ema=0.9)
    assert Options.of(LENET, optimizer="lbfgs", clip=2.0, ema=0.9).build_optimizer() == LBFGS(clip_norm=2.0, ema=0.9)
    assert Options.of(LENET, nesterov=True).build_optimizer() == SGD(0.03, 0.9, 5e-4, nesterov=True)
    recipe = replace(LENET.recipe, flags={"schedule": "step", "warm_up": 0.5, "ema": 0.99})
    task = replace(LENET, recipe=recipe)
    assert [getattr(Options.of(task), name) for name in ("schedule", "warm_up", "ema")] == ["step", 0.5, 0.99]
    assert [Options.of(task, schedule=name).warm_up for name in ("one-cycle", "step", "cosine")] == [0.3, 0.5, 0.05]


def test_flags_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(InputError, match="--momentum belongs to --optimizer sgd or rmsprop; got adamw"):
        Options.of(LENET, optimizer="adamw", momentum=0.5)
    with pytest.raises(InputError, match="--nesterov belongs to --optimizer sgd; got rmsprop"):
        Options.of(LENET, optimizer="rmsprop", momentum=0.5, nesterov=True)
    with pytest.raises(
        InputError, match="--weight-decay belongs to --optimizer sgd or adam or adamw or rmsprop; got lbfgs"
    ):
        Options.of(LENET, optimizer="lbfgs", weight_decay=0.1)
    with pytest.raises(InputError, match="a batch is all 70 training examples; leave out --batch-size 64$"):
        Options.of(LENET, optimizer="lbfgs", batch_size=64).fitted(70)
    assert Options.of(LENET, optimizer="lbfgs").fitted(70).batch_size == 70
    assert Options.of(LENET, optimizer="lbfgs", batch_size=70).fitted(70).batch_size == 70
    with pytest.raises(InputError, match="--nesterov needs a --momentum above 0; got 0"):
        Options.of(LENET, momentum=0.0, nesterov=True)
    with pytest.raises(InputError, match="--label-smoothing is for tasks with classes; task 'lenet' has none"):
        Options.of(replace(LENET, soft_loss=None), label_smoothing=0.1)
    with pytest.raises(InputError, match="--augment flip,mixup is for tasks with classes; task 'lenet' has none"):
        Options.of(replace(LENET, soft_loss=None), augment="flip,mixup")
    assert Options.of(replace(LENET, soft_loss=None), augment="colour").loss() is LENET.loss


@pytest.mark.parametrize("examples", [1, 2, 7, 30, 96, 500, 511, 512, 7190])
def test_small_data_sets_get_smaller_batches_and_more_epochs(examples: int) -> None:
    fitted = Options.of(LENET, data="folder").fitted(examples)
    steps = examples // fitted.batch_size
    assert steps >= min(8, max(1, examples // 2))
    assert min(2, examples) <= fitted.batch_size <= 64
    assert fitted.epochs * steps >= LENET.recipe.steps
    assert fitted.epochs >= 20
    assert (fitted.batch_size, fitted.epochs) == (64, 20) or examples < 64 * 20


def test_what_was_said_is_kept_for_any_size() -> None:
    said = Options.of(LENET, epochs=1, batch_size=3).fitted(50)
    assert (said.epochs, said.batch_size) == (1, 3)
    assert Options.of(LENET, batch_size=32).fitted(32).epochs == LENET.recipe.steps
    assert Options.of(LENET, epochs=2).fitted(96).batch_size == 8


def test_options_come_back_from_their_note() -> None:
    options = Options.of(LENET, data="mnist", data_dir="/some/where", lr=1).fitted(1000)
    assert Options.from_note(LENET, options.note()) == options


@pytest.mark.parametrize(
    "change", [{"lr": "1"}, {"epochs": 1.5}, {"seed": True}, {"model": None}, {"data_dir": 3}, {"extra": 1}]
)
def test_damaged_notes_raise(change: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Options.from_note(LENET, Options.of(LENET).note() | change)


@pytest.mark.parametrize("name", TASKS)
def test_an_option_that_came_after_a_run_was_begun_has_its_value_of_before(name: str) -> None:
    task = find_task(name)
    options = Options.of(task).fitted(1000)
    later = {key: row for key, row in options.rows.items() if not row.flag.first}
    assert {"clip", "csv"} <= later.keys()
    for key, row in later.items():
        older = {other: value for other, value in options.note().items() if other != key}
        assert missing_in(task, older) == {key: row.default}
        assert Options.from_note(task, older) == Options.from_note(task, older | {key: row.default})


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.flag.first])
def test_an_option_that_all_runs_have_may_not_be_missing(name: str) -> None:
    note = Options.of(LENET).fitted(1000).note()
    del note[name]
    with pytest.raises(TypeError, match=name):
        Options.from_note(LENET, note)


def test_resumption_takes_free_flags_and_refuses_the_others() -> None:
    options = Options.of(LENET, data="mnist", data_dir="/old", epochs=3)
    given = {"data_dir": "/new", "threads": 2, "save_every": 1.0, "epochs": 3, "lr": None}
    resumed = options.resumed(given, 1, False)
    assert (resumed.data_dir, resumed.threads, resumed.save_every, resumed.epochs) == ("/new", 2, 1.0, 3)
    with pytest.raises(InputError, match=r"differ: --epochs 9 \(the run: 3\), --seed 1 \(the run: 0\); leave them out"):
        options.resumed({"epochs": 9, "seed": 1}, 1, False)
    with pytest.raises(InputError, match="the run is of task 'alexnet'; got 'lenet'"):
        Options.from_note(LENET, options.note() | {"task": "alexnet"})
    with pytest.raises(InputError, match="--threads must be from 1 to 1024; got 0"):
        options.resumed({"threads": 0}, 1, False)


def test_the_learning_rate_rises_then_falls_to_0() -> None:
    options = Options.of(LENET, lr=2.0, epochs=1)
    rates = [options.lr_at(step, 200) for step in range(200)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert rates[10] == 2.0
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[105] == pytest.approx(1.0)
    assert 0 < rates[-1] < 1e-3
    assert options.lr_at(0, 1) == 2.0


@pytest.mark.parametrize("warm_up", [0.01, 0.1, 0.29])
def test_one_cycle_is_torchs(warm_up: float) -> None:
    steps = 100
    module = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(module.parameters(), lr=2.0)
    # torch is at its least in the last step, we would be there in the step after it; its phases end one step early
    torchs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=2.0, total_steps=steps + 1, pct_start=(math.ceil(warm_up * steps) + 1) / (steps + 1),
        cycle_momentum=False,
    )  # fmt: skip
    wanted = []
    for _ in range(steps):
        wanted.append(torchs.get_last_lr()[0])
        optimizer.step()
        torchs.step()
    options = Options.of(LENET, lr=2.0, epochs=1, schedule="one-cycle", warm_up=warm_up)
    assert [options.lr_at(step, steps) for step in range(steps)] == pytest.approx(wanted)


def test_steps_and_the_constant() -> None:
    options = Options.of(LENET, lr=2.0, epochs=1, schedule="step", warm_up=0.2)
    rates = [options.lr_at(step, 100) for step in range(100)]
    assert rates[:20] == pytest.approx([0.1 * (step + 1) for step in range(20)])
    assert rates[20:] == pytest.approx([2.0] * 40 + [0.2] * 20 + [0.02] * 20)
    constant = Options.of(LENET, lr=2.0, epochs=1, schedule="constant", warm_up=0.0)
    assert {constant.lr_at(step, 7) for step in range(7)} == {2.0}


def test_the_seed_decides_the_first_weights_and_torchs_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    one, same = (Options.of(LENET, seed=1).build_model(FACTS).state_dict() for _ in range(2))
    assert torch.equal(torch.rand(3), wanted)
    other = Options.of(LENET, seed=2).build_model(FACTS).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)


def test_a_new_head_needs_weights() -> None:
    with pytest.raises(InputError, match=r"^--new-head needs --weights or --from, of which it leaves out"):
        Options.of(LENET, new_head=True)
    with pytest.raises(InputError, match=r"--weights /a and --from /b both say what to begin with; leave one out"):
        Options.of(LENET, weights="/a", from_run="/b")
