"""A task whose step is more than one loss: a discriminator beside the model, a frozen net, several losses in one plan."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.nn import functional as F

from tests.train.runs import StopAt, assert_same_run, metrics
from tritoncnn import tasks
from tritoncnn.commands import main
from tritoncnn.data import SOURCES, Dataset, Examples, Facts, Source
from tritoncnn.errors import CheckpointError, InputError, NonFiniteError
from tritoncnn.flags import FROM_0, option
from tritoncnn.task import Answer, Example, Metric, Move, Recipe, Step, Task
from tritoncnn.train import Interrupted, Options, compare, measure, rehearse, resume, train
from tritoncnn.train import trainer as engine
from tritoncnn.train.tensorfile import read_tensors
from tritoncnn.train.training_step import TrainingStep, build_beside

FACTS = Facts((), (), ())
WIDE = 6


def made(count: int, seed: int) -> Examples:
    x = torch.randn(count, WIDE, generator=torch.Generator().manual_seed(seed))
    return Examples(x, x.flip(1).sin())


class Judge(nn.Module):
    """Scores f32[N,1]; its buffer counts in training, as running statistics do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDE, 8, bias=False)  # its gradient would be rounding alone, before a norm
        self.norm = nn.BatchNorm1d(8)
        self.outer = nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.tanh(self.norm(self.inner(x))))


def losses_for(values: Mapping[str, Any]) -> Any:
    def losses(nets: Any, batch: Any) -> dict[str, torch.Tensor]:
        fake = nets.model(batch.x)
        scores = nets.judge(torch.cat([batch.y, fake]))
        real, false = scores[: len(batch.x)], scores[len(batch.x) :]
        apart = F.mse_loss(nets.lens(fake), nets.lens(batch.y))
        return {
            "loss": apart - values["pull"] * false.mean(),
            "judge": F.relu(1 - real).mean() + F.relu(1 + false).mean(),
            "apart": apart,
        }

    return losses


STEP = Step(
    losses=losses_for,
    tells=("judge", "apart"),
    nets={
        "judge": lambda facts, values: Judge(),
        "lens": lambda facts, values: nn.Sequential(nn.Linear(WIDE, 12), nn.Dropout(), nn.Tanh()),
    },
    moves=(Move(numbers={"betas": (0.5, 0.9)}), Move("judge", "judge", lr=4.0, numbers={"betas": (0.5, 0.9)})),
    options=(option("pull", 0.1, "Weight of the judge's word.", FROM_0),),
)
PAIR = Task(
    name="pair",
    about="what a judge takes for true",
    models={"line": lambda facts: nn.Sequential(nn.Linear(WIDE, 16), nn.Tanh(), nn.Linear(16, WIDE))},
    data=("waves",),
    loss=STEP,
    metrics={"off": Metric(lambda outputs, y: float((outputs - y).abs().mean()), error=True)},
    best="off",
    example=lambda batch: Example(made(batch, 0).x, made(batch, 0).y, FACTS),
    read=lambda path: torch.zeros(WIDE).numpy(),
    answer=lambda outputs, facts, ask: [Answer({}, (str(row),)) for row in outputs.tolist()],
    recipe=Recipe(epochs=3, batch=8, steps=1, optimizer="adam", lr=0.01, momentum=0.0, weight_decay=0.0),
)


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Dataset("waves", FACTS, made(66, 1), made(19, 2), "1")
    monkeypatch.setitem(SOURCES, "waves", Source("waves", "waves", "", lambda folder, read: found))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        found = Dataset("waves", FACTS, made(66, 1), made(19, 2), "1")
        patch.setitem(SOURCES, "waves", Source("waves", "waves", "", lambda folder, read: found))
        yield train(Options.of(PAIR), tmp_path_factory.mktemp("steps") / "whole").run


def test_both_nets_move_as_in_torch_each_by_its_own_loss_and_rate_and_the_frozen_one_stays() -> None:
    options = Options.of(PAIR).fitted(66)
    x, y, _ = PAIR.example(8)
    step = TrainingStep(options, options.build_model(FACTS), FACTS, x, y)
    nets = {"model": options.build_model(FACTS), **build_beside(STEP, {"pull": 0.1}, FACTS, options.seed)}
    by = {
        name: torch.optim.Adam(nets[name].parameters(), 0.02 * share, (0.5, 0.9))
        for name, share in (("model", 1), ("judge", 4))
    }
    step.set_rate(0.02)
    for _ in range(3):
        found = step(x, y)
        losses = losses_for({"pull": 0.1})(type("Nets", (), nets), Examples(x, y))
        for name, loss in (("model", "loss"), ("judge", "judge")):
            parameters = list(nets[name].parameters())
            gradients = torch.autograd.grad(losses[loss], parameters, retain_graph=True)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
        for optimizer in by.values():
            optimizer.step()
        assert found == pytest.approx({name: loss.item() for name, loss in losses.items()}, abs=1e-5)
    kept = step.nets()
    wanted = {f"{name}.{key}": t for name in ("model", "judge") for key, t in nets[name].state_dict().items()}
    assert kept.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(kept[name], tensor, rtol=1e-4, atol=1e-5)


