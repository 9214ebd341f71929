"""Options that a task or a data set adds for itself: on the command line, in files, in runs, in the model and in the data."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tests.train.samples import write_idx, write_pictures
from tritoncnn.commands import main
from tritoncnn.commands.inspect import inspect
from tritoncnn.commands.train import train as command
from tritoncnn.data import SOURCES, load_data
from tritoncnn.errors import CheckpointError, DataError, InputError
from tritoncnn.tasks import TASKS, find_task
from tritoncnn.train import Options, measure, predict, resume, train
from tritoncnn.train.checkpoint import Checkpoint
from tritoncnn.train.tensorfile import read_tensors

STACK = find_task("stack")


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures") / "data")


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run told to be otherwise, options before and behind the name of the task."""
    out = tmp_path_factory.mktemp("own") / "run"
    words = ["--pool", "avg", "stack", "--depth", 1, "--data", "folder", "--data-dir", data, "--hold-out", 0.5]
    result = call("train", *words, "--epochs", 1, "--batch-size", 4, "--out", out)
    assert result.exit_code == 0, result.output
    return out


def test_they_reach_the_model_and_the_data_and_stay_with_the_run(run: Path, data: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    assert {name: config[name] for name in ("depth", "activation", "pool", "hold_out")} == {
        "depth": 1, "activation": "relu", "pool": "avg", "hold_out": 0.5,
    }  # fmt: skip
    assert (config["train_pictures"], config["test_pictures"]) == (9, 9)
    assert sorted(name for name in read_tensors(run / "model.safetensors")[0] if name.startswith("layers")) == [
        "layers.0.bias", "layers.0.weight",
    ]  # fmt: skip
    assert measure(STACK, run).note["examples"] == 9
    assert predict(STACK, run, [data / "left" / "0.jpg"])


def test_a_runs_file_trains_it_again_and_its_checkpoint_has_them(run: Path, data: Path, tmp_path: Path) -> None:
    assert call("train", "--config", run / "config.yaml", "--out", tmp_path / "again").exit_code == 0
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    assert Checkpoint.load(run / "checkpoint.safetensors", STACK).options.own["depth"] == 1
    result = call("train", "--config", run / "config.yaml", "--depth", 2, "--out", tmp_path / "deeper")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "deeper" / "config.json").read_text())["depth"] == 2
    assert call("train", "--resume", run, "--depth", 1).exit_code == 0
    with pytest.raises(InputError, match=r"these differ: --depth 2 \(the run: 1\), --hold-out 0.2 \(the run: 0.5\)"):
        resume(STACK, run, {"depth": 2, "hold_out": 0.2})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"depth": 5}, "--depth must be from 0 to 4; got 5"),
        ({"depth": -1}, "--depth must be from 0 to 4; got -1"),
        ({"depth": 1.5}, "depth must be int; got 1.5"),
        ({"depth": True}, "depth must be int; got True"),
        ({"pool": "median"}, "unknown pool 'median'; known: max, avg, stride, none"),
        ({"model": "full", "pool": "max"}, "--pool belongs to --model filters or pyramid; got --model full"),
        ({"hold_out": 0.3}, "--hold-out belongs to --data folder; got --data digits"),
        ({"data": "folder", "hold_out": 1.0}, "--hold-out must be above 0 and below 1; got 1.0"),
        (
            {"filters": "learned"},
            "task 'stack' has no option 'filters'; its own are: --depth, --activation, --pool, --pairs, --residual, --hold-out, "
            "--stream",
        ),
        ({"pairs": 33}, "--pairs must be from 0 to 32; got 33"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        Options.of(STACK, **given)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "lenet", "--depth", "3"], "Of its own, task 'lenet' has --hold-out"),
        (["train", "stack", "--pool", "median"], "'median' is not one of 'max', 'avg', 'stride', 'none'"),
        (["train", "stack", "--depth", "deep"], "'deep' is not a valid integer"),
        (
            ["train", "stack", "--filters", "learned"],
            "task 'stack' has --depth, --activation, --pool, --pairs, --residual,",
        ),
        (["train", "--depth", "3"], "No such option"),
        (["inspect", "texture", "--pool", "max"], "Of its own, task 'texture' has --filters, --activation, --hold-out"),
    ],
)
def test_words_of_another_task_are_refused_naming_its_own(words: list[str], sentence: str) -> None:
    result = call(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr


def test_keys_of_a_file_are_those_of_its_task(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("task: lenet\ndepth: 3\n")
    assert "unknown flag in" in call("train", "--config", tmp_path / "f.yaml").stderr
    (tmp_path / "f.yaml").write_text("task: stack\ndepth: deep\n")
    assert "f.yaml: depth must be a whole number; got 'deep'" in call("train", "--config", tmp_path / "f.yaml").stderr


@pytest.mark.parametrize(("name", "value"), [("depth", None), ("depth", 9), ("pool", 3), ("hold_out", "0.5")])
def test_damaged_ones_are_told(run: Path, tmp_path: Path, name: str, value: object) -> None:
    config = json.loads((run / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {name: value}))
    (tmp_path / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=rf"config.json: (--)?{name} must be "):
        measure(STACK, tmp_path)


def test_a_share_of_the_test_part_is_refused_where_there_is_one(data: Path, tmp_path: Path) -> None:
    for part in ("train", "val"):
        (tmp_path / part).symlink_to(data)
    with pytest.raises(DataError, match=r"^--hold-out 0.3: .* has a test part already, .*val; leave it out$"):
        load_data("folder", tmp_path, STACK.read, {"hold_out": 0.3})
    with pytest.raises(DataError, match="wanted|are no"):
        load_data("folder", write_pictures(tmp_path / "few", each=1), STACK.read, {"hold_out": 0.9})
    found = load_data("folder", data, STACK.read, {"hold_out": 0.99})
    assert (len(found.train), len(found.test)) == (3, 15)  # one of each class is left to learn from


def test_help_of_a_task_tells_of_it() -> None:
    text = call("train", "stack", "--help").stdout
    for word in (
        "--depth INTEGER",
        "--hold-out SHARE",
        "Models, by --model",
        "full",
        "digits",
        "--data-dir",
        "mixup=0.2",
    ):
        assert word in text
    assert "--depth" not in call("train", "--help").stdout
    assert "--depth INTEGER" in call("inspect", "stack", "--help").stdout


def test_inspect_takes_them() -> None:
    result = call("inspect", "stack", "--depth", 1, "--activation", "none")
    assert result.exit_code == 0, result.output
    assert "relu" not in result.stdout


@pytest.mark.parametrize("name", TASKS)
def test_no_option_of_a_task_has_the_name_of_one_of_the_commands(name: str) -> None:
    for tool in (command, inspect):
        taken = {word for parameter in tool.params if isinstance(parameter, click.Option) for word in parameter.opts}
        names = {parameter.name for parameter in tool.params}
        for row in find_task(name).own_rows().values():
            assert row.word not in taken
            assert row.name not in names | {"task", "classes", "mean", "std"}


@pytest.mark.parametrize("name", TASKS)
def test_no_option_is_both_the_tasks_and_the_datas(name: str) -> None:
    task = find_task(name)
    of_data = {row.name: row for source in task.data for row in SOURCES[source].options}
    assert not set(of_data) & {row.name for row in task.options}
    for source in task.data:  # where two data sets have one option, it is the same
        assert all(of_data[row.name] is row for row in SOURCES[source].options)


def test_equal_options_give_equal_bits_and_others_do_not(tmp_path: Path) -> None:
    mnist = write_idx(tmp_path / "mnist")
    found = {}
    for name, own in {"one": {}, "same": {"activation": "relu"}, "tanh": {"activation": "tanh"}}.items():
        given = Options.of(STACK, data="mnist", data_dir=str(mnist), epochs=1, batch_size=8, depth=1, **own)
        train(given, tmp_path / name)
        found[name] = (tmp_path / name / "model.safetensors").read_bytes()
    assert found["one"] == found["same"] != found["tanh"]
