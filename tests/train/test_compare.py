from __future__ import annotations

import csv
import importlib
import json
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.train.samples import write_idx
from tritoncnn.commands import main
from tritoncnn.errors import InputError
from tritoncnn.tasks import find_task
from tritoncnn.train import Interrupted, Outcome, compare, read_ways
from tritoncnn.train.compare import FILES, PLAN
from tritoncnn.train.comparison import columns_of, draw_table, tell_table

STACK = find_task("stack")
KILLED = """
import signal, sys
from tritoncnn.commands import main
from tritoncnn.train import Silent

left = int(sys.argv[1])

def step(self, examples, loss):
    global left
    left -= 1
    if not left:
        signal.raise_signal(signal.SIGKILL)

Silent.step = step
main(sys.argv[2:])
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_idx(tmp_path_factory.mktemp("compare"))


def words(data: Path, out: Path, *more: object) -> list[str]:
    flags = ["--data", "mnist", "--data-dir", data, "--epochs", 1, "--batch-size", 8, "--out", out]
    return [str(word) for word in ("compare", "stack", "--vary", "depth=0,1", *flags, *more)]


def test_a_comparison_tells_means_and_spreads_and_goes_on_where_it_was(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = importlib.import_module("tritoncnn.train.compare")
    real, trained = room.train, []

    def counted(options: object, place: Path) -> Outcome:
        trained.append(place.name)
        if len(trained) == 3:
            raise Interrupted("interrupted and saved after step 3")
        return real(options, place)

    monkeypatch.setattr(room, "train", counted)
    out = tmp_path / "out"
    result = CliRunner().invoke(main, words(data, out, "--seeds", 2))
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr
    assert not (out / "table.json").exists()
    result = CliRunner().invoke(main, words(data, out, "--seeds", 2))
    assert result.exit_code == 0, result.output
    names = [f"depth={depth},seed={seed}" for depth in (0, 1) for seed in (0, 1)]
    assert trained == [*names[:3], *names[2:]]  # what had been trained was not trained again
    table = json.loads((out / "table.json").read_text())
    for row, pair in zip(table["rows"], (names[:2], names[2:]), strict=True):
        summaries = [json.loads((out / name / "summary.json").read_text()) for name in pair]
        values = [summary["metrics"]["accuracy"] for summary in summaries]
        assert row["values"] == values
        assert row["mean"] == pytest.approx(sum(values) / 2)
        assert row["spread"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
        assert row["seconds"] == pytest.approx(statistics.fmean(summary["seconds"] for summary in summaries))
        assert row["baseline"] == summaries[0]["baseline"]
    with open(out / "table.csv", newline="") as file:
        assert [row["depth"] for row in csv.DictReader(file)] == ["0", "1"]
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    lines = result.stdout.splitlines()
    assert lines[-4].split() == ["depth", "accuracy", "seconds", "against"]
    assert "±" in lines[-3]
    before = (out / "table.json").read_bytes()
    assert CliRunner().invoke(main, words(data, out, "--seeds", 2, "-q")).exit_code == 0
    assert (out / "table.json").read_bytes() == before
    (out / names[0] / "summary.json").write_text('{"task": "stack", "metrics": {"accuracy": "good"}, "seconds": 1}')
    result = CliRunner().invoke(main, words(data, out, "--seeds", 2, "-q"))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"tritoncnn: error: {names[0]} failed, and is in no mean: {out / names[0]}")
    assert result.stderr.endswith("is no summary of a run of task 'stack'; remove its folder to train it again\n")
    result = CliRunner().invoke(main, words(data, out, "--lr", 0.5))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "holds a comparison of task 'stack' with the flags" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_comparison_that_was_killed_ends_with_the_same_table_by_the_same_command(data: Path, tmp_path: Path) -> None:
    flags = ("--seeds", 2, "--save-every", 0, "--threads", 1)
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert CliRunner().invoke(main, words(data, whole, *flags)).exit_code == 0
    for step, finished in ((11, 1), (9, 2)):  # a run has 8 steps, and goes on from the one before
        done = subprocess.run([sys.executable, "-c", KILLED, str(step), *words(data, out, *flags)], capture_output=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert len(list(out.glob("*/summary.json"))) == finished
        assert len(list(out.glob("*/checkpoint.safetensors"))) == finished + 1
        assert not (out / FILES[0]).exists()
    (out / f".{PLAN}.{'0' * 16}.tmp").write_text("half of it")
    assert CliRunner().invoke(main, words(data, out, *flags)).exit_code == 0
    assert not list(out.glob("**/.*"))

    one, other = (json.loads((place / FILES[0]).read_text()) for place in (whole, out))
    for row in (*one["rows"], *other["rows"]):
        assert row.pop("seconds") > 0
    assert one == other
    for run in whole.glob("depth=*"):
        assert (run / "model.safetensors").read_bytes() == (out / run.name / "model.safetensors").read_bytes()


def test_a_run_and_half_a_plan_are_no_comparison(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "checkpoint.safetensors").write_bytes(b"")
    told = CliRunner().invoke(main, words(data, out))
    assert told.exit_code == 2
    assert told.stderr == (
        f"tritoncnn: error: --out {out} holds a run, not a comparison; name a new or empty folder, for the runs of all ways\n"
    )
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / f".{PLAN}.{'0' * 16}.tmp").write_text("half of it")
    assert CliRunner().invoke(main, words(data, tmp_path / "killed", "--seeds", 1)).exit_code == 0


WRONG_VARY = [
    ("depth", "--vary must be as NAME=A,B,C; got 'depth'"),
    ("depht=1,2", "unknown flag to vary 'depht'; did you mean depth"),
    ("seed=1,2", "unknown flag to vary 'seed'"),
    ("legs=1,2", "unknown flag to vary 'legs'"),
    ("depth=1", "--vary depth must be said once, with two values or more that differ; got 'depth=1'"),
    ("depth=1,1,2", "--vary depth must be said once, with two values or more that differ"),
    ("lr=0.1,0.10", "--vary lr must be said once, with two values or more that differ"),
    ("depth=1,two", "--vary depth: each value must be a whole number; got 'two'"),
    ("lr=0.1,fast", "--vary lr: each value must be a number; got 'fast'"),
    ("nesterov=true,perhaps", "--vary nesterov: each value must be true or false; got 'perhaps'"),
]
WRONG_WAYS = [
    (["depth"], "--way must be as \"NAME=VALUE NAME=VALUE\"; got 'depth'"),
    ([""], '--way must be as "NAME=VALUE NAME=VALUE"; got nothing'),
    (["depth=1 depth=2", "depth=3"], "--way 'depth=1 depth=2' says depth twice"),
    (["depth=1", "depht=2"], "unknown flag in --way 'depht=2' 'depht'; did you mean depth"),
    (["depth=two"], "--way depth: each value must be a whole number; got 'two'"),
    (["depth='1"], '--way "depth=\'1" has a quote that does not end'),
    (["depth=1"], "--way must be said twice or more, or with --vary; got only 'depth=1'"),
    ([], "there is one way only; say others by --vary NAME=A,B or by --way NAME=VALUE, twice or more"),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG_VARY)
def test_what_cannot_be_varied_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InputError) as told:
        read_ways(STACK, [text])
    assert str(told.value).startswith(sentence)


@pytest.mark.parametrize(("texts", "sentence"), WRONG_WAYS)
def test_what_is_no_way_is_refused(texts: list[str], sentence: str) -> None:
    with pytest.raises(InputError) as told:
        read_ways(STACK, ways=texts)
    assert str(told.value).startswith(sentence)


def test_values_are_of_the_flags_kind() -> None:
    for text, name, values in (
        ("--batch-size=8, 16", "batch_size", [8, 16]),
        ("lr=1e-3,1", "lr", [0.001, 1.0]),
        ("nesterov=on,no", "nesterov", [True, False]),
        ("augment=none;crop,flip", "augment", ["none", "crop,flip"]),
        ("pool=max,none", "pool", ["max", "none"]),
    ):
        assert read_ways(STACK, [text]) == [{name: value} for value in values]
    with pytest.raises(InputError, match="--vary depth must be said once"):
        read_ways(STACK, ["depth=1,2", "depth=3,4"])


def test_each_way_is_combined_with_each_value() -> None:
    found = read_ways(STACK, ["depth=1,2"], ["pairs=0", "--pairs=8 residual=true augment=crop,flip data-dir='my data'"])
    more = {"pairs": 8, "residual": True, "augment": "crop,flip", "data_dir": "my data"}
    assert found == [
        {"pairs": 0, "depth": 1}, {"pairs": 0, "depth": 2}, {**more, "depth": 1}, {**more, "depth": 2}
    ]  # fmt: skip
    with pytest.raises(InputError, match="^depth is in --vary and in --way 'depth=3'; leave one out$"):
        read_ways(STACK, ["depth=1,2"], ["pairs=0", "depth=3"])


def test_a_comparison_that_makes_no_sense_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    depths = read_ways(STACK, ["depth=1,2"])

    def refused(sentence: str, *words: object, **more: object) -> None:
        with pytest.raises(InputError) as told:
            compare(STACK, *words, **more)  # type: ignore[arg-type]
        assert str(told.value).startswith(sentence)

    ways = read_ways(STACK, ["model=filters,full", "pool=max,avg"])
    out = tmp_path / "out"
    refused("model full, pool max: --pool belongs to --model filters or pyramid; got --model full", {}, ways, out)
    refused("depth is varied and given; leave one out", {"depth": 2}, depths, out)
    refused("--seeds must be from 1 to 1000; got 0", {}, depths, out, 0)
    refused("--seeds must be from 1 to 1000; got 1000000000", {}, depths, out, 10**9)
    refused("unknown metric of task 'stack' 'acuracy'; did you mean accuracy", {}, depths, out, metrics=["acuracy"])
    refused("--metric must name each metric once", {}, depths, out, metrics=["accuracy", "accuracy"])
    same = read_ways(STACK, ways=["depth=2", "depth=3", "pool=max depth=2"])
    refused("pool max, depth 2 and depth 2 train the same; leave one out", {}, same, out)
    assert not out.exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty and holds no run"):
        compare(STACK, {}, depths, tmp_path / "full")


def test_the_others_go_on_where_a_run_fails(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ["--data", "mnist", "--data-dir", data, "--epochs", 1, "--batch-size", 8, "--depth", 1, "--out", out]
    flags = [*given, "--seeds", 2, "-q", "--metric", "accuracy", "--metric", "test_loss"]
    result = CliRunner().invoke(main, ["compare", "stack", "--vary", "lr=1e30,0.03", *map(str, flags)])
    assert result.exit_code == 1, result.output
    told = result.stderr.splitlines()
    assert [line.split(" failed, and is in no mean: ")[0] for line in told] == [
        f"tritoncnn: error: lr=1e%2B30,seed={seed}" for seed in (0, 1)
    ]
    assert "the loss became nan" in told[0] or "no longer finite" in told[0]
    rows = json.loads((out / "table.json").read_text())["rows"]
    assert [(row["lr"], row["failed"], len(row["values"])) for row in rows] == [(1e30, 2, 0), (0.03, 0, 2)]
    head, bad, good, _ = result.stdout.splitlines()
    assert head.split() == ["lr", "accuracy", "test", "loss", "seconds", "failed", "against"]
    assert bad.split() == ["1e+30", "-", "-", "-", "2", "-"]
    assert good.count("±") == 2
    nowhere = ["compare", "stack", "--vary", "lr=1e29,1e30", *map(str, given[:-1]), str(tmp_path / "none")]
    result = CliRunner().invoke(main, nowhere)
    assert result.exit_code == 1  # all failed: there is no table
    assert not (tmp_path / "none" / "table.json").exists()
    missing = ["compare", "stack", "--vary", "lr=0.1,0.2", "--data", "mnist", "--data-dir", str(tmp_path / "gone")]
    result = CliRunner().invoke(main, [*missing, "--out", str(tmp_path / "nothing")])
    assert result.exit_code == 2
    assert not (tmp_path / "nothing").exists()


def test_accuracy_under_attack_stands_beside_the_metrics(data: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, words(data, tmp_path / "out", "--seeds", 1, "--attack", 0, "--attack", 0.4, "--metric", "accuracy")
    )
    assert result.exit_code == 0, result.output
    for row in json.loads((tmp_path / "out" / "table.json").read_text())["rows"]:
        found = {name: one["mean"] for name, one in row["metrics"].items()}
        assert found["attacked 0"] == found["accuracy"]
        assert found["attacked 0.4"] <= found["accuracy"]
    assert "attacked 0.4" in result.stdout
    twice = CliRunner().invoke(main, words(data, tmp_path / "two", "--attack", 0.1, "--attack", "0.10"))
    assert (twice.exit_code, "--attack must name each epsilon once" in twice.stderr) == (2, True)
    other = CliRunner().invoke(main, ["compare", "unet", "--vary", "skips=true,false", "--attack", "0.1"])
    assert (other.exit_code, "--attack needs a task with classes" in other.stderr) == (2, True)


def row_of(names: dict[str, object], seeds: int, baseline: object, metrics: tuple[str, ...]) -> dict[str, object]:
    one = {"values": [0.9] * seeds, "mean": 0.9, "spread": None if seeds == 1 else 0.1}
    more = {"seconds": 1.0, "baseline": baseline, "failed": 0, "metrics": dict.fromkeys(metrics, one)}
    return {**names, **one, **more}


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("baseline", [None, {"by": "always $5", "metric": "accuracy", "value": 0.5}])
def test_pictures_of_one_seed_and_without_a_baseline_are_drawn(seeds: int, baseline: dict[str, object] | None) -> None:
    columns = columns_of(STACK, ["accuracy", "test_loss"], ["attacked 0.1"])
    for ways in (
        [{"depth": depth, "pool": pool} for depth in (1, 2) for pool in ("max", "$none$")],
        [{"depth": 1}, {"depth": 2}],
        [{"pairs": 0}, {"pairs": 8}, {"pairs": 8, "residual": True}],
    ):
        rows = [row_of(way | {"residual": None}, seeds, baseline, ("accuracy", "test_loss")) for way in ways]
        assert draw_table(STACK, ways, rows, columns).startswith(b"\x89PNG")
        lines = tell_table(STACK, list(ways[0]), rows, columns)
        assert [("±" in line) for line in lines] == [False, *[seeds > 1] * len(ways)]