def test_a_stopped_run_goes_on_to_the_same_bits_in_all_nets(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(Options.of(PAIR), tmp_path / "run", StopAt(11))
    resume(PAIR, tmp_path / "run", {})
    assert_same_run(tmp_path / "run", whole)
    names = set(read_tensors(whole / "checkpoint.safetensors")[0])
    assert {"judge.outer.weight", "optimizer.exp_avg.judge.outer.weight", "judge.norm.running_mean"} <= names
    assert not any("lens" in name for name in names)
    assert set(read_tensors(whole / "model.safetensors")[0]) == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_each_loss_has_its_column_and_its_curve(whole: Path, tmp_path: Path) -> None:
    rows = metrics(whole)
    assert [list(row) for row in rows] == [["epoch", "step", "loss", "judge", "apart", "off"]] * 3
    assert all(row["loss"] < row["apart"] or row["judge"] > 0 for row in rows)
    train(Options.of(PAIR, csv=True, epochs=1), tmp_path / "run")
    assert (tmp_path / "run" / "metrics.csv").read_text().startswith("epoch,step,loss,judge,apart,off\n")
    assert (whole / "curves.png").stat().st_size > 1000


def test_another_value_of_an_option_of_the_step_trains_another_model_and_stays_with_the_run(
    whole: Path, tmp_path: Path
) -> None:
    run = train(Options.of(PAIR, pull=0.0), tmp_path / "run").run
    assert (run / "model.safetensors").read_bytes() != (whole / "model.safetensors").read_bytes()
    assert json.loads((run / "config.json").read_text())["pull"] == 0.0
    assert "pull: 0.0" in (run / "config.yaml").read_text()
    assert measure(PAIR, run).note["metrics"]["off"] == pytest.approx(metrics(run)[-1]["off"])
    with pytest.raises(InputError, match=r"these differ: --pull 0.5 \(the run: 0.0\)"):
        resume(PAIR, run, {"pull": 0.5})
    with pytest.raises(InputError, match="--pull must be a finite number from 0; got -1"):
        Options.of(PAIR, pull=-1.0)


def test_averages_are_kept_of_the_model_alone_and_are_what_is_measured(tmp_path: Path) -> None:
    run = train(Options.of(PAIR, ema=0.5, epochs=1), tmp_path / "run").run
    tensors, _ = read_tensors(run / "checkpoint.safetensors")
    averages = {name for name in tensors if ".average." in name}
    assert averages == {f"optimizer.average.model.{name}" for name in ("0.weight", "0.bias", "2.weight", "2.bias")}
    kept, _ = read_tensors(run / "model.safetensors")
    assert all(torch.equal(kept[name], tensors[f"optimizer.average.model.{name}"]) for name in kept)
    assert not torch.equal(kept["0.weight"], tensors["model.0.weight"])


@pytest.mark.parametrize("flag", [{"adversarial": 0.1}, {"label_smoothing": 0.1}, {"augment": "mixup"}])
def test_what_belongs_to_classes_is_refused(flag: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="is for tasks with classes; task 'pair' has none"):
        Options.of(PAIR, **flag)


def test_a_loss_of_any_net_that_is_not_finite_stops_the_run_by_name(tmp_path: Path) -> None:
    def broken(values: Mapping[str, Any]) -> Any:
        whole = losses_for(values)
        return lambda nets, batch: (found := whole(nets, batch)) | {"judge": found["judge"] * 1e38 * 1e38}

    with pytest.raises(NonFiniteError, match=r"the loss judge became inf at step 1 .* is kept in"):
        train(Options.of(replace(PAIR, loss=replace(STEP, losses=broken))), tmp_path / "run")
    assert metrics(tmp_path / "run") == []


def test_a_run_does_not_go_on_with_another_frozen_net(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(Options.of(PAIR), tmp_path / "run", StopAt(3))

    def other(facts: Facts, values: Mapping[str, Any]) -> nn.Module:
        net = STEP.nets["lens"](facts, values)
        with torch.no_grad():
            next(net.parameters())[0, 0] += 1
        return net

    changed = replace(PAIR, loss=replace(STEP, nets={**STEP.nets, "lens": other}))
    with pytest.raises(CheckpointError, match=r"was trained with other frozen nets \(lens\) than are now built"):
        resume(changed, tmp_path / "run", {})


def test_a_run_begins_with_the_model_of_another_and_a_new_judge(whole: Path, tmp_path: Path) -> None:
    class NoStep(TrainingStep):
        begun: dict[str, torch.Tensor]

        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            NoStep.begun = self.nets()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "TrainingStep", NoStep)
        train(Options.of(PAIR, from_run=str(whole), epochs=1), tmp_path / "run")
    kept, (checkpoint, _) = read_tensors(whole / "model.safetensors")[0], read_tensors(whole / "checkpoint.safetensors")
    assert all(torch.equal(NoStep.begun[f"model.{name}"], tensor) for name, tensor in kept.items())
    assert not torch.equal(NoStep.begun["judge.inner.weight"], checkpoint["judge.inner.weight"])


def test_ways_that_differ_in_an_option_of_the_step_are_compared(tmp_path: Path) -> None:
    found = compare(PAIR, {"epochs": 1}, [{"pull": 0.0}, {"pull": 5.0}], tmp_path / "ways", seeds=1)
    assert [row["pull"] for row in found.rows] == [0.0, 5.0]
    assert rehearse(Options.of(PAIR)).summary["metrics"].keys() == {"off"}


def test_commands_know_the_nets_beside_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "TASKS", ("pair",))
    for room in ("tritoncnn.tasks.find_task", "tritoncnn.commands.table.find_task"):
        monkeypatch.setattr(room, lambda name: PAIR, raising=False)
    listed = CliRunner().invoke(main, ["list", "tasks"])
    assert "; options: --pull; trained with: judge, lens" in listed.output
    shown = CliRunner().invoke(main, ["inspect", "pair", "--step", "--batch-size", "4", "--optimizer", "adam"])
    assert shown.exit_code == 0, shown.output
    assert "judge.inner.weight" in shown.output
    assert "adam" in shown.output
